//! The simulation: good on every seed, the same again for the same seed, and red for each guard that is broken.
//!
//! `WINDLASS_MODEL_SEEDS` says how many seeds are run (default 2,000), `WINDLASS_MODEL_FIRST` the first (default 1).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use windlass_checker::Rule;
use windlass_model::sim::{self, Figures, Mistake, Plan, Report, Summary};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn run(plan: &Plan) -> Report {
    sim::run(plan).unwrap()
}

/// Runs a plan that must keep the rules.
fn good(plan: &Plan) -> Report {
    let report = run(plan);
    let Report { seed, broken, command, .. } = &report;
    assert!(broken.is_empty(), "seed {seed}: {broken:#?}\nrepeat with: {command}");
    report
}

#[test]
fn every_seed_keeps_the_rules() {
    let (first, seeds) = (number("WINDLASS_MODEL_FIRST", 1), number("WINDLASS_MODEL_SEEDS", 2_000));
    let begun = Instant::now();
    let mut summary = Summary::default();
    let (mut recoveries, mut held) = (0, 0);
    for seed in first..first + seeds {
        let report = good(&Plan::of(seed));
        summary.add(&report);
        recoveries += report.findings.figures.recoveries;
        held += report.findings.figures.held;
    }
    let (hours, all) = (summary.hours(), &summary.figures);
    println!("{seeds} seeds, {hours:.1} simulated hours in {:?}", begun.elapsed());
    println!("{}", summary.markdown("this test"));
    println!(
        "the checker: {recoveries} recoveries checked, unique keys certainly held {held} times"
    );
    // A simulation in which nothing goes wrong shows nothing, and neither does a checker that sees nothing of it.
    if seeds >= 100 {
        let seen = [all.deaths, all.rescues, all.stale_refused, all.repeated_known, all.overlaps];
        assert!(seen.iter().all(|count| *count >= seeds / 50), "{seen:?} in {seeds} seeds");
        assert!(recoveries >= seeds / 50 && held >= seeds / 50, "{recoveries} recoveries, {held}");
        let rare = |sort: &&str| all.faults.get(sort).copied().unwrap_or(0) < seeds / 20;
        let rare: Vec<_> = Figures::FAULTS.iter().filter(|sort| rare(sort)).collect();
        assert!(rare.is_empty(), "{rare:?} struck too seldom: {:?}", all.faults);
    }
}

#[test]
fn jobs_of_a_dead_process_are_taken_up_in_time() {
    let (mut summary, mut checked) = (Summary::default(), 0);
    for seed in 1..=100 {
        let report = good(&Plan::deaths_only(seed));
        checked += report.findings.figures.recoveries;
        summary.add(&report);
    }
    let times = &summary.figures.recoveries;
    let (p50, p99) = (summary.recovery(50), summary.recovery(99));
    println!("{} recoveries, p50 {p50:?}, p99 {p99:?}; the checker saw {checked}", times.len());
    assert!(times.len() >= 20 && checked >= 20, "only {} recoveries, {checked}", times.len());
    assert!(times.iter().all(|time| *time <= Plan::RECOVERY), "{:?}", times.iter().max());
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let mut hashes = BTreeSet::new();
    for seed in 1..=40 {
        let hash = run(&Plan::of(seed)).hash;
        assert_eq!(run(&Plan::of(seed)).hash, hash, "seed {seed}");
        hashes.insert(hash);
    }
    assert_eq!(hashes.len(), 40, "each seed is a run of its own");
}

/// Another process has other random keys in its maps.
#[test]
fn another_process_gives_the_same_trace() {
    let trace = |seed: &str| {
        let program = env!("CARGO_BIN_EXE_windlass-model");
        let run = std::process::Command::new(program).args(["--seed", seed, "--trace"]).output();
        let text = String::from_utf8(run.unwrap().stdout).unwrap();
        // All but the last line, which says how long it really took.
        text.lines().filter(|line| !line.contains("simulated hours")).map(str::to_owned).collect()
    };
    for seed in ["3", "144", "1009"] {
        let first: Vec<String> = trace(seed);
        assert!(first.len() > 100, "{first:?}");
        assert_eq!(first, trace(seed));
    }
}

