use super::*;

const REST: Rest = Rest { before: Duration::from_secs(4), after: Duration::from_secs(10) };

fn plan(kinds: &[FaultKind]) -> Plan {
    Plan::new(kinds.to_vec(), (1.0, 4.0), REST, 7)
}

#[test]
fn a_seed_gives_the_same_plan_and_every_kind_in_each_round() {
    let kinds = vec![FaultKind::WorkerKilled, FaultKind::WorkerStopped, FaultKind::DiskFull];
    let draw = |seed| {
        let mut plan = Plan::new(kinds.clone(), (1.0, 4.0), REST, seed);
        (0..30).map(|_| (plan.draw().unwrap(), plan.quiet())).collect::<Vec<_>>()
    };
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7), draw(8));
    for round in draw(7).chunks(3) {
        let mut found: Vec<_> = round.iter().map(|(kind, _)| *kind).collect();
        found.sort();
        assert_eq!(found, kinds);
    }
}

#[test]
fn a_brief_plan_has_every_kind_once_in_each_round_and_the_shortest_quiet() {
    let kinds = [FaultKind::Failover, FaultKind::WorkerKilled, FaultKind::Failover];
    let mut plan = plan(&kinds).brief();
    for _ in 0..3 {
        let mut found = [plan.draw(), plan.draw()].map(Option::unwrap);
        found.sort();
        assert_eq!(found, [FaultKind::WorkerKilled, FaultKind::Failover]);
        assert!(plan.round.is_empty());
        assert_eq!(plan.quiet(), Duration::from_secs(1));
    }
}

#[test]
fn what_one_fault_chooses_changes_nothing_of_the_next() {
    let next = |choices| {
        let mut plan = plan(&[FaultKind::WorkerKilled, FaultKind::RepliesDropped]);
        let mut dice = plan.dice(1);
        (0..choices).for_each(|_| {
            dice.below(1_000);
        });
        (plan.draw(), plan.quiet(), plan.dice(2).below(1_000_000))
    };
    assert_eq!(next(0), next(5));
}

#[test]
fn it_is_told_what_there_was_no_time_for_and_what_met_nothing() {
    let kinds = vec![FaultKind::WorkerKilled, FaultKind::DiskFull];
    let time = Length::Time(Duration::from_secs(60));
    let mut plan = plan(&kinds);
    assert_eq!(plan.missing(), kinds);
    let drawn = plan.draw().unwrap();
    plan.made(drawn, 0, time);
    assert_eq!(plan.missing(), kinds);
    plan.made(drawn, 1, time);
    assert!(!plan.missing().contains(&drawn) && plan.missing().len() == 1);
}

#[test]
fn a_time_ends_when_it_is_over() {
    let (plan, time) = (plan(&[FaultKind::DiskFull]), Length::Time(Duration::from_secs(60)));
    assert!(!plan.is_done(time, Duration::from_secs(59)));
    assert!(plan.is_done(time, Duration::from_secs(60)));
}

#[test]
fn rounds_end_when_each_kind_had_its_turn_in_each_of_them() {
    let mut plan = plan(&[FaultKind::WorkerKilled, FaultKind::DiskFull]);
    let rounds = Length::Rounds(2);
    let mut made = 0;
    while !plan.is_done(rounds, Duration::MAX) {
        let kind = plan.draw().unwrap();
        plan.made(kind, 1, rounds);
        made += 1;
    }
    assert_eq!((made, plan.missing()), (4, Vec::new()));
}

#[test]
fn in_rounds_a_fault_that_met_nothing_has_its_turn_again_and_is_missing_at_last() {
    let mut plan = plan(&[FaultKind::WorkerKilled, FaultKind::DiskFull]);
    let rounds = Length::Rounds(1);
    let mut made = Vec::new();
    while !plan.is_done(rounds, Duration::ZERO) {
        let kind = plan.draw().unwrap();
        plan.made(kind, u64::from(kind != FaultKind::DiskFull), rounds);
        made.push(kind);
    }
    assert_eq!(made.iter().filter(|kind| **kind == FaultKind::DiskFull).count(), 3);
    assert_eq!(made.len(), 4);
    assert_eq!(plan.missing(), [FaultKind::DiskFull]);
}

#[test]
fn a_quarter_of_the_lost_workers_have_quiet_around_them() {
    let mut plan = plan(&[FaultKind::WorkerKilled]);
    let rests: Vec<_> = (0..8).map(|_| plan.rest(FaultKind::WorkerKilled).is_some()).collect();
    assert_eq!(rests, [true, false, false, false, true, false, false, false]);
    // Each kind by itself.
    assert_eq!(plan.rest(FaultKind::WorkerStopped), Some(REST));
    assert_eq!(plan.rest(FaultKind::DiskFull), None);
}

#[test]
fn a_fault_that_met_nothing_in_one_of_the_rounds_is_missing() {
    let mut plan = plan(&[FaultKind::WorkerKilled, FaultKind::DiskFull]);
    let rounds = Length::Rounds(2);
    let mut full = 0;
    while !plan.is_done(rounds, Duration::ZERO) {
        let kind = plan.draw().unwrap();
        full += u64::from(kind == FaultKind::DiskFull);
        // In the first round it meets something, and never in the second.
        plan.made(kind, u64::from(kind != FaultKind::DiskFull || full == 1), rounds);
    }
    assert_eq!((full, plan.missing()), (4, vec![FaultKind::DiskFull]));
}

#[test]
fn one_that_met_something_at_its_second_try_is_not_missing() {
    let mut plan = plan(&[FaultKind::DiskFull]);
    let rounds = Length::Rounds(1);
    for count in [0, 1] {
        let kind = plan.draw().unwrap();
        plan.made(kind, count, rounds);
    }
    assert!(plan.is_done(rounds, Duration::ZERO) && plan.missing().is_empty());
}

#[test]
fn losses_in_quiet_are_counted_if_they_met_a_worker() {
    let mut plan = plan(&[FaultKind::WorkerKilled]);
    let time = Length::Time(Duration::from_secs(60));
    // The first and the fifth have quiet around them.
    for count in [0, 1, 1, 1, 1, 1] {
        plan.rest(FaultKind::WorkerKilled);
        plan.made(FaultKind::WorkerKilled, count, time);
    }
    assert_eq!(plan.quiet_losses(FaultKind::WorkerKilled), 1);
    plan.rest(FaultKind::DiskFull);
    plan.made(FaultKind::DiskFull, 1, time);
    assert_eq!(plan.quiet_losses(FaultKind::DiskFull), 0);
    assert_eq!(plan.quiet_losses(FaultKind::WorkerStopped), 0);
}
