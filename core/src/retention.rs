//! How long finished jobs and the event feed are kept.

use std::time::Duration;

use crate::State;

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// How long to keep what is finished, per final state. `None` keeps for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// Completed jobs, from their finish. Default 1 day.
    pub completed: Option<Duration>,
    /// Cancelled jobs, from their finish. Default 7 days.
    pub cancelled: Option<Duration>,
    /// Discarded jobs, from their finish. Default 30 days.
    pub discarded: Option<Duration>,
    /// The feed of state changes that [`Store::events`](crate::Store::events) reads. A reader whose
    /// position is older is told of the gap. The history of a single job is kept with the job. Default 1 day.
    pub events: Option<Duration>,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            completed: Some(DAY),
            cancelled: Some(7 * DAY),
            discarded: Some(30 * DAY),
            events: Some(DAY),
        }
    }
}

impl Retention {
    /// Keeps everything for ever.
    #[must_use]
    pub fn keep_all() -> Self {
        Self { completed: None, cancelled: None, discarded: None, events: None }
    }

    /// How long a job is kept after it ended in `state`; `None` for ever. Jobs that are not final are always kept.
    #[must_use]
    pub fn of(&self, state: State) -> Option<Duration> {
        match state {
            State::Completed => self.completed,
            State::Cancelled => self.cancelled,
            State::Discarded => self.discarded,
            _ => None,
        }
    }
}
