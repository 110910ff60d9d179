//! What the lines of a history are made of.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use windlass_core::{
    AttemptOutcome, ClaimRequest, Inserted, JobId, Lease, LeaseKey, Settled, State, Unique,
    UniqueUntil,
};

/// How many jobs of a queue, or of a kind, a claim asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slots {
    /// The queue or the kind.
    pub name: String,
    /// It is of a kind.
    pub of_kind: bool,
    /// At most so many.
    pub most: u32,
}

impl Slots {
    /// Those of a claim.
    pub fn of(request: &ClaimRequest) -> Vec<Self> {
        let slots = |name: String, of_kind, most| Self { name, of_kind, most };
        let queues = request.queues.iter().map(|of| slots(of.queue.to_string(), false, of.limit));
        let kinds = request.kinds.iter();
        let kinds = kinds.filter_map(|of| Some(slots(of.kind.to_string(), true, of.limit?)));
        queues.chain(kinds).collect()
    }
}

/// A job that was claimed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Taken {
    /// The fence.
    pub key: LeaseKey,
    /// Which attempt.
    pub attempt: u32,
    /// Its kind.
    #[serde(default)]
    pub kind: String,
    /// Its queue.
    #[serde(default)]
    pub queue: String,
    /// How long the attempt may take, in milliseconds.
    #[serde(default)]
    pub timeout: Option<u64>,
}

impl Taken {
    /// What a claim gave.
    pub fn of(lease: &Lease) -> Self {
        let (kind, queue) = (lease.kind.to_string(), lease.queue.to_string());
        let timeout = lease.timeout.map(millis);
        Self { key: lease.key, attempt: lease.attempt, kind, queue, timeout }
    }
}

/// How long a unique key is held.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// To the first claim.
    Started,
    /// To a final state.
    Finished,
    /// For so many milliseconds from the insert.
    For(u64),
}

/// A unique rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// The key.
    pub key: String,
    /// For how long.
    pub until: Until,
}

impl Held {
    /// The rule of a job.
    pub fn of(rule: &Unique) -> Self {
        let until = match rule.until {
            UniqueUntil::Started => Until::Started,
            UniqueUntil::Finished => Until::Finished,
            UniqueUntil::For(window) => Until::For(millis(window)),
        };
        Self { key: rule.key.as_str().to_owned(), until }
    }
}

/// What an insert answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The job is stored.
    New,
    /// Another job has the unique key.
    Duplicate(JobId),
    /// Another job has the key and took over the contents.
    Replaced(JobId),
    /// Another job has the key, and this one was refused.
    Rejected(JobId),
}

impl Answer {
    /// What the insert of a job answered.
    pub fn of(job: JobId, inserted: &Inserted) -> Self {
        match *inserted {
            // A sending before this one was applied.
            Inserted::Duplicate { existing } if existing == job => Self::New,
            Inserted::Duplicate { existing } => Self::Duplicate(existing),
            Inserted::Replaced { existing } => Self::Replaced(existing),
            Inserted::Rejected { existing } => Self::Rejected(existing),
            Inserted::New(_) => Self::New,
        }
    }
}

/// What became of a settlement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Applied, with the state that it led to.
    Applied(State),
    /// It had been applied before.
    Already(State),
    /// Refused: the job is somebody else's by now.
    Lost,
    /// The list of answers was too short.
    Missing,
    /// Refused as it stands.
    Refused,
    /// Not for the time being.
    Busy,
    /// An error: applied or not.
    Unknown(String),
}

impl Verdict {
    /// The answer to a settlement.
    pub fn of(settled: &Settled) -> Self {
        match settled {
            Settled::Applied { state } => Self::Applied(*state),
            Settled::Already { state } => Self::Already(*state),
            Settled::Lost => Self::Lost,
            Settled::Refused { .. } => Self::Refused,
            Settled::Busy => Self::Busy,
            other => Self::Unknown(format!("{other:?}")),
        }
    }

    /// It may have been this settlement that counts.
    pub fn may_count(&self) -> bool {
        matches!(self, Self::Applied(_) | Self::Missing | Self::Unknown(_))
    }
}

/// How an attempt is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Ending {
    Completed,
    Retry,
    Discarded,
    Cancelled,
    Snoozed,
    Released,
}

impl Ending {
    /// How an outcome ends an attempt.
    pub fn of(outcome: &AttemptOutcome) -> Self {
        match outcome {
            AttemptOutcome::Completed { .. } => Self::Completed,
            AttemptOutcome::Retry { .. } => Self::Retry,
            AttemptOutcome::Cancelled { .. } => Self::Cancelled,
            AttemptOutcome::Snoozed { .. } => Self::Snoozed,
            AttemptOutcome::Released => Self::Released,
            // And whatever else there may come to be.
            _ => Self::Discarded,
        }
    }

    /// It gives the attempt back.
    pub fn gives_back(self) -> bool {
        matches!(self, Self::Snoozed | Self::Released)
    }
}

/// A moment of a fault that has several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// The replica hears nothing more.
    LinkCut,
    /// The server is gone.
    Killed,
    /// The replica has taken over.
    Promoted,
    /// The old primary is a replica.
    Demoted,
}

pub(super) fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}
