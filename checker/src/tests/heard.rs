//! What workers heard of is what is on record, in each epoch.

use super::*;

/// A job that was released once and then completed, and what the store has of it.
fn released(story: &mut Story, verdict: State) -> (Worker, LeaseKey) {
    let worker = story.worker("one");
    let job = story.enqueue("plain");
    let first = story.claim(worker, job, 1, 1);
    story.settle(worker, first, Ending::Released, Verdict::Applied(verdict));
    let second = story.claim(worker, job, 2, 1);
    story.begin(worker, second, "plain");
    story.end(worker, second);
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
    (worker, first)
}

#[test]
fn a_claim_of_another_worker_than_the_one_on_record_is_red() {
    let mut story = Story::new();
    released(&mut story, State::Available);
    story.breaks(&[]);
    // Two claims are on record, and two were heard of.
    story.evidence.jobs[0].changes[1].worker = Some(WorkerId::new());
    assert_eq!(story.breaks(&[Rule::AttemptsAreClaims]).violations.len(), 1);
}

#[test]
fn a_claim_in_an_epoch_that_is_none_of_a_claim_is_red() {
    let mut story = Story::new();
    let (one, first, two, second) = rescue(&mut story);
    story.end(one, first);
    story.end(two, second);
    story.settle(two, second, Ending::Completed, Verdict::Applied(State::Completed));
    story.store(second, "plain", rescue_changes(one, two));
    story.breaks(&[]);
    // The second epoch is that of the rescue.
    for entry in &mut story.evidence.entries {
        if let What::Claimed { leases, .. } = &mut entry.what
            && leases[0].key == first
        {
            leases[0].key.epoch = Epoch(2);
        }
        if let What::Begun { key, .. } | What::Ended { key, .. } = &mut entry.what
            && *key == first
        {
            key.epoch = Epoch(2);
        }
    }
    assert_eq!(story.breaks(&[Rule::AttemptsAreClaims]).violations.len(), 1);
}

#[test]
fn a_settlement_that_led_to_another_state_than_its_holder_was_told_is_red() {
    let mut story = Story::new();
    released(&mut story, State::Scheduled);
    story.breaks(&[Rule::OneFinish]);
}

#[test]
fn a_settlement_that_stands_in_another_epoch_is_red() {
    let mut story = Story::new();
    let (one, first, two, second) = rescue(&mut story);
    story.end(one, first);
    // In time, but for the record.
    let failed = State::Retryable;
    story.settle(one, first, Ending::Retry, Verdict::Applied(failed));
    story.end(two, second);
    story.settle(two, second, Ending::Completed, Verdict::Unknown("lost".to_owned()));
    story.store(second, "plain", rescue_changes(one, two));
    story.breaks(&[Rule::OneFinish, Rule::NoStaleFinish]);
}

#[test]
fn a_release_that_was_settled_otherwise_is_red_though_another_was_given_back() {
    let mut story = Story::new();
    let (_, first) = released(&mut story, State::Available);
    // The first was told to be released, and has failed; the second is told as a completion.
    for entry in &mut story.evidence.entries {
        if let What::Settling { key, ending, .. } | What::Settled { key, ending, .. } =
            &mut entry.what
            && *key == first
        {
            *ending = Ending::Retry;
        }
    }
    story.breaks(&[Rule::AttemptsAreClaims]);
}

#[test]
fn an_attempt_of_another_number_is_red() {
    for of_claim in [true, false] {
        let mut story = Story::new();
        let worker = story.worker("one");
        let job = story.enqueue("plain");
        story.complete(worker, job, "plain");
        story.breaks(&[]);
        for entry in &mut story.evidence.entries {
            match &mut entry.what {
                // As told to the worker, and by it to the handler; or only to that.
                What::Claimed { leases, .. } if of_claim => leases[0].attempt = 2,
                What::Begun { attempt, .. } => *attempt = 2,
                _ => {}
            }
        }
        assert_eq!(story.breaks(&[Rule::AttemptsAreClaims]).violations.len(), 1);
    }
}

#[test]
fn an_earlier_finish_that_is_not_on_record_is_red() {
    let again = |verdict: State, retried: bool, of: fn(LeaseKey) -> LeaseKey| {
        let mut story = Story::new();
        let worker = story.worker("one");
        let job = story.enqueue("plain");
        let key = story.complete(worker, job, "plain");
        story.settle(worker, of(key), Ending::Completed, Verdict::Already(verdict));
        if retried {
            story.then("producer", What::Retrying { job });
        }
        story
    };
    let other_claim = |key| LeaseKey { claim_id: ClaimId::new(), ..key };
    let other_epoch = |key| LeaseKey { epoch: Epoch(3), ..key };
    again(State::Completed, false, |key| key).breaks(&[]);
    again(State::Discarded, false, |key| key).breaks(&[Rule::OneFinish]);
    again(State::Completed, false, other_claim).breaks(&[Rule::OneFinish]);
    again(State::Completed, false, other_epoch).breaks(&[Rule::OneFinish]);
    again(State::Completed, true, other_claim).breaks(&[]);
}
