//! Counters of a worker.

use std::time::Duration;

use crate::AttemptOutcome;

/// What a worker has done since it started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerStats {
    /// Jobs claimed.
    pub claimed: u64,
    /// Jobs completed.
    pub completed: u64,
    /// Attempts that failed and are followed by another.
    pub retried: u64,
    /// Jobs discarded.
    pub discarded: u64,
    /// Jobs that ended cancelled.
    pub cancelled: u64,
    /// Attempts snoozed.
    pub snoozed: u64,
    /// Attempts released.
    pub released: u64,
    /// Attempts whose lease was lost: nothing was settled, or the settlement was not applied.
    pub lost: u64,
    /// Settle calls that were answered.
    pub settle_calls: u64,
    /// Claim calls that were answered.
    pub claim_calls: u64,
    /// Jobs that run or wait to be settled now.
    pub running: usize,
    /// For how long the oldest of these has run.
    pub oldest_running: Option<Duration>,
}

impl WorkerStats {
    pub(crate) fn count(&mut self, outcome: &AttemptOutcome, state: crate::State) {
        let counter = match (state, outcome) {
            (crate::State::Completed, _) => &mut self.completed,
            (crate::State::Cancelled, _) => &mut self.cancelled,
            (crate::State::Discarded, _) => &mut self.discarded,
            (_, AttemptOutcome::Snoozed { .. }) => &mut self.snoozed,
            (_, AttemptOutcome::Released) => &mut self.released,
            _ => &mut self.retried,
        };
        *counter += 1;
    }
}
