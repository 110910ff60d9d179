//! Every function over every combination of small facts; and a row for each rule of `docs/state-machine.md`.

use std::collections::BTreeSet;

use super::*;
use crate::{Failure, Start};

const SECOND: Duration = Duration::from_secs(1);

/// Something that can happen to a stored job.
#[derive(Debug, Clone)]
enum Event {
    Promote,
    Claim,
    Settle(AttemptOutcome),
    Rescue(Rescue),
    Change(Change),
}

fn step(job: &Facts, event: &Event) -> Option<Transition> {
    match event {
        Event::Promote => promoted(job),
        Event::Claim => claimed(job),
        // The fence comes before: only a running job is ever settled.
        Event::Settle(outcome) => (job.state == State::Running).then(|| settled(job, outcome)),
        Event::Rescue(why) => rescued(job, *why),
        Event::Change(change) => changed(job, change, now()),
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(1_000_000).unwrap()
}

fn failure() -> Failure {
    Failure { kind: FailureKind::Error, message: "it failed".into() }
}

fn completed() -> AttemptOutcome {
    AttemptOutcome::Completed { result: None, blobs: Vec::new() }
}

fn retry(delay: Duration) -> AttemptOutcome {
    AttemptOutcome::Retry { delay, failure: failure() }
}

fn discarded() -> AttemptOutcome {
    AttemptOutcome::Discarded { failure: failure() }
}

fn cancelled() -> AttemptOutcome {
    AttemptOutcome::Cancelled { failure: failure() }
}

fn snoozed(delay: Duration) -> AttemptOutcome {
    AttemptOutcome::Snoozed { delay }
}

fn outcomes() -> Vec<AttemptOutcome> {
    let (zero, second) = (Duration::ZERO, SECOND);
    vec![
        completed(),
        retry(zero),
        retry(second),
        discarded(),
        cancelled(),
        snoozed(zero),
        snoozed(second),
        AttemptOutcome::Released,
    ]
}

fn cancel() -> Change {
    Change::Cancel { reason: None }
}

fn reschedule(start: Start) -> Change {
    Change::Reschedule { start }
}

fn changes() -> Vec<Change> {
    vec![
        cancel(),
        Change::Retry,
        Change::RetryUnlessCompleted,
        reschedule(Start::Now),
        reschedule(Start::In(SECOND)),
        reschedule(Start::At(now() - SECOND)),
        reschedule(Start::At(now() + SECOND)),
        Change::Delete,
    ]
}

fn is_retry(event: &Event) -> bool {
    matches!(event, Event::Change(Change::Retry | Change::RetryUnlessCompleted))
}

fn events() -> Vec<Event> {
    let rescues = [Rescue::WorkerLost, Rescue::DeadlinePassed].map(Event::Rescue);
    [Event::Promote, Event::Claim]
        .into_iter()
        .chain(outcomes().into_iter().map(Event::Settle))
        .chain(rescues)
        .chain(changes().into_iter().map(Event::Change))
        .collect()
}

fn all_facts() -> Vec<Facts> {
    let mut all = Vec::new();
    for state in State::ALL {
        for bits in 0..4 * 3 * 2 * 5 * 2 {
            all.push(Facts {
                state,
                attempt: bits % 4,
                max_attempts: bits / 4 % 3 + 1,
                snoozes: bits / 12 % 2,
                crashes: bits / 24 % 5,
                cancel_requested: bits / 120 % 2 == 1,
            });
        }
    }
    all
}

/// Calls `check` with every job, event and what follows from the two.
fn for_all(mut check: impl FnMut(&Facts, &Event, Transition)) {
    let mut steps = 0;
    for job in all_facts() {
        for event in events() {
            if let Some(to) = step(&job, &event) {
                check(&job, &event, to);
                steps += 1;
            }
        }
    }
    assert!(steps > 5_000, "only {steps} steps were looked at");
}

#[test]
fn can_become_says_exactly_what_the_steps_do() {
    let mut seen = BTreeSet::new();
    for_all(|job, event, to| {
        // The one step that is no change of state.
        let request =
            job.state == State::Running && matches!(event, Event::Change(Change::Cancel { .. }));
        assert_eq!(request, job.state == State::Running && to.to == State::Running);
        assert!(request || can_become(job.state, to.to), "{job:?} {event:?} {to:?}");
        if !request {
            seen.insert((job.state, to.to));
        }
    });
    // These come with the release of dependents, which is no function of one job's facts.
    let elsewhere = [(State::Blocked, State::Available), (State::Blocked, State::Scheduled)];
    for from in State::ALL {
        for to in State::ALL {
            let step = seen.contains(&(from, to)) || elsewhere.contains(&(from, to));
            assert_eq!(can_become(from, to), step, "{from} to {to}");
        }
    }
}

#[test]
fn final_jobs_change_by_an_explicit_retry_alone() {
    for_all(|job, event, to| {
        if job.state.is_final() {
            assert!(is_retry(event), "{job:?} {event:?}");
            assert_eq!(to.to, State::Available);
        }
    });
    for state in State::FINAL {
        assert!(
            all_facts()
                .iter()
                .filter(|job| job.state == state)
                .all(|job| { changed(job, &Change::Retry, now()).is_some() })
        );
    }
}

#[test]
fn f10_a_claim_counts_the_attempt_and_a_rescue_keeps_it_counted() {
    for_all(|job, event, to| match event {
        Event::Claim => assert_eq!(to.attempt, job.attempt + 1),
        Event::Rescue(_) => assert_eq!(to.attempt, job.attempt),
        Event::Promote | Event::Change(_) => assert_eq!(to.attempt, job.attempt),
        Event::Settle(_) => assert!(to.attempt <= job.attempt),
    });
}

#[test]
fn f11_snooze_and_release_give_back_exactly_the_attempt_of_the_claim() {
    let gives_back = |outcome: &AttemptOutcome| {
        matches!(outcome, AttemptOutcome::Snoozed { .. } | AttemptOutcome::Released)
    };
    for job in all_facts() {
        let Some(claim) = claimed(&job) else { continue };
        let running = Facts { state: claim.to, attempt: claim.attempt, ..job };
        for outcome in outcomes() {
            let kept = u32::from(!gives_back(&outcome));
            assert_eq!(settled(&running, &outcome).attempt, job.attempt + kept, "{outcome:?}");
        }
    }
}

#[test]
fn only_a_snooze_that_leads_on_counts_as_one() {
    for_all(|job, event, to| {
        let snooze = matches!(event, Event::Settle(AttemptOutcome::Snoozed { .. }));
        let counts = u32::from(snooze && !to.to.is_final());
        // A user's retry of a final job gives a fresh budget.
        let anew = job.state.is_final() && is_retry(event);
        let expected = if anew { 0 } else { job.snoozes + counts };
        assert_eq!(to.snoozes, expected, "{job:?} {event:?}");
    });
}

#[test]
fn the_epoch_grows_at_each_claim_and_each_rescue() {
    for_all(|_, event, to| {
        assert_eq!(to.next_epoch, matches!(event, Event::Claim | Event::Rescue(_)), "{event:?}");
    });
}

#[test]
fn a_step_into_the_ready_states_says_when_except_for_a_promotion() {
    for_all(|job, event, to| {
        let waits = matches!(to.to, State::Scheduled | State::Available | State::Retryable);
        let says = waits && !matches!(event, Event::Promote);
        assert_eq!(to.due_in.is_some(), says, "{job:?} {event:?}");
        if let Some(delay) = to.due_in {
            assert_eq!(delay.is_zero(), to.to == State::Available, "{job:?} {event:?}");
        }
    });
}

#[test]
fn a_cancel_request_turns_every_end_but_success_into_cancelled() {
    for_all(|job, event, to| {
        let ends = matches!(event, Event::Settle(_) | Event::Rescue(_));
        if !ends || !job.cancel_requested {
            return;
        }
        let success = matches!(event, Event::Settle(AttemptOutcome::Completed { .. }));
        let expected = if success { State::Completed } else { State::Cancelled };
        assert_eq!(to.to, expected, "{job:?} {event:?}");
    });
}

#[test]
fn a_cancel_request_is_over_once_the_job_is_cancelled_completed_or_retried() {
    for_all(|job, event, to| {
        let retried = job.state.is_final();
        if matches!(to.to, State::Cancelled | State::Completed) || retried {
            assert!(!to.cancel_requested, "{job:?} {event:?}");
        }
    });
}

#[test]
fn f13_cancelling_a_running_job_changes_nothing_but_the_request_and_that_once() {
    for job in all_facts().into_iter().filter(|job| job.state == State::Running) {
        match changed(&job, &cancel(), now()) {
            None => assert!(job.cancel_requested),
            Some(to) => {
                let asked = Facts { cancel_requested: true, ..job };
                assert!(!job.cancel_requested);
                assert_eq!(to, asked.to(State::Running));
            }
        }
    }
}

#[test]
fn a_retry_of_a_final_job_leaves_it_an_attempt_and_a_crash_budget() {
    for job in all_facts().into_iter().filter(|job| job.state.is_final()) {
        let to = changed(&job, &Change::Retry, now()).unwrap();
        assert!(to.max_attempts > to.attempt && to.max_attempts >= job.max_attempts);
        assert_eq!((to.crashes, to.attempt), (0, job.attempt));
    }
    for_all(|job, event, to| {
        if !job.state.is_final() {
            assert_eq!(to.max_attempts, job.max_attempts, "{job:?} {event:?}");
        }
    });
}

#[test]
fn a_lost_worker_is_a_crash_and_a_passed_deadline_is_not() {
    for_all(|job, event, to| {
        let (failure, crashes) = match event {
            Event::Rescue(Rescue::WorkerLost) => (Some(FailureKind::Crash), job.crashes + 1),
            Event::Rescue(Rescue::DeadlinePassed) => (Some(FailureKind::Timeout), job.crashes),
            event if is_retry(event) && job.state.is_final() => (None, 0),
            _ => (None, job.crashes),
        };
        assert_eq!((to.failure, to.crashes), (failure, crashes), "{job:?} {event:?}");
    });
}

#[test]
fn a_rescue_discards_out_of_attempts_or_out_of_crashes_and_only_then() {
    for_all(|job, event, to| {
        if matches!(event, Event::Rescue(_)) && !job.cancel_requested {
            let out = job.attempt >= job.max_attempts || to.crashes >= DISCARD_CRASHES;
            let late = matches!(event, Event::Rescue(Rescue::DeadlinePassed));
            let expected = match (out, late) {
                (true, _) => State::Discarded,
                (false, true) => State::Retryable, // F20: no hot loop of attempts that hang
                (false, false) => State::Available,
            };
            assert_eq!(to.to, expected, "{job:?} {event:?}");
        }
    });
}

/// F10: a job that kills its worker each time is claimed a bounded number of times, the last one alone.
#[test]
fn f10_a_poison_job_ends_discarded_after_its_quarantine() {
    for max_attempts in 1..6 {
        let mut job = Facts {
            state: State::Available,
            attempt: 0,
            max_attempts,
            snoozes: 0,
            crashes: 0,
            cancel_requested: false,
        };
        let mut lanes = Vec::new();
        while !job.state.is_final() {
            lanes.push(quarantined(job.crashes));
            job = after_step(&job, claimed(&job).unwrap());
            job = after_step(&job, rescued(&job, Rescue::WorkerLost).unwrap());
        }
        let claims = max_attempts.min(DISCARD_CRASHES) as usize;
        assert_eq!(job.state, State::Discarded);
        assert_eq!(lanes, [false, false, true][..claims]);
    }
}

fn after_step(job: &Facts, to: Transition) -> Facts {
    Facts {
        state: to.to,
        attempt: to.attempt,
        max_attempts: to.max_attempts,
        crashes: to.crashes,
        ..*job
    }
}

#[test]
fn deletion_is_no_transition() {
    assert!(all_facts().iter().all(|job| changed(job, &Change::Delete, now()).is_none()));
}

#[test]
fn a_new_job_is_available_at_once_or_scheduled() {
    assert_eq!(inserted(Duration::ZERO), State::Available);
    assert_eq!(inserted(Duration::from_nanos(1)), State::Scheduled);
}

#[test]
fn f51_a_failure_is_retried_until_the_attempts_are_used_up() {
    for attempt in 1..5 {
        let expected = if attempt < 3 { retry(SECOND) } else { discarded() };
        assert_eq!(after_failure(attempt, 3, SECOND, failure()), expected);
    }
}

/// The table of `docs/state-machine.md`: a job that was claimed once, of three attempts.
#[test]
fn the_table_of_the_documentation() {
    use State::{
        Available, Blocked, Cancelled, Completed, Discarded, Retryable, Running, Scheduled,
    };
    let settle = Event::Settle;
    let lost = || Event::Rescue(Rescue::WorkerLost);
    let late = || Event::Rescue(Rescue::DeadlinePassed);
    let change = Event::Change;
    let later = || change(reschedule(Start::In(SECOND)));
    // From, event, to; a `None` where the event does not apply.
    let table: Vec<(State, Event, Option<State>)> = vec![
        (Scheduled, Event::Promote, Some(Available)),
        (Retryable, Event::Promote, Some(Available)),
        (Blocked, Event::Promote, None),
        (Available, Event::Promote, None),
        (Running, Event::Promote, None),
        (Available, Event::Claim, Some(Running)),
        (Blocked, Event::Claim, None),
        (Scheduled, Event::Claim, None),
        (Retryable, Event::Claim, None),
        (Running, Event::Claim, None),
        (Running, settle(completed()), Some(Completed)),
        (Running, settle(retry(SECOND)), Some(Retryable)),
        (Running, settle(retry(Duration::ZERO)), Some(Available)),
        (Running, settle(discarded()), Some(Discarded)),
        (Running, settle(cancelled()), Some(Cancelled)),
        (Running, settle(snoozed(SECOND)), Some(Scheduled)),
        (Running, settle(snoozed(Duration::ZERO)), Some(Available)),
        (Running, settle(AttemptOutcome::Released), Some(Available)),
        (Running, lost(), Some(Available)),
        (Running, late(), Some(Retryable)),
        (Available, lost(), None),
        (Retryable, late(), None),
        (Blocked, change(cancel()), Some(Cancelled)),
        (Scheduled, change(cancel()), Some(Cancelled)),
        (Available, change(cancel()), Some(Cancelled)),
        (Retryable, change(cancel()), Some(Cancelled)),
        (Running, change(cancel()), Some(Running)),
        (Completed, change(cancel()), None),
        (Scheduled, change(Change::Retry), Some(Available)),
        (Retryable, change(Change::Retry), Some(Available)),
        (Blocked, change(Change::Retry), None),
        (Available, change(Change::Retry), None),
        (Running, change(Change::Retry), None),
        (Completed, change(Change::Retry), Some(Available)),
        (Cancelled, change(Change::Retry), Some(Available)),
        (Discarded, change(Change::Retry), Some(Available)),
        (Retryable, change(Change::RetryUnlessCompleted), Some(Available)),
        (Running, change(Change::RetryUnlessCompleted), None),
        (Completed, change(Change::RetryUnlessCompleted), None),
        (Cancelled, change(Change::RetryUnlessCompleted), Some(Available)),
        (Discarded, change(Change::RetryUnlessCompleted), Some(Available)),
        (Scheduled, later(), Some(Scheduled)),
        (Available, later(), Some(Scheduled)),
        (Retryable, later(), Some(Scheduled)),
        (Available, change(reschedule(Start::Now)), Some(Available)),
        (Blocked, later(), None),
        (Running, later(), None),
        (Completed, later(), None),
    ];
    for (state, event, to) in table {
        let (attempt, max_attempts, snoozes, crashes) = (1, 3, 0, 0);
        let job = Facts { state, attempt, max_attempts, snoozes, crashes, cancel_requested: false };
        assert_eq!(step(&job, &event).map(|to| to.to), to, "{state}: {event:?}");
    }
}

#[test]
fn only_epoch_and_claim_id_together_pass_the_fence() {
    let (mine, other) = (ClaimId::new(), ClaimId::new());
    let key = LeaseKey { job: crate::JobId::new(), epoch: Epoch(2), claim_id: mine };
    for state in State::ALL {
        let same = match state {
            State::Running => Fence::Holds,
            state if state.is_final() => Fence::Finished,
            _ => Fence::Stale,
        };
        for epoch in 0..4 {
            for claim_id in [None, Some(mine), Some(other)] {
                let matches = epoch == 2 && claim_id == Some(mine);
                let expected = if matches { same } else { Fence::Stale };
                assert_eq!(fence(state, Epoch(epoch), claim_id, &key), expected, "{state} {epoch}");
            }
        }
    }
}
