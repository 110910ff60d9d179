//! The state machine of a job, pure and without I/O. Every backend is held to it: the memory backend
//! calls these functions, the others say the same in SQL or Lua and are compared with it by the
//! conformance suite. `docs/state-machine.md` draws it.

use std::time::Duration;

use jiff::Timestamp;

use crate::{AttemptOutcome, Backoff, Change, ClaimId, Epoch, FailureKind, LeaseKey, State};

/// Crashes after which a job is claimed only in a quarantine lane.
pub const QUARANTINE_CRASHES: u32 = 2;
/// Crashes after which a job is discarded: one more than lead into quarantine.
pub const DISCARD_CRASHES: u32 = QUARANTINE_CRASHES + 1;

/// What a key is worth against the row of its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fence {
    /// The job runs under this very key: a write with it is let through.
    Holds,
    /// The job is final, and this very key finished it: the write was made before.
    Finished,
    /// The key is of another claim, or of none: nothing may be written.
    Stale,
}

/// The fence. Epoch and claim id of the row must both be those of the key: an epoch can be issued twice after a restore, and a claim
/// id can take the same job twice when its request arrives twice. No clock is asked.
#[must_use]
pub fn fence(state: State, epoch: Epoch, claim_id: Option<ClaimId>, key: &LeaseKey) -> Fence {
    if epoch != key.epoch || claim_id != Some(key.claim_id) {
        Fence::Stale
    } else if state == State::Running {
        Fence::Holds
    } else if state.is_final() {
        Fence::Finished
    } else {
        Fence::Stale
    }
}

/// What the machine needs to know of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Where it stands.
    pub state: State,
    /// Claims that count.
    pub attempt: u32,
    /// Claims before it is discarded.
    pub max_attempts: u32,
    /// Snoozes so far.
    pub snoozes: u32,
    /// Crashes so far.
    pub crashes: u32,
    /// A user asked to cancel it while it ran.
    pub cancel_requested: bool,
}

impl From<&crate::JobRecord> for Facts {
    fn from(job: &crate::JobRecord) -> Self {
        Self {
            state: job.state,
            attempt: job.attempt,
            max_attempts: job.max_attempts,
            snoozes: job.snoozes,
            crashes: job.crashes,
            cancel_requested: job.cancel_requested,
        }
    }
}

/// What one step makes of a job. Counters are the values after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// The state after.
    pub to: State,
    /// When the job is next due, from now; `None` leaves the time as it is.
    pub due_in: Option<Duration>,
    /// Claims that count.
    pub attempt: u32,
    /// Claims before it is discarded.
    pub max_attempts: u32,
    /// Snoozes.
    pub snoozes: u32,
    /// Crashes.
    pub crashes: u32,
    /// The epoch grows by one.
    pub next_epoch: bool,
    /// The cancel request after.
    pub cancel_requested: bool,
    /// The failure that the step itself records (a crash, a passed deadline).
    pub failure: Option<FailureKind>,
}

impl Facts {
    const fn to(&self, to: State) -> Transition {
        Transition {
            to,
            due_in: None,
            attempt: self.attempt,
            max_attempts: self.max_attempts,
            snoozes: self.snoozes,
            crashes: self.crashes,
            next_epoch: false,
            cancel_requested: self.cancel_requested,
            failure: None,
        }
    }

    fn waiting(&self, state: State, delay: Duration) -> Transition {
        let to = if delay.is_zero() { State::Available } else { state };
        Transition { due_in: Some(delay), ..self.to(to) }
    }

    fn cancelled(&self) -> Transition {
        Transition { cancel_requested: false, ..self.to(State::Cancelled) }
    }
}

/// The state of a new job that is due after `delay`.
#[must_use]
pub fn inserted(delay: Duration) -> State {
    if delay.is_zero() { State::Available } else { State::Scheduled }
}

/// A scheduled or retryable job whose time has come. `None` for any other.
#[must_use]
pub fn promoted(job: &Facts) -> Option<Transition> {
    matches!(job.state, State::Scheduled | State::Retryable).then(|| job.to(State::Available))
}

/// Whether an available job with so many crashes may be claimed only in a quarantine lane.
#[must_use]
pub const fn quarantined(crashes: u32) -> bool {
    crashes >= QUARANTINE_CRASHES
}

/// A claim: the attempt counts from here, so that a crash counts. `None` unless the job is available.
#[must_use]
pub fn claimed(job: &Facts) -> Option<Transition> {
    (job.state == State::Available).then(|| Transition {
        attempt: job.attempt.saturating_add(1),
        next_epoch: true,
        ..job.to(State::Running)
    })
}

