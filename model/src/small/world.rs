//! The small model's world: a store, two workers, and a network between them that loses, delays and doubles.

use std::collections::BTreeSet;

use windlass_core::{ClaimId, LeaseKey, WorkerId};

use super::store::{Answer, Db, Held, Outcome, Wrong};

/// On its way. Messages are delivered in any order; one that is lost is one whose delivery is put off for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Message {
    /// Take a job.
    Claim {
        /// Who asks.
        from: WorkerId,
        /// Under which nonce.
        claim_id: ClaimId,
        /// The reply to an earlier sending was lost.
        resend: bool,
    },
    /// The job taken, if any; `Err` when the worker has no lease.
    Claimed {
        /// Who asked.
        to: WorkerId,
        /// Under which nonce.
        claim_id: ClaimId,
        /// The answer.
        answer: Result<Option<Held>, ()>,
    },
    /// End an attempt.
    Settle {
        /// Who asks.
        from: WorkerId,
        /// The fence, and whose it is.
        held: Held,
        /// How it ended.
        outcome: Outcome,
        /// The lease was good when this was sent, for a guard that cares.
        in_lease: bool,
    },
    /// What became of it.
    Settled {
        /// Who asked.
        to: WorkerId,
        /// The fence.
        key: LeaseKey,
        /// The answer.
        answer: Answer,
    },
}

impl Message {
    pub(super) const fn is_request(&self) -> bool {
        matches!(self, Self::Claim { .. } | Self::Settle { .. })
    }
}

/// What a worker's process knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Process {
    /// The incarnation it believes to be.
    pub(super) worker: Option<WorkerId>,
    /// A claim without an answer.
    pub(super) claiming: Option<ClaimId>,
    /// A job whose handler runs.
    pub(super) running: Option<Held>,
    /// A settlement without an answer.
    pub(super) settling: Option<(Held, Outcome)>,
}

impl Process {
    pub(super) fn is_idle(&self) -> bool {
        self.claiming.is_none() && self.running.is_none() && self.settling.is_none()
    }

    pub(super) fn knows(&self, key: &LeaseKey) -> bool {
        self.running.is_some_and(|held| held.key == *key)
            || self.settling.is_some_and(|(held, _)| held.key == *key)
            || self.claiming == Some(key.claim_id)
    }

    /// The message to send once more.
    pub(super) fn unanswered(&self, in_lease: bool) -> Option<Message> {
        let from = self.worker?;
        let claim = self.claiming.map(|claim_id| Message::Claim { from, claim_id, resend: true });
        let settle =
            self.settling.map(|(held, outcome)| Message::Settle { from, held, outcome, in_lease });
        claim.or(settle)
    }
}

/// How much may still happen. Without bounds there would be no end of states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Claims, over all workers.
    pub claims: u8,
    /// Messages sent once more.
    pub resends: u8,
    /// Messages that the network doubles.
    pub doubles: u8,
    /// Processes that die.
    pub crashes: u8,
    /// Worker incarnations.
    pub workers: u8,
    /// Snapshots of the store, each restored at most once.
    pub snapshots: u8,
}

/// All there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub(super) db: Db,
    pub(super) snapshot: Option<Db>,
    pub(super) processes: Vec<Process>,
    pub(super) network: BTreeSet<Message>,
    pub(super) left: Budget,
    pub(super) wrong: BTreeSet<Wrong>,
}

impl World {
    /// One form for states that nothing can tell apart: processes have no order, and a reply that nobody waits for is none.
    pub(super) fn tidy(&mut self) {
        self.processes.sort_unstable();
        let processes = &self.processes;
        self.network.retain(|message| match message {
            Message::Claim { .. } | Message::Settle { .. } => true,
            Message::Claimed { to, claim_id, .. } => {
                processes.iter().any(|p| p.worker == Some(*to) && p.claiming == Some(*claim_id))
            }
            Message::Settled { to, key, .. } => processes.iter().any(|p| {
                p.worker == Some(*to) && p.settling.is_some_and(|(held, _)| held.key == *key)
            }),
        });
    }
}

/// What can happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A process gets a lease as a new incarnation.
    Register(usize),
    /// A process asks for a job.
    Claim(usize),
    /// A process ends its attempt.
    Finish(usize, Outcome),
    /// A process repeats what got no answer.
    Resend(usize),
    /// A heartbeat: the process learns that its lease is gone, or that a job is not its own, and gives back a job that it knows
    /// nothing of.
    Heartbeat(usize),
    /// A process dies, and all it knew with it.
    Crash(usize),
    /// A message arrives; `again` when another copy is still on its way.
    Deliver(Message, bool),
    /// A lease runs out by the store's clock.
    Expire(WorkerId),
    /// A job is taken from a worker without a lease.
    Rescue(usize),
    /// A replica takes over the present state.
    Snapshot,
    /// The replica becomes the store: all since the snapshot is lost.
    Restore,
}
