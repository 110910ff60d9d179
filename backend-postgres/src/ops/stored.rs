//! What transitions need to know of stored jobs.

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;
use windlass_core::kit::{damaged, unreadable};
use windlass_core::machine::Facts;
use windlass_core::{ClaimId, JobId, Kind, LeaseKey, QueueName, Result, State, WorkerId};

use crate::error::map;
use crate::sql::query;
use crate::txn::{Txn, uuids};

/// What a transition needs to know of a job whose row this transaction has locked. The statements that lock select these columns in this order:
/// `id, state, attempt, max_attempts, snoozes, crashes, cancelling, kind, queue, priority, worker, unique_key, unique_mode,
/// unique_until, errors, changes, notes, epoch, claim_id`.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) id: JobId,
    pub(crate) facts: Facts,
    pub(crate) kind: String,
    pub(crate) queue: String,
    pub(crate) worker: Option<WorkerId>,
    pub(crate) unique: Option<StoredUnique>,
    pub(crate) errors: Option<String>,
    pub(crate) changes: i32,
    pub(crate) notes: i32,
    pub(crate) epoch: i64,
    pub(crate) claim_id: Option<Uuid>,
}

/// A stored job's unique rule.
#[derive(Debug, Clone)]
pub(crate) struct StoredUnique {
    pub(crate) key: String,
    pub(crate) mode: i16,
    pub(crate) until: Option<i64>,
}

impl Stored {
    pub(crate) fn read(during: &'static str, row: &PgRow) -> Result<Self> {
        Self::decode(row).map_err(map(during))?.ok_or_else(|| unreadable("a job", "unknown state"))
    }

    /// Reads those of the rows that can be read; the others are in nobody's way.
    pub(crate) fn readable(during: &'static str, rows: &[PgRow]) -> Vec<Self> {
        let read = |row: &PgRow| match Self::read(during, row) {
            Ok(job) => Some(job),
            Err(error) => {
                let job: Option<Uuid> = row.try_get(0).ok();
                tracing::error!(?job, %error, "a job can't be read and is passed over");
                None
            }
        };
        rows.iter().filter_map(read).collect()
    }

    fn decode(row: &PgRow) -> sqlx::Result<Option<Self>> {
        let count = |column: usize| -> sqlx::Result<u32> {
            Ok(u32::try_from(row.try_get::<i32, _>(column)?).unwrap_or(0))
        };
        let Some(state) = State::from_code(row.try_get::<i16, _>(1)?.into()) else {
            return Ok(None);
        };
        let facts = Facts {
            state,
            attempt: count(2)?,
            max_attempts: count(3)?,
            snoozes: count(4)?,
            crashes: count(5)?,
            cancel_requested: row.try_get(6)?,
        };
        let key: Option<String> = row.try_get(11)?;
        let unique = match key {
            Some(key) => Some(StoredUnique {
                key,
                mode: row.try_get::<Option<i16>, _>(12)?.unwrap_or(super::unique::FINISHED),
                until: row.try_get(13)?,
            }),
            None => None,
        };
        Ok(Some(Self {
            id: JobId::from_uuid(row.try_get(0)?),
            facts,
            kind: row.try_get(7)?,
            queue: row.try_get(8)?,
            worker: row.try_get::<Option<Uuid>, _>(10)?.map(WorkerId::from_uuid),
            unique,
            errors: row.try_get(14)?,
            changes: row.try_get(15)?,
            notes: row.try_get(16)?,
            epoch: row.try_get(17)?,
            claim_id: row.try_get(18)?,
        }))
    }

    /// Refuses a job whose kind or queue is no name.
    pub(crate) fn check_names(&self) -> Result<()> {
        Kind::new(&self.kind).map_err(|error| damaged(self.id, "kind", error))?;
        QueueName::new(&self.queue).map_err(|error| damaged(self.id, "queue", error))?;
        Ok(())
    }

    /// The fence under which it runs.
    pub(crate) fn key(&self) -> Option<LeaseKey> {
        let claim_id = ClaimId::from_uuid(self.claim_id?);
        let epoch = windlass_core::Epoch(u32::try_from(self.epoch).ok()?);
        Some(LeaseKey { job: self.id, epoch, claim_id })
    }
}

/// The columns of a list of fences: jobs, epochs, claim ids.
pub(crate) fn fences<'a>(
    keys: impl IntoIterator<Item = &'a LeaseKey>,
) -> (Vec<Uuid>, Vec<i64>, Vec<Uuid>) {
    let mut columns = (Vec::new(), Vec::new(), Vec::new());
    for key in keys {
        columns.0.push(*key.job.as_uuid());
        columns.1.push(i64::from(key.epoch.0));
        columns.2.push(*key.claim_id.as_uuid());
    }
    columns
}

/// Locks the jobs that run under their keys. Waits for those that others have locked, or else passes them over.
pub(crate) async fn lock_owned(
    txn: &mut Txn<'_>,
    keys: &[LeaseKey],
    wait: bool,
) -> Result<Vec<Stored>> {
    let (ids, epochs, claims) = fences(keys);
    let statement = query(if wait { &txn.sql.lock_owned } else { &txn.sql.lock_owned_free })
        .bind(ids)
        .bind(epochs)
        .bind(claims);
    let rows = txn.fetch(statement).await?;
    Ok(Stored::readable(txn.during, &rows))
}

/// Locks jobs in any state. One that moves between the tables at this moment may be missed: it was changed by somebody else just now.
pub(crate) async fn lock_any(txn: &mut Txn<'_>, ids: &[JobId]) -> Result<Vec<Stored>> {
    let mut jobs = lock_waiting(txn, ids).await?;
    if jobs.len() < ids.len() {
        let statement = query(&txn.sql.lock_finished).bind(uuids(ids));
        let rows = txn.fetch(statement).await?;
        jobs.extend(Stored::readable(txn.during, &rows));
        // What was revived between the two looks is found by a third.
        if jobs.len() < ids.len() {
            let missing: Vec<JobId> =
                ids.iter().filter(|id| jobs.iter().all(|job| job.id != **id)).copied().collect();
            jobs.extend(lock_waiting(txn, &missing).await?);
        }
    }
    Ok(jobs)
}

/// The job that holds a unique key.
pub(crate) enum Locked {
    Job(Box<Stored>),
    /// Its row can't be read, or says that it holds another key.
    Damaged,
    /// It holds the key no longer.
    Gone,
}

/// Locks the job that holds a unique key; its errors are not read.
pub(crate) async fn lock_holder(txn: &mut Txn<'_>, holder: JobId, key: &str) -> Result<Locked> {
    let statement =
        query(&txn.sql.insert_replace_lock).bind(*holder.as_uuid()).bind(key.to_owned());
    let rows = txn.fetch(statement).await?;
    if rows.is_empty() {
        return Ok(Locked::Gone);
    }
    let job = Stored::readable(txn.during, &rows).into_iter().next();
    let holds = |job: &Stored| job.unique.as_ref().is_some_and(|unique| unique.key == key);
    Ok(job.filter(holds).map_or(Locked::Damaged, |job| Locked::Job(Box::new(job))))
}

/// Locks jobs that wait or run.
pub(crate) async fn lock_waiting(txn: &mut Txn<'_>, ids: &[JobId]) -> Result<Vec<Stored>> {
    let statement = query(&txn.sql.lock_jobs).bind(uuids(ids));
    let rows = txn.fetch(statement).await?;
    Ok(Stored::readable(txn.during, &rows))
}
