//! Reads jobs as their records show them.

use std::collections::BTreeMap;

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use windlass_core::{
    ClaimId, Encoding, Epoch, JobId, JobRecord, Kind, Payload, Priority, QueueName, Result, State,
    UniqueKey, WorkerId,
};

use crate::clock::{duration, timestamp};
use crate::error::{map, unreadable};
use crate::ops::claim::json;

/// Reads a row whose columns are
/// `id, state, queue, kind, priority, due_at, epoch, attempt, max_attempts, snoozes, crashes, worker, claim_id, started_at,
/// finished_at, cancelling, timeout, created_at, unique_key, meta, tags, progress, errors, encoding, args,
/// result_encoding, result`.
pub(crate) fn record(during: &'static str, row: &SqliteRow) -> Result<JobRecord> {
    let raw = Raw::read(row).map_err(map(during))?;
    let mut job = JobRecord::new(
        JobId::from_slice(raw.id)?,
        Kind::new(raw.kind)?,
        QueueName::new(raw.queue)?,
        payload(raw.encoding, raw.args)?,
        timestamp(raw.created_at),
    );
    job.state = State::from_code(raw.state).ok_or_else(|| unreadable("a job", "unknown state"))?;
    job.priority = Priority(raw.priority);
    job.due_at = timestamp(raw.due_at);
    let count = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
    let [epoch, attempt, max_attempts, snoozes, crashes] = raw.counters.map(count);
    job.epoch = Epoch(epoch);
    (job.attempt, job.max_attempts) = (attempt, max_attempts);
    (job.snoozes, job.crashes) = (snoozes, crashes);
    job.worker = raw.worker.map(WorkerId::from_slice).transpose()?;
    job.claim_id = raw.claim_id.map(ClaimId::from_slice).transpose()?;
    job.started_at = raw.started_at.map(timestamp);
    job.finished_at = raw.finished_at.map(timestamp);
    job.cancel_requested = raw.cancelling;
    job.timeout = raw.timeout.map(duration);
    job.unique_key = raw.unique_key.map(UniqueKey::new).transpose()?;
    job.meta = json("metadata", raw.meta)?.unwrap_or_else(BTreeMap::new);
    job.tags = json("tags", raw.tags)?.unwrap_or_default();
    job.progress = json("progress", raw.progress)?;
    job.errors = json("errors", raw.errors)?.unwrap_or_default();
    job.result = match (raw.result_encoding, raw.result) {
        (Some(encoding), Some(bytes)) => Some(payload(encoding, bytes)?),
        _ => None,
    };
    Ok(job)
}

fn payload(encoding: i64, bytes: &[u8]) -> Result<Payload> {
    let encoding = Encoding::from_code(encoding)
        .ok_or_else(|| unreadable("a payload", "its encoding is unknown"))?;
    Ok(Payload { encoding, bytes: bytes.to_vec().into() })
}

struct Raw<'r> {
    id: &'r [u8],
    state: i64,
    queue: &'r str,
    kind: &'r str,
    priority: i16,
    due_at: i64,
    counters: [i64; 5],
    worker: Option<&'r [u8]>,
    claim_id: Option<&'r [u8]>,
    started_at: Option<i64>,
    finished_at: Option<i64>,
    cancelling: bool,
    timeout: Option<i64>,
    created_at: i64,
    unique_key: Option<&'r str>,
    meta: Option<&'r str>,
    tags: Option<&'r str>,
    progress: Option<&'r str>,
    errors: Option<&'r str>,
    encoding: i64,
    args: &'r [u8],
    result_encoding: Option<i64>,
    result: Option<&'r [u8]>,
}

impl<'r> Raw<'r> {
    fn read(row: &'r SqliteRow) -> sqlx::Result<Self> {
        let int = |n: usize| row.try_get::<i64, _>(n);
        Ok(Self {
            id: row.try_get(0)?,
            state: int(1)?,
            queue: row.try_get(2)?,
            kind: row.try_get(3)?,
            priority: row.try_get(4)?,
            due_at: int(5)?,
            counters: [int(6)?, int(7)?, int(8)?, int(9)?, int(10)?],
            worker: row.try_get(11)?,
            claim_id: row.try_get(12)?,
            started_at: row.try_get(13)?,
            finished_at: row.try_get(14)?,
            cancelling: row.try_get(15)?,
            timeout: row.try_get(16)?,
            created_at: int(17)?,
            unique_key: row.try_get(18)?,
            meta: row.try_get(19)?,
            tags: row.try_get(20)?,
            progress: row.try_get(21)?,
            errors: row.try_get(22)?,
            encoding: int(23)?,
            args: row.try_get(24)?,
            result_encoding: row.try_get(25)?,
            result: row.try_get(26)?,
        })
    }
}
