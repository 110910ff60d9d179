//! Reads the jobs that a claim picks: one JSON text for all of them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use windlass_core::{
    ClaimRequest, Encoding, Epoch, Error, JobId, JobRecord, Kind, Lease, LeaseKey, Payload,
    Priority, QueueName, Result,
};

use crate::error::column;
use windlass_core::kit::{bad_json, damaged, unreadable};
use windlass_core::kit::{duration, timestamp};

/// A job that a claim takes.
pub(crate) struct Taken {
    pub(crate) lease: Lease,
    /// The epoch as it was read.
    pub(crate) epoch: u32,
    pub(crate) rank: i64,
    /// State changes in its trail, the claim among them.
    pub(crate) changes: i64,
    /// The unique key that the start frees.
    pub(crate) frees: Option<String>,
    /// It has a unique key.
    pub(crate) unique: bool,
}

/// The columns of `claim_pick.sql`.
#[derive(Deserialize)]
struct Json<'a>(
    #[serde(borrow)] Cow<'a, str>,
    u32,
    #[serde(borrow)] Cow<'a, str>,
    #[serde(borrow)] Cow<'a, str>,
    i64,
    #[serde(borrow)] Option<Cow<'a, str>>,
    #[serde(borrow)] Option<Cow<'a, str>>,
    #[serde(borrow)] Option<Cow<'a, str>>,
    i16,
    u32,
    u32,
    u32,
    u32,
    Option<i64>,
    #[serde(borrow)] Option<Cow<'a, str>>,
    i64,
    i64,
    Option<i64>,
    i64,
    Option<String>,
    u8,
);

/// The jobs that a statement picked.
#[derive(Default)]
pub(crate) struct Picked {
    pub(crate) taken: Vec<Taken>,
    /// Which of them have args so large that they must be read by themselves.
    pub(crate) large: Vec<usize>,
    /// Jobs, by their id's digits, that can't be read, and why.
    pub(crate) damaged: Vec<(String, Error)>,
    /// There were jobs with args in an encoding that only a newer library knows.
    pub(crate) unknown: bool,
    /// None was read, since a column of one of them holds what JSON can't: they must be read as rows.
    pub(crate) unread: bool,
}

/// Reads jobs. Their columns are as before the claim when they are `fresh`.
pub(crate) fn read(json: &str, request: &ClaimRequest, fresh: bool) -> Result<Picked> {
    let (mut picked, mut names) = (Picked::default(), Names::default());
    let step = u32::from(fresh);
    if let Ok(jobs) = serde_json::from_str::<Vec<Json<'_>>>(json) {
        jobs.into_iter().for_each(|job| picked.add(job, request, step, &mut names));
        return Ok(picked);
    }
    // A column of one of them holds what it never should: each by itself.
    let jobs: Vec<Value> =
        serde_json::from_str(json).map_err(|e| unreadable("jobs", bad_json(&e)))?;
    for value in &jobs {
        match Json::deserialize(value) {
            Ok(job) => picked.add(job, request, step, &mut names),
            Err(error) => {
                let id = value.get(0).and_then(Value::as_str).unwrap_or_default().to_owned();
                let error = unreadable("a column of the job", bad_json(&error));
                picked.damaged.push((id, error));
            }
        }
    }
    Ok(picked)
}

/// Reads the rows of `claim_pick_readable.sql` and `claim_resend_rows.sql`.
pub(crate) fn read_rows(rows: &[SqliteRow], request: &ClaimRequest, fresh: bool) -> Result<Picked> {
    let (mut picked, mut names) = (Picked::default(), Names::default());
    for row in rows {
        let id: String = column(row, 0, "?", "id")?;
        match Json::from_row(row, &id) {
            Ok(job) => picked.add(job, request, u32::from(fresh), &mut names),
            Err(error) => picked.damaged.push((id, error)),
        }
    }
    Ok(picked)
}

impl Json<'static> {
    fn from_row(row: &SqliteRow, id: &str) -> Result<Self> {
        let text = |n, name| column::<Option<String>>(row, n, id, name).map(|t| t.map(Cow::Owned));
        let name = |n, name| column::<String>(row, n, id, name).map(Cow::Owned);
        let count = |n, name| {
            let count: i64 = column(row, n, id, name)?;
            u32::try_from(count).map_err(|_| damaged(id, name, "it is out of range"))
        };
        Ok(Self(
            Cow::Owned(id.to_owned()),
            count(1, "epoch")?,
            name(2, "kind")?,
            name(3, "queue")?,
            column(row, 4, id, "encoding")?,
            text(5, "args")?,
            text(6, "meta")?,
            text(7, "tags")?,
            column(row, 8, id, "priority")?,
            count(9, "attempt")?,
            count(10, "max_attempts")?,
            count(11, "snoozes")?,
            count(12, "crashes")?,
            column(row, 13, id, "timeout")?,
            text(14, "progress")?,
            column(row, 15, id, "created_at")?,
            column(row, 16, id, "due_at")?,
            column(row, 17, id, "rank")?,
            column(row, 18, id, "changes")?,
            column(row, 19, id, "unique_key")?,
            column(row, 20, id, "unique_key")?,
        ))
    }
}

