//! Leases of workers.

use std::collections::HashMap;

use windlass_core::{
    ClaimId, Epoch, Error, Heartbeat, JobId, LeaseKey, Result, WorkerId, WorkerInfo, WorkerLease,
};

use crate::batch::texts;
use crate::clock::micros;
use crate::txn::Txn;

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

/// Extends a lease and compares what the worker holds with what is stored.
pub(crate) async fn heartbeat(
    txn: &mut Txn<'_>,
    worker: WorkerId,
    owned: &[LeaseKey],
) -> Result<Heartbeat> {
    let id = worker.as_bytes().to_vec();
    let query = sqlx::query(include_str!("../sql/worker_heartbeat.sql"));
    if txn.execute(query.bind(id.clone()).bind(txn.now)).await? == 0 {
        return Ok(Heartbeat::Expired);
    }
    let rows = txn.fetch(sqlx::query(include_str!("../sql/worker_owned.sql")).bind(id)).await?;
    let mut held = HashMap::with_capacity(rows.len());
    for row in rows {
        let key = LeaseKey {
            job: JobId::from_slice(&txn.get::<Vec<u8>>(&row, 0)?)?,
            epoch: Epoch(u32::try_from(txn.get::<i64>(&row, 1)?).unwrap_or(u32::MAX)),
            claim_id: ClaimId::from_slice(&txn.get::<Vec<u8>>(&row, 2)?)?,
        };
        held.insert(key, txn.get::<bool>(&row, 3)?);
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

/// Ends a lease now.
pub(crate) async fn deregister(txn: &mut Txn<'_>, worker: WorkerId) -> Result<()> {
    let query = sqlx::query(include_str!("../sql/worker_deregister.sql"));
    txn.execute(query.bind(worker.as_bytes().to_vec()).bind(txn.now)).await?;
    Ok(())
}
