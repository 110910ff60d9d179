//! Unique keys: who holds them.
//!
//! A job's row is always locked before its key is freed or taken over, so that two transactions don't wait for each other.

use std::collections::HashMap;

use uuid::Uuid;
use windlass_core::kit::timestamp;
use windlass_core::machine::{self, Rescue};
use windlass_core::{AttemptError, FailureKind, JobId, Result, State};

use super::apply::Step;
use super::maintain::rescue_locked;
use super::stored::{Stored, StoredUnique};
use crate::sql::query;
use crate::txn::Txn;

/// Stored modes of a unique key.
pub(crate) const STARTED: i16 = 0;
pub(crate) const FINISHED: i16 = 1;
pub(crate) const WINDOW: i16 = 2;

/// Who holds a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) job: JobId,
    /// It waits, so that its contents may be replaced.
    pub(crate) waits: bool,
}

/// Columns of keys: key, job, mode, end of the window.
#[derive(Debug, Default)]
pub(crate) struct Keys(Vec<String>, Vec<Uuid>, Vec<i16>, Vec<Option<i64>>);

impl Keys {
    pub(crate) fn push(&mut self, key: &str, job: JobId, mode: i16, until: Option<i64>) {
        self.0.push(key.to_owned());
        self.1.push(*job.as_uuid());
        self.2.push(mode);
        self.3.push(until);
    }

    /// Adds a stored job's key if it passes.
    pub(crate) fn extend(
        &mut self,
        unique: &Option<StoredUnique>,
        job: JobId,
        passes: impl Fn(&StoredUnique) -> bool,
    ) {
        if let Some(unique) = unique.as_ref().filter(|unique| passes(unique)) {
            self.push(&unique.key, job, unique.mode, unique.until);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Frees the keys, where these jobs hold them so.
    pub(crate) async fn free(self, txn: &mut Txn<'_>) -> Result<()> {
        if !self.is_empty() {
            let statement = query(&txn.sql.unique_free).bind(self.0).bind(self.1).bind(self.2);
            txn.execute(statement).await?;
        }
        Ok(())
    }

    /// Takes those of the keys that nobody holds; tells which.
    async fn take(self, txn: &mut Txn<'_>) -> Result<Vec<String>> {
        let statement = query(&txn.sql.unique_take);
        let rows = txn.fetch(statement.bind(self.0).bind(self.1).bind(self.2).bind(self.3)).await?;
        rows.iter().map(|row| txn.get(row, 0)).collect()
    }

    /// Takes keys that were found free.
    pub(crate) async fn hold(self, txn: &mut Txn<'_>) -> Result<()> {
        let wanted = self.0.len();
        if wanted == 0 || self.take(txn).await?.len() == wanted {
            return Ok(());
        }
        Err(txn.changed_meanwhile())
    }
}

/// A key that a new job wants.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) key: String,
    pub(crate) job: JobId,
    pub(crate) mode: i16,
    pub(crate) until: Option<i64>,
}

/// Takes the keys, each wanted once, that are free: nobody holds them, or their holder is lost, gone or past its window.
/// Answers who holds the others.
pub(crate) async fn acquire(
    txn: &mut Txn<'_>,
    wanted: &[Wanted],
) -> Result<HashMap<String, Holder>> {
    let mut open: Vec<&Wanted> = wanted.iter().collect();
    let mut held = HashMap::new();
    // Each round takes what is free by now; a stale holder is dropped in one round and its key taken in the next.
    for _ in 0..8 {
        let mut keys = Keys::default();
        for one in &open {
            keys.push(&one.key, one.job, one.mode, one.until);
        }
        if keys.is_empty() {
            return Ok(held);
        }
        let taken = keys.take(txn).await?;
        open.retain(|one| !taken.contains(&one.key));
        if open.is_empty() {
            return Ok(held);
        }
        let holders = live_holders(txn, open.iter().map(|one| one.key.clone()).collect()).await?;
        open.retain(|one| !holders.contains_key(&one.key));
        held.extend(holders);
    }
    Err(txn.changed_meanwhile())
}

/// Who holds keys. Lost holders are rescued first: they may be final after it; stale ones are dropped, and don't stand in the answer.
pub(crate) async fn live_holders(
    txn: &mut Txn<'_>,
    keys: Vec<String>,
) -> Result<HashMap<String, Holder>> {
    for _ in 0..8 {
        let statement = query(&txn.sql.unique_holders).bind(keys.clone()).bind(txn.now);
        let (mut live, mut stale, mut lost) = (HashMap::new(), Keys::default(), Vec::new());
        for row in txn.fetch(statement).await? {
            let key: String = txn.get(&row, 0)?;
            let job = JobId::from_uuid(txn.get(&row, 1)?);
            let state =
                txn.get::<Option<i16>>(&row, 3)?.and_then(|code| State::from_code(code.into()));
            if txn.get::<bool>(&row, 5)? {
                stale.push(&key, job, txn.get(&row, 2)?, None);
                continue;
            }
            if txn.get::<Option<bool>>(&row, 4)?.unwrap_or(false) {
                lost.push(job);
            }
            let waits = state.is_some_and(|state| state != State::Running);
            live.insert(key, Holder { job, waits });
        }
        if !stale.is_empty() {
            let statement = query(&txn.sql.unique_drop).bind(stale.0).bind(stale.1);
            txn.fetch(statement).await?;
        }
        if lost.is_empty() {
            return Ok(live);
        }
        if rescue_locked(txn, &lost, Rescue::WorkerLost).await?.is_empty() {
            // Somebody else is rescuing them, or they can't be read.
            return Ok(live);
        }
    }
    Err(txn.changed_meanwhile())
}

/// The steps that take running jobs from their owners.
pub(crate) fn rescue_steps(now: i64, jobs: Vec<Stored>, why: Rescue) -> Vec<Step<'static>> {
    let message = match why {
        Rescue::WorkerLost => "the worker was lost: its lease ran out",
        Rescue::DeadlinePassed => "the attempt passed its deadline and its worker did not end it",
    };
    let step = |job: Stored| {
        let to = machine::rescued(&job.facts, why)?;
        let error = AttemptError {
            attempt: job.facts.attempt,
            at: timestamp(now),
            kind: to.failure.unwrap_or(FailureKind::Crash),
            message: message.to_owned(),
        };
        Some(Step { error: Some(error), ..Step::new(job, to) })
    };
    jobs.into_iter().filter_map(step).collect()
}
