//! Values made of bytes.

use std::time::Duration;

use arbitrary::{Result, Unstructured};
use jiff::Timestamp;
use uuid::Uuid;

use crate::kit::timestamp;
use crate::{
    AttemptError, BlobKey, Encoding, FailureKind, JobId, Kind, NewJob, OnConflict, Payload,
    Priority, QueueName, Start, State, Tag, Unique, UniqueKey, UniqueUntil, WorkerId,
};

/// Names that are valid.
pub(super) const NAMES: [&str; 4] = ["k", "q.1", "A-b_c:9", "default"];

pub(super) fn job_id(u: &mut Unstructured<'_>) -> Result<JobId> {
    Ok(JobId::from_uuid(Uuid::from_u128(u.arbitrary()?)))
}

/// One of a few: they repeat.
pub(super) fn worker(u: &mut Unstructured<'_>) -> Result<WorkerId> {
    Ok(WorkerId::from_uuid(Uuid::from_u128(u.int_in_range(0..=3)?)))
}

pub(super) fn state(u: &mut Unstructured<'_>) -> Result<State> {
    u.choose(&State::ALL).copied()
}

pub(super) fn time(u: &mut Unstructured<'_>) -> Result<Timestamp> {
    u.arbitrary().map(timestamp)
}

pub(super) fn failure(u: &mut Unstructured<'_>) -> Result<AttemptError> {
    use FailureKind::{BadArgs, Cancelled, Crash, Error, Panic, Timeout};
    Ok(AttemptError {
        attempt: u.arbitrary()?,
        at: time(u)?,
        kind: *u.choose(&[Error, Panic, Timeout, Crash, Cancelled, BadArgs])?,
        message: u.arbitrary()?,
    })
}

/// A delay, window or timeout.
fn length(u: &mut Unstructured<'_>) -> Result<Duration> {
    Ok(Duration::new(u.arbitrary()?, u.int_in_range(0..=999_999_999)?))
}

fn maybe<T>(
    u: &mut Unstructured<'_>,
    make: impl FnOnce(&mut Unstructured<'_>) -> Result<T>,
) -> Result<Option<T>> {
    if u.arbitrary()? { make(u).map(Some) } else { Ok(None) }
}

fn unique(u: &mut Unstructured<'_>) -> Result<Unique> {
    let text: String = u.arbitrary()?;
    Ok(Unique {
        key: UniqueKey::new(text).unwrap_or_else(|_| UniqueKey::new("schlüssel").unwrap()),
        until: match u.int_in_range(0..=2)? {
            0 => UniqueUntil::Started,
            1 => UniqueUntil::Finished,
            _ => UniqueUntil::For(length(u)?),
        },
        on_conflict: *u.choose(&[OnConflict::Keep, OnConflict::Reject, OnConflict::Replace])?,
    })
}

pub(super) fn job(u: &mut Unstructured<'_>) -> Result<NewJob> {
    let (kind, queue) = (Kind::new(*u.choose(&NAMES)?), QueueName::new(*u.choose(&NAMES)?));
    let args = Payload {
        encoding: *u.choose(&[Encoding::Json, Encoding::Blob])?,
        bytes: u.arbitrary::<Vec<u8>>()?.into(),
    };
    let mut job = NewJob::new(kind.unwrap(), queue.unwrap(), args);
    job.id = job_id(u)?;
    job.priority = Priority(u.arbitrary()?);
    job.max_attempts = u.arbitrary()?;
    job.timeout = maybe(u, length)?;
    job.start = match u.int_in_range(0..=2)? {
        0 => Start::Now,
        1 => Start::In(length(u)?),
        _ => Start::At(time(u)?),
    };
    job.unique = maybe(u, unique)?;
    job.meta = u.arbitrary()?;
    for _ in 0..u.int_in_range(0..=3)? {
        job.tags.push(Tag::new(*u.choose(&NAMES)?).unwrap());
        job.blobs.push(BlobKey::new(*u.choose(&NAMES)?).unwrap());
    }
    Ok(job)
}
