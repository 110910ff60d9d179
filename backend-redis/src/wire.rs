//! What goes to the scripts and comes back: msgpack arrays, since Lua packs and unpacks them in one call and they hold bytes as they are.

use crate::pack::{Bytes, pack};
use redis::Value;
use serde::Deserialize;
use serde_bytes::ByteBuf;
use windlass_core::kit::{damaged, micros, unreadable};
use windlass_core::{
    BlobKey, Encoding, Error, JobId, NewJob, OnConflict, Payload, Result, Start, UniqueUntil,
};

/// What of a job changes, as `part_jobs.lua` has it.
#[derive(Debug, Deserialize)]
pub(crate) struct Standing {
    pub(crate) state: i64,
    pub(crate) epoch: u32,
    pub(crate) attempt: u32,
    pub(crate) max_attempts: u32,
    pub(crate) snoozes: u32,
    pub(crate) crashes: u32,
    pub(crate) cancelling: u8,
    pub(crate) created: i64,
    pub(crate) due: i64,
    pub(crate) started: i64,
    pub(crate) finished: i64,
    pub(crate) worker: ByteBuf,
    pub(crate) claim: ByteBuf,
    _rank: i64,
    _changes: i64,
    _notes: i64,
    _deadline: i64,
    _until: i64,
}

/// What came with a job.
#[derive(Debug, Deserialize)]
pub(crate) struct Body {
    pub(crate) kind: String,
    pub(crate) queue: String,
    pub(crate) priority: i16,
    /// In micros, 0 for none.
    pub(crate) timeout: i64,
    /// Empty for none.
    pub(crate) unique: String,
    _mode: u8,
    pub(crate) encoding: u8,
    /// JSON, empty for none.
    pub(crate) meta: String,
    pub(crate) tags: Vec<String>,
    _blobs: Vec<String>,
}

/// Modes of a unique key.
const STARTED: u8 = 0;
const FINISHED: u8 = 1;
const WINDOW: u8 = 2;

/// Head, body and args of a new job, as `part_insert.lua` takes them.
pub(crate) fn new_job(job: &NewJob) -> Result<[Vec<u8>; 3]> {
    let (is_time, start) = start(&job.start);
    let (mut mode, mut window, mut rule) = (FINISHED, 0, 0_u8);
    if let Some(unique) = &job.unique {
        (mode, window) = match unique.until {
            UniqueUntil::Started => (STARTED, 0),
            UniqueUntil::Finished => (FINISHED, 0),
            UniqueUntil::For(window) => (WINDOW, micros(window)),
        };
        rule = match unique.on_conflict {
            OnConflict::Keep => 0,
            OnConflict::Replace => 1,
            OnConflict::Reject => 2,
        };
    }
    let head = (Bytes(job.id.as_bytes()), is_time, start, job.max_attempts, rule, window);
    Ok([pack(&head), body(job, mode)?, job.args.bytes.to_vec()])
}

/// The body of a new job without a unique key.
pub(crate) fn plain_body(job: &NewJob) -> Result<Vec<u8>> {
    body(job, FINISHED)
}

fn body(job: &NewJob, mode: u8) -> Result<Vec<u8>> {
    let meta = match job.meta.is_empty() {
        true => String::new(),
        false => serde_json::to_string(&job.meta)
            .map_err(|e| Error::Encode { what: "metadata".into(), source: e.into() })?,
    };
    // The fields of `Body`.
    Ok(pack(&(
        job.kind.as_str(),
        job.queue.as_str(),
        job.priority.0,
        job.timeout.map_or(0, micros),
        job.unique.as_ref().map_or("", |unique| unique.key.as_str()),
        mode,
        job.args.encoding.code(),
        meta,
        job.tags.iter().map(|tag| tag.as_str()).collect::<Vec<_>>(),
        blobs(&job.blobs),
    )))
}

/// When a job starts: whether it is a time, and the micros.
pub(crate) fn start(start: &Start) -> (u8, i64) {
    match *start {
        Start::Now => (0, 0),
        Start::In(delay) => (0, micros(delay)),
        Start::At(at) => {
            let nanos = at.as_nanosecond();
            let micros = nanos.div_euclid(1_000) + i128::from(nanos.rem_euclid(1_000) > 0);
            (1, i64::try_from(micros).unwrap_or(i64::MAX))
        }
    }
}

/// Keys of blobs, each once.
pub(crate) fn blobs(keys: &[BlobKey]) -> Vec<String> {
    let mut keys: Vec<String> = keys.iter().map(|key| key.as_str().to_owned()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// A result as it is stored: the encoding, then the bytes.
pub(crate) fn stored_payload(payload: &Payload) -> Vec<u8> {
    let mut stored = Vec::with_capacity(payload.bytes.len() + 1);
    stored.push(payload.encoding.code());
    stored.extend_from_slice(&payload.bytes);
    stored
}

/// A payload, or what is wrong with it.
pub(crate) fn payload(id: JobId, field: &'static str, code: u8, bytes: Vec<u8>) -> Result<Payload> {
    let encoding = Encoding::from_code(i64::from(code));
    let encoding = encoding.ok_or_else(|| damaged(id, field, "its encoding is unknown"))?;
    Ok(Payload { encoding, bytes: bytes.into() })
}

/// Reads a field of a job. The error quotes nothing of what is stored.
pub(crate) fn unpack<'a, T: Deserialize<'a>>(
    id: JobId,
    field: &'static str,
    bytes: &'a [u8],
) -> Result<T> {
    rmp_serde::from_slice(bytes).map_err(|_| damaged(id, field, "it has another shape"))
}

/// Answers of scripts. One that has another shape comes from something that is not this library's script.
fn odd() -> Error {
    unreadable("an answer of the server", "it has another shape")
}

pub(crate) fn list(value: Value) -> Result<Vec<Value>> {
    match value {
        Value::Array(items) => Ok(items),
        _ => Err(odd()),
    }
}

pub(crate) fn int(value: &Value) -> Result<i64> {
    match value {
        Value::Int(n) => Ok(*n),
        Value::BulkString(text) => {
            std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or_else(odd)
        }
        _ => Err(odd()),
    }
}

pub(crate) fn count(value: &Value) -> Result<u64> {
    Ok(u64::try_from(int(value)?).unwrap_or(0))
}

pub(crate) fn bytes(value: Value) -> Result<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        _ => Err(odd()),
    }
}

pub(crate) fn maybe_bytes(value: Value) -> Result<Option<Vec<u8>>> {
    match value {
        // Lua has false where the server has nil.
        Value::Nil | Value::Boolean(false) => Ok(None),
        value => bytes(value).map(Some),
    }
}

pub(crate) fn text(value: Value) -> Result<String> {
    String::from_utf8(bytes(value)?).map_err(|_| odd())
}

/// Items of an answer of known length.
pub(crate) fn items<const N: usize>(value: Value) -> Result<[Value; N]> {
    list(value)?.try_into().map_err(|_| odd())
}
