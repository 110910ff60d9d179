//! The guard before every write by an owner: the sound one, and those that look good enough.

use windlass_core::LeaseKey;
use windlass_core::State;
use windlass_core::machine::{self, Fence};

use super::store::Row;

/// What a store compares before it lets an owner write. All decide by the library's own
/// [`machine::fence`]; a broken one is shown a key or a state that hides what it doesn't look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Guard {
    /// State, epoch and claim id: what the library does.
    Sound,
    /// State and claim id.
    NoEpoch,
    /// State and epoch.
    NoClaimId,
    /// The job runs, and the sender's lease was good when it sent: it looked at a clock that is never wrong.
    Clock,
    /// The job runs.
    StateOnly,
    /// Epoch and claim id, whatever the state.
    NoState,
}

impl Guard {
    /// What the key is worth. `in_lease`: the sender's lease was good when it sent.
    pub(super) fn fence(self, row: &Row, key: &LeaseKey, in_lease: bool) -> Fence {
        if self == Self::Clock && !in_lease {
            return Fence::Stale;
        }
        let mut seen = *key;
        let mut state = row.state;
        if matches!(self, Self::NoEpoch | Self::StateOnly | Self::Clock) {
            seen.epoch = row.epoch;
        }
        let forged = matches!(self, Self::NoClaimId | Self::StateOnly | Self::Clock);
        if let (true, Some(claim_id)) = (forged, row.claim_id) {
            seen.claim_id = claim_id;
        }
        if self == Self::NoState {
            state = State::Running;
        }
        machine::fence(state, row.epoch, row.claim_id, &seen)
    }
}

/// What else a store can do wrong, behind a sound guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// Jobs stay with workers that have no lease.
    NeverRescues,
    /// Jobs are taken from workers without a lease whatever their state.
    RescuesFinal,
    /// A release does not give the attempt back.
    KeepsAttempts,
}
