//! What claims give, and what may end before its time.

use super::*;

#[test]
fn a_claim_that_gives_more_than_was_asked_is_red() {
    for (resend, broken) in [(false, vec![Rule::WithinLimits]), (true, vec![])] {
        let mut story = Story::new();
        let worker = story.worker("one");
        let claim = ClaimId::new();
        let (queue, most) = ("default".to_owned(), 1);
        let slots = vec![Slots { name: queue.clone(), of_kind: false, most }];
        // One that was sent twice may have been applied twice.
        story.then("one", What::Claiming { worker: worker.1, claim, resend, slots });
        let keys = [1, 2].map(|_| {
            let job = story.enqueue("plain");
            LeaseKey { job, epoch: Epoch(1), claim_id: claim }
        });
        let leases = keys.map(|key| {
            let (kind, queue) = ("plain".to_owned(), queue.clone());
            Taken { key, attempt: 1, kind, queue, timeout: None }
        });
        story.then("one", What::Claimed { worker: worker.1, claim, leases: leases.to_vec() });
        for key in keys {
            story.settle(worker, key, Ending::Completed, Verdict::Applied(State::Completed));
            story.store(key, "plain", completed(worker));
        }
        story.breaks(&broken);
    }
}

#[test]
fn an_epoch_that_is_given_to_two_claims_is_red() {
    let mut story = Story::new();
    let worker = story.worker("one");
    let job = story.enqueue("plain");
    let first = story.claim(worker, job, 1, 1);
    story.settle(worker, first, Ending::Released, Verdict::Applied(State::Available));
    let second = story.claim(worker, job, 1, 1);
    story.settle(worker, second, Ending::Completed, Verdict::Applied(State::Completed));
    let released = step(Some(State::Running), State::Available, 0, Cause::Settled, worker);
    let changes = vec![
        inserted(worker),
        claimed(1, worker),
        released,
        claimed(1, worker),
        finished(1, worker),
    ];
    story.store(second, "plain", changes);
    story.evidence.jobs[0].epoch = 2;
    story.breaks(&[Rule::OneFinish, Rule::NoStaleFinish, Rule::AttemptsAreClaims]);
}

#[test]
fn an_epoch_that_does_not_grow_is_red() {
    let mut story = Story::new();
    let (one, first, two, second) = rescue(&mut story);
    story.end(one, first);
    story.end(two, second);
    let key = LeaseKey { epoch: Epoch(2), ..second };
    story.store(key, "plain", rescue_changes(one, two));
    story.breaks(&[Rule::AttemptsAreClaims]);
}

#[test]
fn a_release_of_which_the_history_does_not_tell_is_red() {
    let mut story = Story::new();
    let worker = story.worker("one");
    let job = story.enqueue("plain");
    let first = story.claim(worker, job, 1, 1);
    story.settle(worker, first, Ending::Released, Verdict::Applied(State::Retryable));
    let second = story.claim(worker, job, 2, 2);
    story.settle(worker, second, Ending::Completed, Verdict::Applied(State::Completed));
    let failed = step(Some(State::Running), State::Retryable, 1, Cause::Settled, worker);
    let failed = Change { failure: Some(FailureKind::Error), ..failed };
    let promoted = step(Some(State::Retryable), State::Available, 1, Cause::Promoted, worker);
    let changes = vec![
        inserted(worker),
        claimed(1, worker),
        failed,
        promoted,
        claimed(2, worker),
        finished(2, worker),
    ];
    story.store(second, "plain", changes);
    story.breaks(&[Rule::AttemptsAreClaims]);
}

