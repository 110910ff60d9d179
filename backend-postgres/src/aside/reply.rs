//! What a heartbeat answers.

use std::collections::HashMap;

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;
use windlass_core::{ClaimId, Epoch, JobId, LeaseKey, Result};

use crate::error::map;

/// What runs under a worker; and of what it says it holds, what is lost and what is to be cancelled; and what it does not know of.
pub(super) type Compared = (Vec<JobId>, Vec<LeaseKey>, Vec<LeaseKey>, Vec<LeaseKey>);

/// Of the rows of `worker_heartbeat.sql` the workers whose leases were extended, and when; and the rows of their jobs.
pub(super) fn extended(rows: Vec<PgRow>) -> Result<(HashMap<Uuid, i64>, Vec<PgRow>)> {
    let (mut extended, mut jobs) = (HashMap::new(), Vec::new());
    for row in rows {
        match row.try_get(5).map_err(map("heartbeat"))? {
            Some(now) => drop(extended.insert(row.try_get(4).map_err(map("heartbeat"))?, now)),
            None => jobs.push(row),
        }
    }
    Ok((extended, jobs))
}

/// Puts the rows of `worker_heartbeat.sql` and `worker_owned.sql` to their workers.
pub(super) fn by_worker(rows: Vec<PgRow>) -> Result<HashMap<Uuid, Vec<PgRow>>> {
    let mut all: HashMap<Uuid, Vec<PgRow>> = HashMap::new();
    for row in rows {
        let worker = row.try_get(4).map_err(map("heartbeat"))?;
        all.entry(worker).or_default().push(row);
    }
    Ok(all)
}

/// Compares what a worker says it holds with the rows of `worker_heartbeat.sql` and `worker_owned.sql`.
pub(super) fn compare(rows: &[PgRow], owned: &[LeaseKey]) -> Result<Compared> {
    let mut held = HashMap::with_capacity(rows.len());
    for row in rows {
        let (key, cancelling) = key(row).map_err(map("heartbeat"))?;
        held.insert(key, cancelling);
    }
    let all = held.keys().map(|key| key.job).collect();
    let (mut lost, mut cancel) = (Vec::new(), Vec::new());
    for key in owned {
        match held.remove(key) {
            None => lost.push(*key),
            Some(true) => cancel.push(*key),
            Some(false) => {}
        }
    }
    let mut orphaned: Vec<LeaseKey> = held.into_keys().collect();
    orphaned.sort_unstable();
    Ok((all, lost, cancel, orphaned))
}

fn key(row: &PgRow) -> sqlx::Result<(LeaseKey, bool)> {
    let (job, epoch): (Uuid, i64) = (row.try_get(0)?, row.try_get(1)?);
    let (claim_id, cancelling): (Uuid, bool) = (row.try_get(2)?, row.try_get(3)?);
    let key = LeaseKey {
        job: JobId::from_uuid(job),
        epoch: Epoch(u32::try_from(epoch).unwrap_or(u32::MAX)),
        claim_id: ClaimId::from_uuid(claim_id),
    };
    Ok((key, cancelling))
}
