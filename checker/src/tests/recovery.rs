//! How soon the jobs of a lost worker are taken up, and what may make that longer.

use super::*;

/// A worker is lost by a fault with a job, which another takes up after so long.
fn lost(story: &mut Story, kind: &str, after: u64, heard: bool) {
    lost_until(story, kind, after, heard, 3);
}

/// The same, with the epoch in which it was taken up.
fn lost_until(story: &mut Story, kind: &str, after: u64, heard: bool, epoch: u32) {
    let (one, two) = (story.worker("one"), story.worker("two"));
    let job = story.enqueue("plain");
    let first = story.claim(one, job, 1, 1);
    story.begin(one, first, "plain");
    story.fault(kind, one);
    story.wait(after);
    if heard {
        story.then("two", What::Rescued { jobs: vec![job] });
    }
    // Each claim and each rescue has an epoch.
    let second = story.claim(two, job, epoch, epoch.div_ceil(2));
    story.settle(two, second, Ending::Completed, Verdict::Applied(State::Completed));
    story.store(second, "plain", rescue_changes(one, two));
}

/// Another fault, which begins and ends so long after the loss of the worker.
fn meanwhile(story: &mut Story, kind: &str, from: u64, to: u64) {
    let of_loss = |entry: &&Entry| matches!(entry.what, What::Fault { number: 1, .. });
    let begun = story.evidence.entries.iter().find(of_loss).unwrap().t;
    let fault = What::Fault { number: 2, kind: kind.to_owned(), victim: None };
    for (after, what) in [(from, fault), (to, What::Healed { number: 2, count: 0 })] {
        let process = "conductor".to_owned();
        story.evidence.entries.push(Entry { t: begun + after, process, what });
    }
    story.evidence.entries.sort_by_key(|entry| entry.t);
}

#[test]
fn one_may_take_longer_by_as_much_as_the_server_was_away() {
    // Five seconds, three of the fault, and one for the call that it held up.
    for (after, broken) in [(8 * SECOND, vec![]), (10 * SECOND, vec![Rule::RecoveryInTime])] {
        let mut story = Story::new();
        lost(&mut story, "worker killed", after, true);
        meanwhile(&mut story, "server killed", SECOND, 4 * SECOND);
        assert_eq!(story.breaks(&broken).figures.recoveries, 1);
    }
}

#[test]
fn faults_that_overlap_extend_the_bound_once() {
    // From one second to ten something was wrong, and calls waited for a second more: five seconds of quiet end with the fifteenth.
    for (after, broken) in [(14 * SECOND, vec![]), (16 * SECOND, vec![Rule::RecoveryInTime])] {
        let mut story = Story::new();
        lost(&mut story, "worker killed", after, true);
        for n in 0..9 {
            meanwhile(&mut story, "network slow", (1 + n) * SECOND, (2 + n) * SECOND);
        }
        story.breaks(&broken);
    }
}

#[test]
fn it_is_counted_what_was_judged_while_nothing_else_was_wrong() {
    for (other, plain) in [(false, 1), (true, 0)] {
        let mut story = Story::new();
        lost(&mut story, "worker killed", 4 * SECOND, true);
        if other {
            meanwhile(&mut story, "network slow", SECOND, 2 * SECOND);
        }
        let figures = story.breaks(&[]).figures;
        assert_eq!((figures.recoveries, figures.recoveries_plain), (1, plain));
    }
}

#[test]
fn a_killed_worker_holds_nobody_up_also_where_one_writes() {
    for (kind, plain) in [("worker killed", 1), ("worker stopped", 0)] {
        let mut story = Story::new();
        story.evidence.promises.one_writer = true;
        lost(&mut story, kind, 4 * SECOND, true);
        let figures = story.breaks(&[]).figures;
        assert_eq!((figures.recoveries, figures.recoveries_plain), (1, plain), "{kind}");
    }
}