/// A job that runs twice at once, and the second run is of a claim long before the lease of the first runs out.
fn early(story: &mut Story, timeout: Option<u64>, between: impl FnOnce(&mut Story, Worker)) {
    let (one, two) = (story.worker("one"), story.worker("two"));
    let job = story.enqueue("plain");
    let first = story.claim(one, job, 1, 1);
    if let What::Claimed { leases, .. } = &mut story.evidence.entries.last_mut().unwrap().what {
        leases[0].timeout = timeout;
    }
    story.begin(one, first, "plain");
    between(story, one);
    story.then("two", What::Rescued { jobs: vec![job] });
    let second = story.claim(two, job, 3, 2);
    story.begin(two, second, "plain");
    story.end(two, second);
    story.settle(two, second, Ending::Completed, Verdict::Applied(State::Completed));
    story.end(one, first);
    story.settle(one, first, Ending::Completed, Verdict::Lost);
    story.store(second, "plain", rescue_changes(one, two));
}

#[test]
fn others_may_take_a_job_whose_lease_was_ended() {
    let mut story = Story::new();
    early(&mut story, None, |_, _| {});
    story.breaks(&[Rule::OverlapAfterExpiry]);
    let mut story = Story::new();
    early(&mut story, None, |story, one| {
        story.then("conductor", What::LeaseEnded { worker: one.1 });
    });
    story.breaks(&[]);
}

#[test]
fn others_may_take_a_job_past_its_deadline() {
    // A second, and ten of grace.
    for (after, broken) in [(9 * SECOND, vec![Rule::OverlapAfterExpiry]), (12 * SECOND, vec![])] {
        let mut story = Story::new();
        early(&mut story, Some(1_000), |story, one| {
            for _ in 0..after / SECOND {
                story.wait(SECOND).beat(one);
            }
        });
        story.breaks(&broken);
    }
}

#[test]
fn a_record_of_a_stale_holder_that_is_added_is_red() {
    for (added, broken) in [(false, vec![]), (true, vec![Rule::NoStaleFinish])] {
        let mut story = Story::new();
        let (one, first, two, second) = rescue(&mut story);
        story.then("one", What::Noting { key: first });
        story.then("one", What::Noted { key: first, added });
        story.end(one, first);
        story.end(two, second);
        story.settle(two, second, Ending::Completed, Verdict::Applied(State::Completed));
        story.store(second, "plain", rescue_changes(one, two));
        story.breaks(&broken);
    }
}

#[test]
fn a_job_that_the_host_removed_is_not_lost() {
    let mut story = Story::new();
    let job = story.enqueue("plain");
    story.breaks(&[Rule::NothingLost]);
    story.then("producer", What::Removed { job });
    story.breaks(&[]);
    // Nor is it missed in the feed.
    let change = inserted(Worker("one", WorkerId::new()));
    story.evidence.told = Some(vec![Told { t: 0, job, change }]);
    story.breaks(&[]);
}

#[test]
fn a_follow_up_stays_when_its_parent_runs_again() {
    let mut story = Story::new();
    let worker = story.worker("one");
    let job = story.enqueue("parent");
    let key = story.complete(worker, job, "parent");
    let child = JobId::new();
    story.then("one", What::FollowUp { key, child });
    story.complete(worker, child, "plain");
    story.then("producer", What::Retrying { job });
    let second = story.claim(worker, job, 2, 2);
    story.settle(worker, second, Ending::Completed, Verdict::Applied(State::Completed));
    let changes = [
        completed(worker),
        vec![step(Some(State::Completed), State::Available, 1, Cause::Changed, worker)],
        vec![claimed(2, worker), finished(2, worker)],
    ];
    story.evidence.jobs.remove(0);
    story.store(second, "parent", changes.concat());
    story.breaks(&[]);
    // Unless the settlement that was to add it did not complete it.
    for entry in &mut story.evidence.entries {
        if let What::Settled { key: of, verdict, .. } = &mut entry.what
            && *of == key
        {
            *verdict = Verdict::Lost;
        }
    }
    story.breaks(&[Rule::FollowUps]);
}

#[test]
fn a_follow_up_whose_unique_key_is_held_need_not_be_there() {
    let mut story = Story::new();
    let worker = story.worker("one");
    let job = story.enqueue("parent");
    let key = story.complete(worker, job, "parent");
    let child = story.sent("plain", Some(Held { key: "k".to_owned(), until: Until::Finished }));
    story.then("one", What::FollowUp { key, child });
    story.breaks(&[]);
}
