//! Reads jobs as their records show them.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use sqlx::sqlite::SqliteRow;
use windlass_core::{
    ClaimId, Encoding, Epoch, JobId, JobRecord, Kind, Payload, Priority, QueueName, Result, State,
    UniqueKey, WorkerId,
};

use crate::error::column;
use windlass_core::kit::{bad_json, damaged};
use windlass_core::kit::{duration, timestamp};

/// Reads a row whose columns are
/// `id, state, queue, kind, priority, due_at, epoch, attempt, max_attempts, snoozes, crashes, worker, claim_id, started_at,
/// finished_at, cancelling, timeout, created_at, unique_key, meta, tags, progress, errors, encoding, args,
/// result_encoding, result`.
pub(crate) fn record(row: &SqliteRow) -> Result<JobRecord> {
    let raw = Raw::read(row)?;
    let id = raw.id;
    let mut job = JobRecord::new(
        id,
        Kind::new(raw.kind).map_err(|e| damaged(id, "kind", e))?,
        QueueName::new(raw.queue).map_err(|e| damaged(id, "queue", e))?,
        payload(id, "encoding", raw.encoding, raw.args)?,
        timestamp(raw.created_at),
    );
    job.state = State::from_code(raw.state).ok_or_else(|| damaged(id, "state", "it is unknown"))?;
    job.priority = Priority(raw.priority);
    job.due_at = timestamp(raw.due_at);
    let count = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
    let [epoch, attempt, max_attempts, snoozes, crashes] = raw.counters.map(count);
    job.epoch = Epoch(epoch);
    (job.attempt, job.max_attempts) = (attempt, max_attempts);
    (job.snoozes, job.crashes) = (snoozes, crashes);
    job.worker =
        raw.worker.map(WorkerId::from_slice).transpose().map_err(|e| damaged(id, "worker", e))?;
    job.claim_id = raw
        .claim_id
        .map(ClaimId::from_slice)
        .transpose()
        .map_err(|e| damaged(id, "claim_id", e))?;
    job.started_at = raw.started_at.map(timestamp);
    job.finished_at = raw.finished_at.map(timestamp);
    job.cancel_requested = raw.cancelling;
    job.timeout = raw.timeout.map(duration);
    job.unique_key =
        raw.unique_key.map(UniqueKey::new).transpose().map_err(|e| damaged(id, "unique_key", e))?;
    job.meta = json(id, "meta", raw.meta)?.unwrap_or_else(BTreeMap::new);
    job.tags = json(id, "tags", raw.tags)?.unwrap_or_default();
    job.progress = json(id, "progress", raw.progress)?;
    job.errors = json(id, "errors", raw.errors)?.unwrap_or_default();
    job.result = match (raw.result_encoding, raw.result) {
        (Some(encoding), Some(bytes)) => Some(payload(id, "result_encoding", encoding, bytes)?),
        _ => None,
    };
    Ok(job)
}

fn payload(job: JobId, column: &'static str, encoding: i64, bytes: &[u8]) -> Result<Payload> {
    let encoding = Encoding::from_code(encoding).ok_or_else(|| {
        damaged(job, column, format!("{encoding} is unknown to this version of the library"))
    })?;
    Ok(Payload { encoding, bytes: bytes.to_vec().into() })
}

/// Reads a JSON column; NULL is none.
fn json<T: DeserializeOwned>(
    job: JobId,
    column: &'static str,
    text: Option<&str>,
) -> Result<Option<T>> {
    let read = |text| serde_json::from_str(text).map_err(|e| damaged(job, column, bad_json(&e)));
    text.map(read).transpose()
}

struct Raw<'r> {
    id: JobId,
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
    fn read(row: &'r SqliteRow) -> Result<Self> {
        let id = JobId::from_slice(column(row, 0, "?", "id")?)?;
        let int = |n, name| column::<i64>(row, n, id, name);
        Ok(Self {
            id,
            state: int(1, "state")?,
            queue: column(row, 2, id, "queue")?,
            kind: column(row, 3, id, "kind")?,
            priority: column(row, 4, id, "priority")?,
            due_at: int(5, "due_at")?,
            counters: [
                int(6, "epoch")?,
                int(7, "attempt")?,
                int(8, "max_attempts")?,
                int(9, "snoozes")?,
                int(10, "crashes")?,
            ],
            worker: column(row, 11, id, "worker")?,
            claim_id: column(row, 12, id, "claim_id")?,
            started_at: column(row, 13, id, "started_at")?,
            finished_at: column(row, 14, id, "finished_at")?,
            cancelling: column(row, 15, id, "cancelling")?,
            timeout: column(row, 16, id, "timeout")?,
            created_at: int(17, "created_at")?,
            unique_key: column(row, 18, id, "unique_key")?,
            meta: column(row, 19, id, "meta")?,
            tags: column(row, 20, id, "tags")?,
            progress: column(row, 21, id, "progress")?,
            errors: column(row, 22, id, "errors")?,
            encoding: int(23, "encoding")?,
            args: column(row, 24, id, "args")?,
            result_encoding: column(row, 25, id, "result_encoding")?,
            result: column(row, 26, id, "result")?,
        })
    }
}
