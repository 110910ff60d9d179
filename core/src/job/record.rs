//! A job as the store keeps it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::{
    AttemptError, ClaimId, Epoch, JobId, Kind, Payload, Priority, Progress, QueueName, State, Tag,
    UniqueKey, WorkerId,
};

/// A job as [`Store::get`](crate::Store::get) and [`Store::list`](crate::Store::list) return it: one consistent reading.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct JobRecord {
    /// Its id.
    pub id: JobId,
    /// Which handler runs it.
    pub kind: Kind,
    /// Its queue.
    pub queue: QueueName,
    /// Where it stands.
    pub state: State,
    /// Order within the queue; lower first.
    pub priority: Priority,
    /// What the handler gets.
    pub args: Payload,
    /// Metadata.
    pub meta: BTreeMap<String, String>,
    /// Labels.
    pub tags: Vec<Tag>,
    /// Claims that count: snoozes and releases gave theirs back.
    pub attempt: u32,
    /// Claims before it is discarded.
    pub max_attempts: u32,
    /// How often it was snoozed.
    pub snoozes: u32,
    /// How often a worker was lost while running it.
    pub crashes: u32,
    /// Grows at each claim and rescue.
    pub epoch: Epoch,
    /// How long one attempt may take.
    pub timeout: Option<Duration>,
    /// When it was inserted.
    pub created_at: Timestamp,
    /// When it may be, or became, available.
    pub due_at: Timestamp,
    /// When the last claim was.
    pub started_at: Option<Timestamp>,
    /// When it became final.
    pub finished_at: Option<Timestamp>,
    /// Who runs it or, once final, who finished it; empty when nobody did.
    pub worker: Option<WorkerId>,
    /// The claim that holds it or, once final, that finished it.
    pub claim_id: Option<ClaimId>,
    /// A user asked to cancel it while it ran; why is in the history.
    pub cancel_requested: bool,
    /// The last progress reported.
    pub progress: Option<Progress>,
    /// What the handler returned.
    pub result: Option<Payload>,
    /// The last failures, oldest first, at most [`Limits::errors`](crate::Limits::errors).
    pub errors: Vec<AttemptError>,
    /// The unique key it was inserted with.
    pub unique_key: Option<UniqueKey>,
}

impl JobRecord {
    /// A fresh record for a backend to fill: available, never claimed.
    #[must_use]
    pub fn new(
        id: JobId,
        kind: Kind,
        queue: QueueName,
        args: Payload,
        created_at: Timestamp,
    ) -> Self {
        Self {
            id,
            kind,
            queue,
            state: State::Available,
            priority: Priority::NORMAL,
            args,
            meta: BTreeMap::new(),
            tags: Vec::new(),
            attempt: 0,
            max_attempts: crate::NewJob::DEFAULT_MAX_ATTEMPTS,
            snoozes: 0,
            crashes: 0,
            epoch: Epoch(0),
            timeout: None,
            created_at,
            due_at: created_at,
            started_at: None,
            finished_at: None,
            worker: None,
            claim_id: None,
            cancel_requested: false,
            progress: None,
            result: None,
            errors: Vec::new(),
            unique_key: None,
        }
    }
}
