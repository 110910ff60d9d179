//! What transitions need to know of stored jobs.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use windlass_core::machine::Facts;
use windlass_core::{ClaimId, JobId, LeaseKey, Priority, Result, State, WorkerId};

use crate::error::column;
use crate::ops::unique;
use windlass_core::kit::{bad_json, damaged, unreadable};

/// What a transition needs to know of a stored job. The statements that read it select these columns in this order:
/// `id, state, attempt, max_attempts, snoozes, crashes, cancelling, kind, queue, priority, worker, unique_key, unique_mode,
/// unique_until, errors, changes, notes, epoch`.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) id: JobId,
    pub(crate) facts: Facts,
    pub(crate) epoch: i64,
    /// The claim id under which its owner writes; `None` for everyone else.
    pub(crate) claim: Option<ClaimId>,
    pub(crate) kind: String,
    pub(crate) queue: String,
    pub(crate) priority: Priority,
    pub(crate) worker: Option<WorkerId>,
    pub(crate) unique: Option<StoredUnique>,
    pub(crate) errors: Option<String>,
    pub(crate) changes: i64,
    pub(crate) notes: i64,
}

/// A stored job's unique rule.
#[derive(Debug, Clone)]
pub(crate) struct StoredUnique {
    pub(crate) key: String,
    pub(crate) mode: i64,
    pub(crate) until: Option<i64>,
}

/// What a statement that writes a job compares first: the row as it was read. An owner's claim id is part of it; others
/// look at the state and the epoch alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guard {
    pub(crate) job: JobId,
    pub(crate) state: State,
    pub(crate) epoch: i64,
    pub(crate) claim: Option<ClaimId>,
}

impl Stored {
    pub(crate) fn guard(&self) -> Guard {
        let Self { id, facts, epoch, claim, .. } = self;
        Guard { job: *id, state: facts.state, epoch: *epoch, claim: *claim }
    }

    pub(crate) fn read(row: &SqliteRow) -> Result<Self> {
        let id: &[u8] = column(row, 0, "?", "id")?;
        let id = JobId::from_slice(id)?;
        let count = |n: usize, name| {
            column::<i64>(row, n, id, name).map(|n| u32::try_from(n).unwrap_or(u32::MAX))
        };
        let state = State::from_code(column(row, 1, id, "state")?)
            .ok_or_else(|| damaged(id, "state", "it is unknown"))?;
        let facts = Facts {
            state,
            attempt: count(2, "attempt")?,
            max_attempts: count(3, "max_attempts")?,
            snoozes: count(4, "snoozes")?,
            crashes: count(5, "crashes")?,
            cancel_requested: column(row, 6, id, "cancelling")?,
        };
        let worker: Option<&[u8]> = column(row, 10, id, "worker")?;
        let key: Option<String> = column(row, 11, id, "unique_key")?;
        let unique = match key {
            Some(key) => Some(StoredUnique {
                key,
                mode: column::<Option<i64>>(row, 12, id, "unique_mode")?
                    .unwrap_or(unique::FINISHED),
                until: column(row, 13, id, "unique_until")?,
            }),
            None => None,
        };
        Ok(Self {
            id,
            facts,
            epoch: column(row, 17, id, "epoch")?,
            claim: None,
            kind: column(row, 7, id, "kind")?,
            queue: column(row, 8, id, "queue")?,
            priority: Priority(column(row, 9, id, "priority")?),
            worker: worker.and_then(|w| WorkerId::from_slice(w).ok()),
            unique,
            // No transition waits for errors that can't be read: the next one replaces them.
            errors: row.try_get(14).unwrap_or(None),
            changes: column(row, 15, id, "changes")?,
            notes: column(row, 16, id, "notes")?,
        })
    }

    /// Reads those of the rows that can be read; the others are in nobody's way.
    pub(crate) fn readable(rows: &[SqliteRow]) -> Vec<Self> {
        let read = |row: &SqliteRow| match Self::read(row) {
            Ok(job) => Some(job),
            Err(error) => {
                tracing::error!(%error, "a job can't be read and is passed over");
                None
            }
        };
        rows.iter().filter_map(read).collect()
    }

    /// Reads the rows of `settle_rows.sql`. Jobs that can't be read are passed over.
    pub(crate) fn read_rows(rows: &[SqliteRow], keys: &[LeaseKey]) -> HashMap<LeaseKey, Self> {
        let mut jobs = HashMap::with_capacity(rows.len());
        for row in rows {
            let Some(mut job) = Self::readable(std::slice::from_ref(row)).pop() else { continue };
            let number: Option<i64> = row.try_get(18).ok();
            let key = number.and_then(|n| keys.get(usize::try_from(n).ok()?));
            if let Some(key) = key {
                job.claim = Some(key.claim_id);
                jobs.insert(*key, job);
            }
        }
        jobs
    }
}

/// A job as `settle.sql` gives it: the number of its key, then the columns but for the id.
#[derive(Deserialize)]
struct Json(
    usize,
    i64,
    u32,
    u32,
    u32,
    u32,
    u8,
    String,
    String,
    i16,
    String,
    Option<String>,
    Option<i64>,
    Option<i64>,
    Option<String>,
    i64,
    i64,
);

impl Stored {
    /// Reads the one row of `settle.sql`. Jobs that can't be read are passed over.
    pub(crate) fn read_json(json: &str, keys: &[LeaseKey]) -> Result<HashMap<LeaseKey, Self>> {
        let rows: Vec<Json> = match serde_json::from_str(json) {
            Ok(rows) => rows,
            Err(_) => each(json, keys)?,
        };
        let mut jobs = HashMap::with_capacity(rows.len());
        for row in rows {
            if let Some((key, job)) = Self::from_json(row, keys) {
                jobs.insert(key, job);
            }
        }
        Ok(jobs)
    }

    fn from_json(row: Json, keys: &[LeaseKey]) -> Option<(LeaseKey, Self)> {
        let key = *keys.get(row.0)?;
        let facts = Facts {
            state: State::from_code(row.1)?,
            attempt: row.2,
            max_attempts: row.3,
            snoozes: row.4,
            crashes: row.5,
            cancel_requested: row.6 != 0,
        };
        let (mode, until) = (row.12.unwrap_or(unique::FINISHED), row.13);
        let job = Self {
            id: key.job,
            facts,
            epoch: key.epoch.0.into(),
            claim: Some(key.claim_id),
            kind: row.7,
            queue: row.8,
            priority: Priority(row.9),
            worker: row.10.parse().ok(),
            unique: row.11.map(|key| StoredUnique { key, mode, until }),
            errors: row.14,
            changes: row.15,
            notes: row.16,
        };
        Some((key, job))
    }
}

/// Reads rows one by one, for when a column of one of them holds what it never should.
fn each(json: &str, keys: &[LeaseKey]) -> Result<Vec<Json>> {
    let mut values: Vec<Value> =
        serde_json::from_str(json).map_err(|e| unreadable("jobs", bad_json(&e)))?;
    let mut rows = Vec::with_capacity(values.len());
    for value in &mut values {
        // Errors that can't be read are none, as in `read`.
        if let Some(errors) = value.get_mut(14).filter(|errors| !errors.is_string()) {
            *errors = Value::Null;
        }
        match Json::deserialize(&*value) {
            Ok(row) => rows.push(row),
            Err(_) => {
                let number = value.get(0).and_then(Value::as_u64).unwrap_or(u64::MAX);
                let key = usize::try_from(number).ok().and_then(|number| keys.get(number));
                let job = key.map(|key| key.job);
                tracing::error!(?job, "a running job can't be read and is passed over");
            }
        }
    }
    Ok(rows)
}
