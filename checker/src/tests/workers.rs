//! What workers run, and how they settle it.

use super::*;

#[test]
fn a_run_without_a_claim_of_its_own_is_red() {
    let mut story = Story::new();
    let worker = story.worker("one");
    let job = story.enqueue("plain");
    let key = story.complete(worker, job, "plain");
    story.begin(worker, key, "plain");
    story.end(worker, key);
    story.breaks(&[Rule::NothingUnexpected]);
}

#[test]
fn an_overlap_before_the_lease_ran_out_is_red() {
    let mut story = Story::new();
    let (one, first, two, second) = rescue(&mut story);
    story.end(two, second);
    story.settle(two, second, Ending::Completed, Verdict::Applied(State::Completed));
    story.end(one, first);
    story.store(second, "plain", rescue_changes(one, two));
    story.breaks(&[]);
    // A heartbeat of the first that was answered shortly before the second claim.
    let at = story.evidence.entries.iter().position(|e| matches!(e.what, What::Rescued { .. }));
    let t = story.evidence.entries[at.unwrap()].t;
    let what = What::Beat { worker: one.1, sent: t - 10, expired: false, lost: Vec::new() };
    story.evidence.entries.insert(at.unwrap(), Entry { t, process: "one".to_owned(), what });
    story.breaks(&[Rule::OverlapAfterExpiry]);
}

/// The answer to the first claim is under way for so long that its run begins last. What counts is the first lease all the same.
#[test]
fn an_overlap_is_judged_by_which_claim_came_first() {
    for (lost, broken) in [(true, vec![]), (false, vec![Rule::OverlapAfterExpiry])] {
        let mut story = Story::new();
        let (one, two) = (story.worker("one"), story.worker("two"));
        let job = story.enqueue("plain");
        let first = story.claim(one, job, 1, 1);
        let heard = story.evidence.entries.pop().unwrap();
        if lost {
            story.then("conductor", What::LeaseEnded { worker: one.1 });
        }
        story.then("two", What::Rescued { jobs: vec![job] });
        let second = story.claim(two, job, 3, 2);
        story.begin(two, second, "plain");
        story.then("one", heard.what);
        story.begin(one, first, "plain");
        story.end(one, first);
        story.end(two, second);
        story.settle(two, second, Ending::Completed, Verdict::Applied(State::Completed));
        story.store(second, "plain", rescue_changes(one, two));
        assert_eq!(story.breaks(&broken).figures.overlaps, 1);
    }
}

#[test]
fn more_at_once_than_may_be_is_red() {
    let mut story = Story::new();
    let worker = story.worker("one");
    let keys = [1, 2].map(|_| {
        let job = story.enqueue("narrow");
        story.claim(worker, job, 1, 1)
    });
    keys.iter().for_each(|key| story.begin(worker, *key, "narrow"));
    for key in keys {
        story.end(worker, key);
        story.settle(worker, key, Ending::Completed, Verdict::Applied(State::Completed));
        story.store(key, "narrow", completed(worker));
    }
    story.breaks(&[Rule::WithinLimits]);
}

#[test]
fn a_handler_that_begins_without_a_claim_is_red() {
    let mut story = Story::new();
    let worker = story.worker("one");
    let job = story.enqueue("plain");
    story.complete(worker, job, "plain");
    story.then("one", What::Unclaimed { job });
    story.breaks(&[Rule::NothingUnexpected]);
}

#[test]
fn an_answer_that_is_missing_is_red() {
    let mut story = Story::new();
    let worker = story.worker("one");
    let job = story.enqueue("plain");
    let key = story.complete(worker, job, "plain");
    story.settle(worker, key, Ending::Completed, Verdict::Missing);
    story.breaks(&[Rule::NothingUnexpected]);
}

