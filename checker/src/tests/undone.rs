//! What a fault may undo, and when: nothing else is excused.

use super::*;

#[test]
fn a_claim_that_counts_from_the_same_epoch_makes_the_other_stale() {
    let mut story = Story::new();
    story.evidence.promises.undone_by = UndoneBy::Failover;
    let (one, two) = (story.worker("one"), story.worker("two"));
    let job = story.enqueue("plain");
    let first = story.claim(one, job, 1, 1);
    failover(&mut story);
    let second = story.claim(two, job, 1, 1);
    story.settle(two, second, Ending::Completed, Verdict::Applied(State::Completed));
    story.store(second, "plain", completed(two));
    story.breaks(&[]);
    story.settle(one, first, Ending::Completed, Verdict::Applied(State::Completed));
    story.breaks(&[Rule::OneFinish, Rule::NoStaleFinish]);
}

#[test]
fn what_a_failover_undid_is_counted_and_only_that() {
    let mut story = Story::new();
    story.evidence.promises.undone_by = UndoneBy::Failover;
    story.evidence.promises.inserts = false;
    let worker = story.worker("one");
    let (job, _lost) = (story.enqueue("plain"), story.enqueue("plain"));
    let first = story.claim(worker, job, 1, 1);
    story.settle(worker, first, Ending::Completed, Verdict::Applied(State::Completed));
    let fault = What::Fault { number: 1, kind: "failover".to_owned(), victim: None };
    story
        .then("conductor", fault)
        .wait(SECOND)
        .then("conductor", What::Healed { number: 1, count: 0 });
    let second = story.claim(worker, job, 1, 1);
    story.settle(worker, second, Ending::Completed, Verdict::Applied(State::Completed));
    story.store(second, "plain", completed(worker));
    let findings = story.breaks(&[]);
    assert_eq!((findings.lost_as_allowed, findings.figures.undone), (1, 1));
    // Without a server that was lost, nothing may be undone.
    story.evidence.entries.retain(|entry| !matches!(entry.what, What::Fault { .. }));
    story.breaks(&[Rule::NothingLost, Rule::OneFinish, Rule::AttemptsAreClaims]);
}

#[test]
fn what_was_undone_the_reader_of_a_feed_alone_may_have_been_told() {
    let mut story = Story::new();
    story.evidence.promises.undone_by = UndoneBy::Failover;
    let worker = story.worker("one");
    let job = story.enqueue("plain");
    story.wait(SECOND);
    failover(&mut story);
    let promoted =
        |entry: &&Entry| matches!(entry.what, What::Moment { moment: Moment::Promoted, .. });
    let in_time = story.evidence.entries.iter().find(promoted).unwrap().t;
    story.complete(worker, job, "plain");
    let changes = completed(worker);
    // A claim of which no worker heard.
    let undone = [changes[0].clone(), claimed(1, worker), changes[1].clone(), changes[2].clone()];
    for (t, broken) in [(in_time, vec![]), (in_time + 3 * SECOND, vec![Rule::FeedComplete])] {
        let told = undone.iter().map(|change| Told { t, job, change: change.clone() });
        story.evidence.told = Some(told.collect());
        story.breaks(&broken);
    }
}

/// A failover, which a worker's loss has no part in.
fn failover(story: &mut Story) {
    let (number, kind) = (1, "failover".to_owned());
    story.then("conductor", What::Fault { number, kind, victim: None });
    for moment in [Moment::LinkCut, Moment::Killed, Moment::Promoted] {
        story.then("conductor", What::Moment { number, moment });
    }
    story.wait(4 * SECOND);
    story.then("conductor", What::Moment { number, moment: Moment::Demoted });
    story.then("conductor", What::Healed { number, count: 1 });
}

#[test]
fn what_was_answered_before_or_after_a_failover_stays() {
    let mut story = Story::new();
    story.evidence.promises.undone_by = UndoneBy::Failover;
    story.evidence.promises.inserts = false;
    let worker = story.worker("one");
    let job = story.enqueue("plain");
    story.complete(worker, job, "plain");
    story.evidence.told = Some(Vec::new());
    story.wait(SECOND);
    failover(&mut story);
    // The excuse is of a moment, and not of the setting.
    story.breaks(&[Rule::FeedComplete]);
    story.evidence.told = None;
    story.evidence.jobs[0].changes.remove(1);
    story.breaks(&[Rule::AttemptsAreClaims, Rule::StatesFollow]);
    story.evidence.jobs.clear();
    story.evidence.entries.retain(|entry| {
        !matches!(entry.what, What::Claimed { .. } | What::Settled { .. } | What::Begun { .. })
    });
    story.breaks(&[Rule::NothingLost]);
    // And what the new primary answered while the old one was not back yet.
    let mut story = Story::new();
    story.evidence.promises.undone_by = UndoneBy::Failover;
    story.evidence.promises.inserts = false;
    failover(&mut story);
    let healed = story.evidence.entries.pop().unwrap();
    story.enqueue("plain");
    story.evidence.entries.push(Entry { t: story.t + 1, ..healed });
    story.breaks(&[Rule::NothingLost]);
}

#[test]
fn a_log_that_the_system_has_survives_the_end_of_the_server() {
    for (undone_by, broken) in
        [(UndoneBy::KilledServer, vec![]), (UndoneBy::FullDisk, vec![Rule::NothingLost])]
    {
        let mut story = Story::new();
        story.evidence.promises.undone_by = undone_by;
        story.evidence.promises.inserts = false;
        story.enqueue("plain");
        let kind = "server killed".to_owned();
        story.then("conductor", What::Fault { number: 1, kind, victim: None });
        story.then("conductor", What::Healed { number: 1, count: 0 });
        story.breaks(&broken);
    }
}

#[test]
fn what_an_earlier_fault_may_undo_is_excused_after_a_later_one_that_ended_before() {
    let mut story = Story::new();
    story.evidence.promises.undone_by = UndoneBy::KilledServer;
    story.evidence.promises.inserts = false;
    let begin = |story: &mut Story, number, kind: &str| {
        story.then("conductor", What::Fault { number, kind: kind.to_owned(), victim: None });
    };
    begin(&mut story, 1, "disk full");
    begin(&mut story, 2, "server killed");
    story.then("conductor", What::Healed { number: 2, count: 1 });
    story.enqueue("plain");
    story.then("conductor", What::Healed { number: 1, count: 1 });
    assert_eq!(story.breaks(&[]).lost_as_allowed, 1);
}