/// What follows each `select!` in a text, comments and white space aside.
fn selects(text: &str) -> Vec<String> {
    let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    let code: String = code.flat_map(str::chars).filter(|c| !c.is_whitespace()).collect();
    let bodies = code.split("select!").skip(1);
    bodies.map(|body| body.trim_start_matches(['{', '(', '[']).chars().take(7).collect()).collect()
}

#[test]
fn a_select_is_found_however_it_is_written() {
    let text = "tokio::select! { // first\n  biased;\n a = b => {} }\nselect!(x = y => {})\n// select! { c }\nselect!\n{ biased; }";
    assert_eq!(selects(text), ["biased;", "x=y=>{}", "biased;"]);
}

/// In an order that chance decides, branches would be polled differently at each run. Everything that runs in the simulation counts.
#[test]
fn branches_are_polled_as_they_are_written() {
    fn read(folder: &Path, count: &mut usize) {
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                // The rest never runs there: tests, and a suite for real backends.
                if !["tests", "conformance"].iter().any(|name| path.ends_with(name)) {
                    read(&path, count);
                }
                continue;
            }
            for select in selects(&std::fs::read_to_string(&path).unwrap()) {
                *count += 1;
                assert_eq!(select, "biased;", "{}: add `biased;`", path.display());
            }
        }
    }
    let mut count = 0;
    for folder in ["../core/src/worker", "../core/src/client", "../core/src/memory", "src/sim"] {
        read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut count);
    }
    assert!(count > 15, "the files were read: {count}");
}

/// Faults per 1,000 calls, of each sort, under which a mistake soon shows.
fn trouble(mistake: Mistake) -> u32 {
    // Its claim must be lost and repeated under another epoch.
    if mistake == Mistake::ForgetsEpoch { 200 } else { 60 }
}

/// Runs seeds under a mistake until the checker sees it.
fn is_seen(mistake: Mistake, words: &str) {
    for seed in 1..=500 {
        let per_mille = trouble(mistake);
        let plan = Plan { mistake: Some(mistake), per_mille, ..Plan::of(seed) };
        let report = run(&plan);
        if let Some(broken) = report.broken.iter().find(|broken| broken.contains(words)) {
            println!("{mistake:?} is seen with {}: {broken}", plan.command());
            return;
        }
        assert!(report.broken.is_empty(), "{mistake:?} is seen, but as: {:?}", report.broken);
    }
    panic!("{mistake:?} was not seen");
}

/// The shared checker alone, without any inside check, sees seeds under a mistake break one of these rules.
fn is_seen_from_outside(mistake: Mistake, rules: &[Rule]) {
    for seed in 1..=500 {
        let per_mille = trouble(mistake);
        let plan = Plan { mistake: Some(mistake), per_mille, outside_only: true, ..Plan::of(seed) };
        let report = run(&plan);
        let broken: Vec<_> = report.findings.broken.keys().copied().collect();
        if broken.iter().any(|rule| rules.contains(rule)) {
            println!("{mistake:?} is seen with {}: {:?}", plan.command(), report.broken.first());
            return;
        }
        assert!(broken.is_empty(), "{mistake:?} is seen, but as: {:?}", report.broken);
    }
    panic!("{mistake:?} was not seen");
}

/// In the world that has nothing but deaths: elsewhere a fault may be why nobody came in time. Up to the bound all is well.
#[test]
fn jobs_that_are_rescued_late_are_seen_by_the_shared_checker_alone() {
    let broken = (1..=500).find_map(|seed| {
        let mistake = Some(Mistake::RescuesLate);
        let plan = Plan { mistake, outside_only: true, ..Plan::deaths_only(seed) };
        let broken = run(&plan).findings.broken;
        (!broken.is_empty()).then(|| broken.into_keys().collect::<Vec<_>>())
    });
    assert_eq!(broken, Some(vec![Rule::RecoveryInTime]));
}

