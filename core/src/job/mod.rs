//! Plain types: what a job is, before any backend is involved.

mod attempt;
mod event;
mod id;
mod name;
mod new;
mod payload;
mod record;
mod state;
mod unique;

pub use attempt::{AttemptError, AttemptOutcome, Failure, FailureKind};
pub use event::{
    Cause, Event, EventBody, EventFilter, EventPage, LogLevel, Note, Position, Progress,
};
pub use id::{ClaimId, Epoch, JobId, LeaseKey, WorkerId};
pub use name::{EventName, Kind, QueueName, Tag};
pub use new::{Inserted, NewJob, Priority, Start};
pub use payload::{Encoding, Payload};
pub use record::JobRecord;
pub use state::State;
pub use unique::{OnConflict, Unique, UniqueKey, UniqueUntil};