#[test]
fn a_stale_finish_on_record_whose_answer_was_lost_is_red() {
    let mut story = Story::new();
    let (one, first, two, second) = rescue(&mut story);
    story.end(one, first);
    story.then("one", What::Settling { key: first, ending: Ending::Completed, in_host: false });
    story.end(two, second);
    story.store(first, "plain", rescue_changes(one, two));
    // Its row has the epoch of the first again.
    let findings = story.breaks(&[Rule::NoStaleFinish, Rule::AttemptsAreClaims]);
    assert_eq!(findings.figures.all().stale_accepted, 1);
    // If it had been sent before the other heard of its claim, it may have been applied in time.
    let sent = story.evidence.entries.iter().position(|e| matches!(e.what, What::Settling { .. }));
    let mut entry = story.evidence.entries.remove(sent.unwrap());
    let rescue = story.evidence.entries.iter().position(|e| matches!(e.what, What::Rescued { .. }));
    entry.t = story.evidence.entries[rescue.unwrap()].t - 1;
    story.evidence.entries.insert(rescue.unwrap(), entry);
    story.breaks(&[Rule::AttemptsAreClaims]);
}

#[test]
fn a_run_that_ended_with_its_worker_did_not_count_though_its_claim_is_on_record() {
    let mut story = Story::new();
    let worker = story.worker("one");
    let job = story.enqueue("plain");
    let key = story.claim(worker, job, 1, 1);
    story.begin(worker, key, "plain");
    story.then("one", What::Effect { key });
    story.end(worker, key);
    let discarded = step(Some(State::Running), State::Discarded, 1, Cause::Rescued, worker);
    let discarded = Change { failure: Some(FailureKind::Crash), ..discarded };
    story.store(key, "plain", vec![inserted(worker), claimed(1, worker), discarded]);
    story.evidence.jobs[0].epoch = 2;
    let all = story.breaks(&[]).figures.all();
    assert_eq!((all.repeated, all.outside), (1, 1));
}

#[test]
fn what_a_run_did_outside_is_counted_where_the_run_is() {
    let mut story = Story::new();
    let (one, two) = (story.worker("one"), story.worker("two"));
    let job = story.enqueue("plain");
    let first = story.claim(one, job, 1, 1);
    story.begin(one, first, "plain");
    // Before any fault; its run ends by one.
    story.then("one", What::Effect { key: first });
    story.fault("worker killed", one);
    story.wait(3 * SECOND).then("two", What::Rescued { jobs: vec![job] });
    let second = story.claim(two, job, 3, 2);
    story.begin(two, second, "plain");
    story.end(two, second);
    story.settle(two, second, Ending::Completed, Verdict::Applied(State::Completed));
    story.store(second, "plain", rescue_changes(one, two));
    let figures = story.breaks(&[]).figures;
    let of = |kind: &str| figures.faults.get(kind).map(|of| (of.repeated, of.outside));
    assert_eq!((of("worker killed"), of("none")), (Some((1, 1)), None));
}

#[test]
fn a_queue_whose_setting_is_not_followed_is_red() {
    for (wait, broken) in [(0, vec![]), (11 * SECOND, vec![Rule::WithinLimits])] {
        let mut story = Story::new();
        let worker = story.worker("one");
        let queue = "limited".to_owned();
        let run = |story: &mut Story, at_once: usize| {
            let jobs: Vec<_> = (0..at_once).map(|_| story.enqueue("plain")).collect();
            let keys: Vec<_> = jobs.iter().map(|job| story.claim(worker, *job, 1, 1)).collect();
            for key in &keys {
                let (key, kind, queue) = (*key, "plain".to_owned(), queue.clone());
                story.then("one", What::Begun { key, kind, queue, attempt: 1 });
            }
            for key in keys {
                story.end(worker, key);
                story.settle(worker, key, Ending::Completed, Verdict::Applied(State::Completed));
                story.store(key, "plain", completed(worker));
            }
        };
        run(&mut story, 1);
        story.wait(wait);
        run(&mut story, 3);
        story.breaks(&broken);
    }
}

#[test]
fn processes_of_another_build_are_counted_with_their_runs() {
    let mut story = Story::new();
    let (one, two) = (story.worker("one"), story.worker("two"));
    story.then("conductor", What::Born { name: "one".to_owned(), second: true });
    for worker in [one, two] {
        let job = story.enqueue("plain");
        story.complete(worker, job, "plain");
    }
    let figures = story.breaks(&[]).figures;
    assert_eq!((figures.runs, figures.second, figures.second_processes), (2, 1, 1));
}