/// What follows from an outcome, once the fence has been checked: the job runs, under the owner's key.
///
/// A cancel request turns every outcome but success into `cancelled`.
#[must_use]
pub fn settled(job: &Facts, outcome: &AttemptOutcome) -> Transition {
    let given_back = Facts { attempt: job.attempt.saturating_sub(1), ..*job };
    match outcome {
        AttemptOutcome::Completed { .. } => {
            Transition { cancel_requested: false, ..job.to(State::Completed) }
        }
        AttemptOutcome::Cancelled { .. } => job.cancelled(),
        AttemptOutcome::Discarded { .. } if !job.cancel_requested => job.to(State::Discarded),
        AttemptOutcome::Retry { delay, .. } if !job.cancel_requested => {
            job.waiting(State::Retryable, *delay)
        }
        AttemptOutcome::Snoozed { delay } if !job.cancel_requested => Transition {
            snoozes: job.snoozes.saturating_add(1),
            ..given_back.waiting(State::Scheduled, *delay)
        },
        AttemptOutcome::Released if !job.cancel_requested => {
            given_back.waiting(State::Available, Duration::ZERO)
        }
        AttemptOutcome::Snoozed { .. } | AttemptOutcome::Released => given_back.cancelled(),
        _ => job.cancelled(),
    }
}

/// Why a running job is taken from its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rescue {
    /// The owner's worker lease has run out, or no such worker exists.
    WorkerLost,
    /// The attempt is past its deadline and its grace, and the worker did nothing about it.
    DeadlinePassed,
}

/// A rescue. `None` unless the job is running. The attempt stays counted.
#[must_use]
pub fn rescued(job: &Facts, why: Rescue) -> Option<Transition> {
    if job.state != State::Running {
        return None;
    }
    let (failure, crashes) = match why {
        Rescue::WorkerLost => (FailureKind::Crash, job.crashes.saturating_add(1)),
        Rescue::DeadlinePassed => (FailureKind::Timeout, job.crashes),
    };
    let job = Facts { crashes, ..*job };
    let step = if job.cancel_requested {
        job.cancelled()
    } else if job.attempt >= job.max_attempts || crashes >= DISCARD_CRASHES {
        job.to(State::Discarded)
    } else if why == Rescue::DeadlinePassed {
        // Nothing counts these but the attempts: without a pause a handler that hangs would be handed round at once.
        job.waiting(State::Retryable, Backoff::default().delay(job.attempt, 0.5))
    } else {
        job.waiting(State::Available, Duration::ZERO)
    };
    Some(Transition { next_epoch: true, failure: Some(failure), ..step })
}

/// A user's change. `None` when it does not apply to a job in this state, which then stays untouched.
/// [`Change::Delete`] is not a transition: it applies to every job that is not running.
#[must_use]
pub fn changed(job: &Facts, change: &Change, now: Timestamp) -> Option<Transition> {
    match change {
        Change::Cancel { .. } => match job.state {
            State::Running if job.cancel_requested => None,
            State::Running => Some(Transition { cancel_requested: true, ..job.to(State::Running) }),
            state if state.is_final() => None,
            _ => Some(job.cancelled()),
        },
        Change::RetryUnlessCompleted if job.state == State::Completed => None,
        Change::Retry | Change::RetryUnlessCompleted => match job.state {
            State::Scheduled | State::Retryable => {
                Some(job.waiting(State::Available, Duration::ZERO))
            }
            state if state.is_final() => {
                // At least one more attempt, and fresh budgets of crashes and snoozes: the user decided.
                let max_attempts = job.max_attempts.max(job.attempt.saturating_add(1));
                let job =
                    Facts { crashes: 0, snoozes: 0, max_attempts, cancel_requested: false, ..*job };
                Some(job.waiting(State::Available, Duration::ZERO))
            }
            _ => None,
        },
        Change::Reschedule { start } => match job.state {
            State::Scheduled | State::Available | State::Retryable => {
                Some(job.waiting(State::Scheduled, start.delay(now)))
            }
            _ => None,
        },
        Change::Delete => None,
    }
}

/// Whether some step of the machine leads from one state to another (deletion and pruning aside).
/// Used to check histories.
#[must_use]
pub const fn can_become(from: State, to: State) -> bool {
    use State::{
        Available, Blocked, Cancelled, Completed, Discarded, Retryable, Running, Scheduled,
    };
    match from {
        Blocked => matches!(to, Available | Scheduled | Cancelled),
        Scheduled => matches!(to, Available | Scheduled | Cancelled),
        Available => matches!(to, Running | Scheduled | Available | Cancelled),
        Retryable => matches!(to, Available | Scheduled | Cancelled),
        Running => {
            matches!(to, Completed | Cancelled | Discarded | Retryable | Scheduled | Available)
        }
        Completed | Cancelled | Discarded => matches!(to, Available),
    }
}

/// What a worker settles after a failed attempt: another attempt after `delay`, or the end.
#[must_use]
pub fn after_failure(
    attempt: u32,
    max_attempts: u32,
    delay: Duration,
    failure: crate::Failure,
) -> AttemptOutcome {
    if attempt >= max_attempts {
        AttemptOutcome::Discarded { failure }
    } else {
        AttemptOutcome::Retry { delay, failure }
    }
}

#[cfg(test)]
mod tests;
