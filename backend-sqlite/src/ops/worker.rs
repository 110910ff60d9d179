//! Leases of workers.

use std::collections::HashMap;

use sqlx::sqlite::SqliteRow;
use windlass_core::{
    Beat, ClaimId, Epoch, Error, Heartbeat, JobId, LeaseKey, Result, WorkerId, WorkerInfo,
    WorkerLease,
};

use crate::batch::texts;
use crate::error::column;
use crate::txn::Txn;
use windlass_core::kit::micros;

/// Grants a lease, or extends one that has not run out.
pub(crate) async fn register(txn: &mut Txn<'_>, info: &WorkerInfo) -> Result<WorkerLease> {
    let lease = micros(info.lease);
    let query = sqlx::query(include_str!("../sql/worker_register.sql"))
        .bind(info.id.as_bytes().to_vec())
        .bind(info.name.clone())
        .bind(texts(info.queues.iter().map(|queue| queue.as_str())))
        .bind(lease)
        .bind(txn.now)
        .bind(txn.now.saturating_add(lease));
    match txn.execute(query).await? {
        0 => Err(Error::WorkerExpired { worker: info.id }),
        _ => Ok(WorkerLease { worker: info.id, lease: info.lease }),
    }
}

/// Extends leases, and compares what each worker holds with what is stored.
pub(crate) async fn heartbeats(txn: &mut Txn<'_>, beats: &[Beat]) -> Result<Vec<Heartbeat>> {
    let mut answers = Vec::with_capacity(beats.len());
    for beat in beats {
        answers.push(heartbeat(txn, beat.worker, &beat.owned).await?);
    }
    Ok(answers)
}

async fn heartbeat(txn: &mut Txn<'_>, worker: WorkerId, owned: &[LeaseKey]) -> Result<Heartbeat> {
    let id = worker.as_bytes().to_vec();
    let query = sqlx::query(include_str!("../sql/worker_heartbeat.sql"));
    if txn.execute(query.bind(id.clone()).bind(txn.now)).await? == 0 {
        return Ok(Heartbeat::Expired);
    }
    let rows = txn.fetch(sqlx::query(include_str!("../sql/worker_owned.sql")).bind(id)).await?;
    let mut held = HashMap::with_capacity(rows.len());
    for row in &rows {
        match owned_job(row) {
            Ok((key, cancelling)) => {
                held.insert(key, cancelling);
            }
            // One job must not cost the worker its lease.
            Err(error) => tracing::error!(%error, "a running job can't be read and is passed over"),
        }
    }
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
    Ok(Heartbeat::Alive { lost, cancel, orphaned })
}

/// Reads a row of `worker_owned.sql`: the key, and whether the job is to be cancelled.
fn owned_job(row: &SqliteRow) -> Result<(LeaseKey, bool)> {
    let job = JobId::from_slice(column(row, 0, "?", "id")?)?;
    let epoch: i64 = column(row, 1, job, "epoch")?;
    let epoch = Epoch(u32::try_from(epoch).unwrap_or(u32::MAX));
    let claim_id = ClaimId::from_slice(column(row, 2, job, "claim_id")?)?;
    Ok((LeaseKey { job, epoch, claim_id }, column(row, 3, job, "cancelling")?))
}

/// Ends a lease now.
pub(crate) async fn deregister(txn: &mut Txn<'_>, worker: WorkerId) -> Result<()> {
    let query = sqlx::query(include_str!("../sql/worker_deregister.sql"));
    txn.execute(query.bind(worker.as_bytes().to_vec()).bind(txn.now)).await?;
    Ok(())
}
