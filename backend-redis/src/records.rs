//! Jobs as their records show them.

use std::collections::BTreeMap;

use redis::Value;
use serde::de::DeserializeOwned;
use windlass_core::kit::{bad_json, damaged, duration, timestamp};
use windlass_core::{
    ClaimId, Epoch, JobId, JobRecord, Kind, Priority, QueueName, Result, State, Tag, UniqueKey,
    WorkerId,
};

use crate::wire::{self, Body, Standing, maybe_bytes, unpack};

/// The fields of a job's hash: what changes, what came with it, errors, progress, result, args.
pub(crate) struct Row {
    pub(crate) id: JobId,
    pub(crate) standing: Option<Vec<u8>>,
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) errors: Option<Vec<u8>>,
    pub(crate) progress: Option<Vec<u8>>,
    pub(crate) result: Option<Vec<u8>>,
    pub(crate) args: Option<Vec<u8>>,
}

/// The names of these fields, in their order.
pub(crate) const FIELDS: [&str; 6] = ["s", "b", "e", "p", "r", "a"];

impl Row {
    /// From the values of [`FIELDS`].
    pub(crate) fn new(id: JobId, values: [Value; 6]) -> Result<Self> {
        let [standing, body, errors, progress, result, args] = values.map(maybe_bytes);
        Ok(Self {
            id,
            standing: standing?,
            body: body?,
            errors: errors?,
            progress: progress?,
            result: result?,
            args: args?,
        })
    }

    /// Whether there is such a job at all.
    pub(crate) fn exists(&self) -> bool {
        self.standing.is_some() || self.body.is_some()
    }

    /// # Errors
    /// [`Error::Decode`](windlass_core::Error::Decode), naming job and field, for what can't be read.
    pub(crate) fn record(self) -> Result<JobRecord> {
        let id = self.id;
        let s: Standing = unpack(id, "s", self.standing.as_deref().unwrap_or_default())?;
        let b: Body = unpack(id, "b", self.body.as_deref().unwrap_or_default())?;
        let kind = Kind::new(&b.kind).map_err(|e| damaged(id, "kind", e))?;
        let queue = QueueName::new(&b.queue).map_err(|e| damaged(id, "queue", e))?;
        let args = self.args.ok_or_else(|| damaged(id, "a", "it is missing"))?;
        let args = wire::payload(id, "args", b.encoding, args)?;
        let mut job = JobRecord::new(id, kind, queue, args, timestamp(s.created));
        let state = State::from_code(s.state);
        job.state = state.ok_or_else(|| damaged(id, "state", "it is none that is known"))?;
        job.priority = Priority(b.priority);
        job.due_at = timestamp(s.due);
        job.epoch = Epoch(s.epoch);
        (job.attempt, job.max_attempts) = (s.attempt, s.max_attempts);
        (job.snoozes, job.crashes) = (s.snoozes, s.crashes);
        if !s.worker.is_empty() {
            let worker = WorkerId::from_slice(&s.worker);
            job.worker = Some(worker.map_err(|e| damaged(id, "worker", e))?);
        }
        if !s.claim.is_empty() {
            let claim = ClaimId::from_slice(&s.claim);
            job.claim_id = Some(claim.map_err(|e| damaged(id, "claim_id", e))?);
        }
        job.started_at = (s.started > 0).then(|| timestamp(s.started));
        job.finished_at = (s.finished > 0).then(|| timestamp(s.finished));
        job.cancel_requested = s.cancelling != 0;
        job.timeout = (b.timeout > 0).then(|| duration(b.timeout));
        if !b.unique.is_empty() {
            let key = UniqueKey::new(&b.unique);
            job.unique_key = Some(key.map_err(|e| damaged(id, "unique_key", e))?);
        }
        job.meta = meta(id, &b.meta)?;
        job.tags = tags(id, b.tags)?;
        job.progress = self.progress.map(|text| json(id, "progress", &text)).transpose()?;
        if let Some(errors) = self.errors {
            let list = [b"[", errors.as_slice(), b"]"].concat();
            job.errors = json(id, "errors", &list)?;
        }
        if let Some(mut result) = self.result {
            let encoding = if result.is_empty() { 0 } else { result.remove(0) };
            job.result = Some(wire::payload(id, "result", encoding, result)?);
        }
        Ok(job)
    }
}

fn meta(id: JobId, text: &str) -> Result<BTreeMap<String, String>> {
    if text.is_empty() { Ok(BTreeMap::new()) } else { json(id, "meta", text.as_bytes()) }
}

fn tags(id: JobId, names: Vec<String>) -> Result<Vec<Tag>> {
    let tags = names.into_iter().map(Tag::new).collect::<Result<_>>();
    tags.map_err(|e| damaged(id, "tags", e))
}

fn json<T: DeserializeOwned>(id: JobId, field: &'static str, text: &[u8]) -> Result<T> {
    serde_json::from_slice(text).map_err(|e| damaged(id, field, bad_json(&e)))
}
