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
    /// The job runs under the sender, whose lease has not run out by the store's clock.
    Clock,
    /// The job runs.
    StateOnly,
    /// Epoch and claim id, whatever the state.
    NoState,
}

impl Guard {
    /// What the key is worth. `is_live_owner`: the sender stands on the row and its lease has not run out.
    pub(super) fn fence(self, row: &Row, key: &LeaseKey, is_live_owner: bool) -> Fence {
        let mut seen = *key;
        let mut state = row.state;
        let forge_epoch = matches!(self, Self::NoEpoch | Self::StateOnly)
            || (self == Self::Clock && is_live_owner);
        if forge_epoch {
            seen.epoch = row.epoch;
        }
        let forge_claim = matches!(self, Self::NoClaimId | Self::StateOnly)
            || (self == Self::Clock && is_live_owner);
        if let (true, Some(claim_id)) = (forge_claim, row.claim_id) {
            seen.claim_id = claim_id;
        }
        if self == Self::NoState {
            state = State::Running;
        }
        match machine::fence(state, row.epoch, row.claim_id, &seen) {
            Fence::Holds if self == Self::Clock && !is_live_owner => Fence::Stale,
            worth => worth,
        }
    }
}