#[test]
fn a_rescue_of_which_nobody_heard_may_take_another_recovery_where_another_fault_may_have_hidden_it()
{
    let unheard = |after| {
        let mut story = Story::new();
        lost(&mut story, "worker killed", after, false);
        story
    };
    unheard(10 * SECOND).breaks(&[Rule::RecoveryInTime]);
    // Twice five seconds, and two of the fault and the call that it held up.
    for (after, broken) in [(11 * SECOND, vec![]), (13 * SECOND, vec![Rule::RecoveryInTime])] {
        let mut story = unheard(after);
        meanwhile(&mut story, "replies dropped", SECOND, 2 * SECOND);
        assert_eq!(story.breaks(&broken).figures.recoveries, 1);
    }
    // One that came when it was late already has hidden nothing.
    let mut story = unheard(13 * SECOND);
    meanwhile(&mut story, "replies dropped", 8 * SECOND, 9 * SECOND);
    story.breaks(&[Rule::RecoveryInTime]);
}

#[test]
fn a_taker_of_which_nobody_heard_takes_another_recovery() {
    for (takers, broken) in [(1, vec![]), (0, vec![Rule::RecoveryInTime])] {
        let mut story = Story::new();
        lost_until(&mut story, "worker killed", 9 * SECOND, true, 3 + 2 * takers);
        let job = &mut story.evidence.jobs[0];
        let worker = Worker("three", WorkerId::new());
        if takers > 0 {
            let at = job.changes.len() - 2;
            job.changes.splice(at..at, [claimed(2, worker), rescued(2, worker)]);
        }
        job.attempt = 2 + takers;
        job.changes.iter_mut().rev().take(2).for_each(|change| change.attempt = 2 + takers);
        story.breaks(&broken);
    }
}

#[test]
fn a_worker_that_died_with_others_is_checked_too() {
    let mut story = Story::new();
    lost(&mut story, "all killed in mid-commit", 9 * SECOND, true);
    for entry in &mut story.evidence.entries {
        if let What::Fault { victim, .. } = &mut entry.what {
            *victim = None;
        }
    }
    story.evidence.promises.call = 0;
    story.breaks(&[Rule::RecoveryInTime]);
}

#[test]
fn a_stopped_worker_is_checked_too() {
    let mut story = Story::new();
    lost(&mut story, "worker stopped", 9 * SECOND, true);
    // It goes on only after the other has taken the job up.
    story
        .evidence
        .entries
        .retain(|entry| !matches!(entry.what, What::Died { .. } | What::Healed { number: 1, .. }));
    story.then("conductor", What::Healed { number: 1, count: 1 });
    story.breaks(&[Rule::RecoveryInTime]);
    // Where it may hold the only lock, the others wait for it.
    story.evidence.promises.one_writer = true;
    story.breaks(&[]);
}

#[test]
fn lost_workers_of_which_nothing_can_be_checked_are_red() {
    let mut story = Story::new();
    for (number, name) in [(1, "one"), (2, "two"), (3, "three")] {
        story.breaks(&[]);
        story.worker(name);
        let (kind, victim) = ("worker killed".to_owned(), Some(name.to_owned()));
        story.then("conductor", What::Fault { number, kind, victim });
        story.then("conductor", What::Healed { number, count: 1 });
    }
    story.breaks(&[Rule::RecoveryInTime]);
}

#[test]
fn a_recovery_that_takes_too_long_is_red() {
    for (after, broken) in [(3 * SECOND, vec![]), (9 * SECOND, vec![Rule::RecoveryInTime])] {
        let mut story = Story::new();
        let (one, two) = (story.worker("one"), story.worker("two"));
        let job = story.enqueue("plain");
        let first = story.claim(one, job, 1, 1);
        story.begin(one, first, "plain");
        story.fault("worker killed", one);
        story.wait(after);
        let second = story.claim(two, job, 3, 2);
        story.begin(two, second, "plain");
        story.end(two, second);
        story.settle(two, second, Ending::Completed, Verdict::Applied(State::Completed));
        story.store(second, "plain", rescue_changes(one, two));
        let findings = story.breaks(&broken);
        let lasting = &findings.figures.faults["worker killed"];
        assert_eq!((lasting.faults, lasting.recovery.len(), lasting.repeated), (1, 1, 1));
        assert!(lasting.recovery[0] > after);
    }
}