/// Also while the network is troubled: only an insert that came twice, or that failed, may be there though it was refused.
#[test]
fn a_refused_insert_that_is_made_is_seen_by_the_shared_checker_alone() {
    let is_seen = (1..=200).any(|seed| {
        let mistake = Some(Mistake::InsertsRefused);
        let plan = Plan { mistake, outside_only: true, ..Plan::of(seed) };
        run(&plan).findings.count(Rule::NothingUnexpected) > 0
    });
    assert!(is_seen, "{:?} was not seen", Mistake::InsertsRefused);
}

/// All but one: a stale holder sends records only until it hears of its loss, and by then hardly anybody has heard of a later claim.
#[test]
fn most_mistakes_are_seen_by_the_shared_checker_alone() {
    let all = [
        (Mistake::AcceptsStale, &[Rule::NoStaleFinish, Rule::OneFinish][..]),
        (Mistake::ForgetsEpoch, &[Rule::NoStaleFinish]),
        (Mistake::FreesKeyEarly, &[Rule::OneHolder]),
        (Mistake::LosesInserts, &[Rule::NothingLost]),
        (Mistake::KeepsAttempts, &[Rule::AttemptsAreClaims]),
        (Mistake::RevivesFinal, &[Rule::StatesFollow, Rule::OneFinish]),
        (Mistake::ClaimsTooMuch, &[Rule::WithinLimits]),
        (Mistake::NeverRescues, &[Rule::NothingLost, Rule::RecoveryInTime]),
        (Mistake::RescuesEarly, &[Rule::OverlapAfterExpiry]),
        (Mistake::GivesOthersJobs, &[Rule::AttemptsAreClaims, Rule::OverlapAfterExpiry]),
    ];
    for (mistake, rules) in all {
        is_seen_from_outside(mistake, rules);
    }
    // And two have tests of their own.
    assert_eq!(all.len() + 3, Mistake::ALL.len());
}

#[test]
fn a_stale_finish_that_is_accepted_is_seen() {
    is_seen(Mistake::AcceptsStale, "a stale finish was accepted");
}

#[test]
fn a_forgotten_epoch_is_seen() {
    is_seen(Mistake::ForgetsEpoch, "a stale finish was accepted");
}

#[test]
fn a_unique_key_that_is_freed_early_is_seen() {
    is_seen(Mistake::FreesKeyEarly, "its unique key was held");
}

#[test]
fn a_lost_insert_is_seen() {
    is_seen(Mistake::LosesInserts, "NothingLost");
}

#[test]
fn an_attempt_that_is_not_given_back_is_seen() {
    is_seen(Mistake::KeepsAttempts, "AttemptsAreClaims");
}

#[test]
fn a_final_job_that_runs_again_is_seen() {
    is_seen(Mistake::RevivesFinal, "settle made it");
}

#[test]
fn a_claim_above_the_limit_is_seen() {
    is_seen(Mistake::ClaimsTooMuch, "WithinLimits");
}

#[test]
fn jobs_that_are_never_rescued_are_seen() {
    is_seen(Mistake::NeverRescues, "not taken from its lost worker in time");
}

#[test]
fn jobs_that_are_rescued_early_are_seen() {
    is_seen(Mistake::RescuesEarly, "in its lease and in time");
}

#[test]
fn a_stale_record_that_is_accepted_is_seen() {
    is_seen(Mistake::RecordsStale, "a stale record was accepted");
}

#[test]
fn a_job_given_to_another_claim_is_seen() {
    is_seen(Mistake::GivesOthersJobs, "given to a claim that doesn't hold it");
}
