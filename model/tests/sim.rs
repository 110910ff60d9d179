//! The simulation: good on every seed, the same again for the same seed, and red for each guard that is broken.
//!
//! `WINDLASS_MODEL_SEEDS` says how many seeds are run (default 2,000), `WINDLASS_MODEL_FIRST` the first (default 1).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use windlass_model::sim::{self, Figures, Mistake, Plan, Report};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn run(plan: &Plan) -> Report {
    sim::run(plan).unwrap()
}

fn percentile(times: &[Duration], of_100: usize) -> Duration {
    let at = (times.len() * of_100 / 100).min(times.len().saturating_sub(1));
    times.get(at).copied().unwrap_or_default()
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
    let mut simulated = Duration::ZERO;
    let mut all = Figures::default();
    for seed in first..first + seeds {
        let report = good(&Plan::of(seed));
        simulated += report.simulated;
        all.add(&report.figures);
    }
    all.recoveries.sort_unstable();
    println!(
        "{seeds} seeds, {:.1} simulated hours in {:?}: {} jobs, {} runs ({} at once with another of the job), {} faults, {} deaths, \
         {} finishes, {} stale ones refused, {} repeated ones known again, {} rescues, recovery p50 {:?} p99 {:?}",
        simulated.as_secs_f64() / 3_600.0,
        begun.elapsed(),
        all.jobs,
        all.runs,
        all.overlaps,
        all.faults(),
        all.deaths,
        all.finishes,
        all.stale_refused,
        all.repeated_known,
        all.rescues,
        percentile(&all.recoveries, 50),
        percentile(&all.recoveries, 99),
    );
    println!("faults by sort: {:?}", all.faults);
    // A simulation in which nothing goes wrong shows nothing.
    if seeds >= 100 {
        let seen = [all.deaths, all.rescues, all.stale_refused, all.repeated_known, all.overlaps];
        assert!(seen.iter().all(|count| *count >= seeds / 50), "{seen:?} in {seeds} seeds");
        let rare = |sort: &&str| all.faults.get(sort).copied().unwrap_or(0) < seeds / 20;
        let rare: Vec<_> = Figures::FAULTS.iter().filter(|sort| rare(sort)).collect();
        assert!(rare.is_empty(), "{rare:?} struck too seldom: {:?}", all.faults);
    }
}

#[test]
fn jobs_of_a_dead_process_are_taken_up_in_time() {
    let mut times = Vec::new();
    for seed in 1..=100 {
        let report = good(&Plan::deaths_only(seed));
        times.extend(report.figures.recoveries);
    }
    times.sort_unstable();
    println!(
        "{} recoveries, p50 {:?}, p99 {:?}",
        times.len(),
        percentile(&times, 50),
        percentile(&times, 99)
    );
    assert!(times.len() >= 20, "only {} recoveries", times.len());
    assert!(times.iter().all(|time| *time <= Plan::RECOVERY), "{:?}", times.last());
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let mut hashes = std::collections::BTreeSet::new();
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

/// In an order that chance decides, branches would be polled differently at each run.
#[test]
fn the_worker_polls_branches_as_they_are_written() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../core/src/worker");
    let mut selects = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() {
            continue; // unit tests
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for after in text.split("select! {").skip(1) {
            selects += 1;
            assert!(after.trim_start().starts_with("biased;"), "{}: add `biased;`", path.display());
        }
    }
    assert!(selects > 15, "the files were read: {selects}");
}

/// Runs seeds under a mistake until the checker sees it.
fn is_seen(mistake: Mistake, words: &str) {
    for seed in 1..=500 {
        let plan = Plan { mistake: Some(mistake), per_mille: 60, ..Plan::of(seed) };
        let report = run(&plan);
        if let Some(broken) = report.broken.iter().find(|broken| broken.contains(words)) {
            println!("{mistake:?} is seen with {}: {broken}", plan.command());
            return;
        }
        assert!(report.broken.is_empty(), "{mistake:?} is seen, but as: {:?}", report.broken);
    }
    panic!("{mistake:?} was not seen");
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
    is_seen(Mistake::LosesInserts, "lost, though its insert was acknowledged");
}

#[test]
fn an_attempt_that_is_not_given_back_is_seen() {
    is_seen(Mistake::KeepsAttempts, "counted");
}

#[test]
fn a_final_job_that_runs_again_is_seen() {
    is_seen(Mistake::RevivesFinal, "settle made it");
}

#[test]
fn a_claim_above_the_limit_is_seen() {
    is_seen(Mistake::ClaimsTooMuch, "asked");
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