impl Picked {
    fn add(&mut self, job: Json<'_>, request: &ClaimRequest, step: u32, names: &mut Names) {
        if Encoding::from_code(job.4).is_none() {
            self.unknown = true;
            return;
        }
        let (id, large) = (job.0.clone(), job.5.is_none());
        match one(job, request, step, names) {
            Ok(taken) => {
                if large {
                    self.large.push(self.taken.len());
                }
                self.taken.push(taken);
            }
            Err(error) => self.damaged.push((id.into_owned(), error)),
        }
    }
}

/// The encodings that this library knows, as JSON.
pub(crate) fn known_encodings() -> String {
    let codes = (0..=i64::from(u8::MAX)).filter(|code| Encoding::from_code(*code).is_some());
    format!("{:?}", codes.collect::<Vec<_>>())
}

fn one(job: Json<'_>, request: &ClaimRequest, step: u32, names: &mut Names) -> Result<Taken> {
    let id: JobId = job.0.parse()?;
    let encoding = Encoding::from_code(job.4)
        .ok_or_else(|| unreadable("args", "their encoding is unknown"))?;
    let bytes = job.5.as_deref().map(unhex).transpose()?.unwrap_or_default();
    let (kind, queue) = (names.kind(&job.2)?, names.queue(&job.3)?);
    let args = Payload { encoding, bytes: bytes.into() };
    let mut record = JobRecord::new(id, kind, queue, args, timestamp(job.15));
    record.meta = json_or(id, "meta", job.6.as_deref(), BTreeMap::new)?;
    record.tags = json_or(id, "tags", job.7.as_deref(), Vec::new)?;
    record.progress = json_or(id, "progress", job.14.as_deref(), || None)?;
    record.priority = Priority(job.8);
    record.attempt = job.9.saturating_add(step);
    (record.max_attempts, record.snoozes, record.crashes) = (job.10, job.11, job.12);
    record.timeout = job.13.map(duration);
    record.due_at = timestamp(job.16);
    let epoch = Epoch(job.1.saturating_add(step));
    let key = LeaseKey { job: id, epoch, claim_id: request.claim_id };
    Ok(Taken {
        lease: Lease::of(&record, key),
        epoch: job.1,
        rank: job.17.unwrap_or(0),
        changes: job.18.saturating_add(step.into()),
        frees: job.19,
        unique: job.20 != 0,
    })
}

fn json_or<T: DeserializeOwned>(
    job: JobId,
    column: &'static str,
    text: Option<&str>,
    none: impl FnOnce() -> T,
) -> Result<T> {
    match text {
        Some(text) => serde_json::from_str(text).map_err(|e| damaged(job, column, bad_json(&e))),
        None => Ok(none()),
    }
}

fn unhex(text: &str) -> Result<Vec<u8>> {
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |[high, low]: &[u8; 2]| Some(digit(*high)? << 4 | digit(*low)?);
    let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
    let bytes = bytes.filter(|_| rest.is_empty());
    bytes.ok_or_else(|| unreadable("args", "they are not hexadecimal"))
}

/// Names repeat within a claim: each is parsed once.
#[derive(Default)]
struct Names {
    kinds: Vec<Kind>,
    queues: Vec<QueueName>,
}

impl Names {
    fn kind(&mut self, text: &str) -> Result<Kind> {
        if let Some(known) = self.kinds.iter().find(|kind| kind.as_str() == text) {
            return Ok(known.clone());
        }
        let kind = Kind::new(text)?;
        self.kinds.push(kind.clone());
        Ok(kind)
    }

    fn queue(&mut self, text: &str) -> Result<QueueName> {
        if let Some(known) = self.queues.iter().find(|queue| queue.as_str() == text) {
            return Ok(known.clone());
        }
        let queue = QueueName::new(text)?;
        self.queues.push(queue.clone());
        Ok(queue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn args_are_whole_bytes_or_none() {
        assert_eq!(unhex("7B7d").unwrap(), b"{}");
        for bad in ["7", "7B7", "7G", "é"] {
            assert!(unhex(bad).is_err(), "{bad}");
        }
    }
}
