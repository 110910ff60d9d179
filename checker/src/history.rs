//! What happened, as those who took part in it told it.
//!
//! Everybody writes down what he is about to ask, and what he was answered. Times are microseconds of a clock that all of them share.

mod values;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use windlass_core::{ClaimId, JobId, LeaseKey, NewJob, Start, WorkerId};

use values::millis;
pub use values::{Answer, Ending, Held, Moment, Slots, Taken, Until, Verdict};

/// A line of a history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When, in microseconds of the machine's monotonic clock.
    pub t: u64,
    /// Which process; every start of one has a name of its own.
    #[serde(rename = "p")]
    pub process: String,
    /// What happened.
    #[serde(rename = "e")]
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A job is about to be inserted.
    Sent {
        /// The job.
        job: JobId,
        /// Its kind.
        kind: String,
        /// Its queue.
        queue: String,
        /// Its unique rule.
        unique: Option<Held>,
        /// Until it is due, in milliseconds.
        delay: u64,
        /// It is inserted in a transaction of the host's, beside a row.
        with_row: bool,
    },
    /// The insert was acknowledged.
    Acked {
        /// The job.
        job: JobId,
        /// With what.
        answer: Answer,
    },
    /// The insert failed: it may have been applied.
    Failed {
        /// The job.
        job: JobId,
        /// Why.
        error: String,
    },
    /// The host rolled the insert back.
    RolledBack {
        /// The job.
        job: JobId,
    },
    /// An operator is about to cancel a job.
    Cancelling {
        /// The job.
        job: JobId,
    },
    /// An operator is about to run a job that did not complete again.
    Retrying {
        /// The job.
        job: JobId,
    },
    /// The host has removed a job, or had it removed with others whose time was over.
    Removed {
        /// The job.
        job: JobId,
    },
    /// The operator was answered.
    Changed {
        /// The job.
        job: JobId,
        /// Whether that changed anything.
        changed: bool,
    },
    /// A worker got its lease; `sent` is when it asked.
    Registered {
        /// The worker.
        worker: WorkerId,
        /// When it asked.
        sent: u64,
    },
    /// A heartbeat was answered; `sent` is when it was sent.
    Beat {
        /// The worker.
        worker: WorkerId,
        /// When it was sent.
        sent: u64,
        /// The lease had run out.
        expired: bool,
        /// What the worker is told to have lost.
        lost: Vec<LeaseKey>,
    },
    /// A claim is about to be sent.
    Claiming {
        /// The worker.
        worker: WorkerId,
        /// Its claim id.
        claim: ClaimId,
        /// It was sent before.
        resend: bool,
        /// How much it asks for.
        #[serde(default)]
        slots: Vec<Slots>,
    },
    /// A claim gave jobs.
    Claimed {
        /// The worker.
        worker: WorkerId,
        /// Its claim id.
        claim: ClaimId,
        /// The jobs.
        leases: Vec<Taken>,
    },
    /// A worker's lease is about to end before its time: it leaves, or somebody takes the lease away.
    LeaseEnded {
        /// The worker.
        worker: WorkerId,
    },
    /// A settlement is about to be sent.
    Settling {
        /// The fence.
        key: LeaseKey,
        /// The outcome.
        ending: Ending,
        /// In a transaction of the host's.
        in_host: bool,
    },
    /// A settlement was answered. In a transaction of the host's nothing counts before [`What::Committed`].
    Settled {
        /// The fence.
        key: LeaseKey,
        /// The outcome: two may be under way.
        ending: Ending,
        /// What became of it.
        verdict: Verdict,
        /// In a transaction of the host's.
        in_host: bool,
    },
    /// The host's transaction with the completion was committed.
    Committed {
        /// The fence.
        key: LeaseKey,
    },
    /// The commit failed: it may have been applied.
    CommitFailed {
        /// The fence.
        key: LeaseKey,
        /// Why.
        error: String,
    },
    /// A record of a running job, such as its progress, is about to be sent.
    Noting {
        /// The fence.
        key: LeaseKey,
    },
    /// A record was answered.
    Noted {
        /// The fence.
        key: LeaseKey,
        /// It was added.
        added: bool,
    },
    /// Maintenance took these jobs from lost workers, or past their deadline.
    Rescued {
        /// The jobs.
        jobs: Vec<JobId>,
    },
    /// A handler begins.
    Begun {
        /// The fence.
        key: LeaseKey,
        /// Its kind.
        kind: String,
        /// Its queue.
        queue: String,
        /// Which attempt.
        attempt: u32,
    },
    /// The args that the handler which began last under this key was given are those of this job, as they say.
    Args {
        /// The fence.
        key: LeaseKey,
        /// The job for which they were made.
        of: JobId,
    },
    /// A handler begins that has no claim of its own.
    Unclaimed {
        /// The job.
        job: JobId,
    },
    /// A handler's effect outside of the database.
    Effect {
        /// The fence.
        key: LeaseKey,
    },
    /// The settlement that was written down last for this key adds a job.
    FollowUp {
        /// The fence.
        key: LeaseKey,
        /// The job that follows.
        child: JobId,
    },
    /// A handler has ended, or was dropped.
    Ended {
        /// The fence.
        key: LeaseKey,
        /// It was dropped before its end.
        dropped: bool,
    },
    /// The conductor started a process.
    Born {
        /// The process.
        name: String,
        /// It is of another build of this program.
        #[serde(default)]
        second: bool,
    },
    /// A process ended.
    Died {
        /// The process.
        name: String,
    },
    /// A fault begins.
    Fault {
        /// Its number in the plan.
        number: u32,
        /// Which fault.
        kind: String,
        /// The process it hits, if one.
        victim: Option<String>,
    },
    /// A fault has got so far.
    Moment {
        /// Its number.
        number: u32,
        /// How far.
        moment: Moment,
    },
    /// A fault is over.
    Healed {
        /// Its number.
        number: u32,
        /// What else is to be said of it, such as how many replies were dropped.
        count: u64,
    },
    /// The memory of a process, in bytes.
    Memory {
        /// The process.
        name: String,
        /// Resident, in bytes.
        bytes: u64,
    },
}

impl What {
    /// A job is about to be inserted.
    pub fn sent(job: &NewJob, with_row: bool) -> Self {
        let unique = job.unique.as_ref().map(Held::of);
        let delay = match job.start {
            Start::In(delay) => millis(delay),
            _ => 0,
        };
        let (kind, queue) = (job.kind.to_string(), job.queue.to_string());
        Self::Sent { job: job.id, kind, queue, unique, delay, with_row }
    }
}

/// A length in the unit of the histories.
pub fn micros(length: Duration) -> u64 {
    u64::try_from(length.as_micros()).unwrap_or(u64::MAX)
}
