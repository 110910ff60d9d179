//! Removes what is past its retention.

use std::time::Duration;

use sqlx::Row as _;
use windlass_core::{BlobKey, JobId, Pruned, Result, Retention, State};

use crate::batch::{Rows, ids, size, texts};
use crate::ops::stored::Guard;
use crate::script::statement;
use crate::txn::Txn;
use windlass_core::kit::micros;

/// Removes final jobs and feed entries past their retention, and names blobs to delete.
pub(crate) async fn prune(txn: &mut Txn<'_>, keep: &Retention, limit: u32) -> Result<Pruned> {
    let mut done = Pruned::default();
    done.jobs = jobs(txn, keep, limit, &mut done.more).await?;
    done.events = events(txn, keep, limit, &mut done.more).await?;
    let most = txn.limits.batch;
    let query = sqlx::query(include_str!("../sql/prune_blobs.sql"));
    let rows = txn.fetch(query.bind(txn.now).bind(size(most) + 1)).await?;
    done.more |= rows.len() > most;
    let mut first = Vec::new();
    for row in rows.iter().take(most) {
        let key = BlobKey::new(txn.get::<String>(row, 0)?)?;
        if txn.get(row, 1)? {
            first.push(key.clone());
        }
        done.blobs.push(key);
    }
    if !first.is_empty() {
        let query = sqlx::query(include_str!("../sql/blobs_named.sql"));
        txn.execute(query.bind(texts(first.iter().map(BlobKey::as_str)))).await?;
    }
    Ok(done)
}

pub(super) async fn jobs(
    txn: &mut Txn<'_>,
    keep: &Retention,
    limit: u32,
    more: &mut bool,
) -> Result<u64> {
    let before = |state| keep.of(state).map(|age| txn.now.saturating_sub(micros(age)));
    let query = sqlx::query(include_str!("../sql/prune_jobs.sql"))
        .bind(before(State::Completed))
        .bind(before(State::Cancelled))
        .bind(before(State::Discarded))
        .bind(i64::from(limit) + 1);
    let mut rows = txn.fetch(query).await?;
    *more |= rows.len() > limit as usize;
    rows.truncate(limit as usize);
    if rows.is_empty() {
        return Ok(0);
    }
    let mut gone = Vec::with_capacity(rows.len());
    let mut finished = Rows::new();
    for row in &rows {
        let job = JobId::from_slice(&txn.get::<Vec<u8>>(row, 0)?)?;
        let Some(state) = State::from_code(txn.get(row, 3)?) else { continue };
        let epoch = match txn.get(row, 4) {
            Ok(epoch) => epoch,
            Err(error) => {
                tracing::error!(%job, ?error, "a final job can't be read and is not pruned");
                continue;
            }
        };
        // Names that can't be read are counted nowhere; the job goes all the same.
        if let (Ok(queue), Ok(kind)) = (row.try_get(1), row.try_get(2)) {
            txn.count(queue, kind, state, -1);
        }
        finished.guarded(&Guard { job, state, epoch, claim: None });
        gone.push(job);
    }
    let list = ids(gone.iter().map(JobId::as_bytes));
    let query = statement(include_str!("../sql/delete_belongings.sql"));
    txn.write(query.bind(list).bind(txn.now));
    txn.write(finished.guarded_query(include_str!("../sql/finished_delete.sql")));
    Ok(u64::try_from(gone.len()).unwrap_or(u64::MAX))
}

async fn events(txn: &mut Txn<'_>, keep: &Retention, limit: u32, more: &mut bool) -> Result<u64> {
    let Some(age) = keep.events else { return Ok(0) };
    let query = sqlx::query(include_str!("../sql/prune_events.sql"));
    let query = query.bind(txn.now.saturating_sub(micros(age))).bind(i64::from(limit) + 1);
    let rows = txn.fetch(query).await?;
    *more |= rows.len() > limit as usize;
    let numbers = rows.iter().take(limit as usize).map(|row| txn.get::<i64>(row, 0));
    let numbers = numbers.collect::<Result<Vec<_>>>()?;
    if numbers.is_empty() {
        return Ok(0);
    }
    let query = sqlx::query(include_str!("../sql/prune_events_delete.sql"));
    txn.execute(query.bind(format!("{numbers:?}"))).await?;
    Ok(u64::try_from(numbers.len()).unwrap_or(u64::MAX))
}

/// Announces blobs about to be written.
pub(crate) async fn stage(txn: &mut Txn<'_>, keys: &[BlobKey], ttl: Duration) -> Result<()> {
    let query = sqlx::query(include_str!("../sql/blobs_stage.sql"));
    let query = query.bind(texts(keys.iter().map(BlobKey::as_str)));
    txn.execute(query.bind(txn.now.saturating_add(micros(ttl)))).await?;
    Ok(())
}

/// Confirms that blobs are gone from the storage.
pub(crate) async fn deleted(txn: &mut Txn<'_>, keys: &[BlobKey]) -> Result<()> {
    let keys = texts(keys.iter().map(BlobKey::as_str));
    txn.execute(sqlx::query(include_str!("../sql/blobs_deleted.sql")).bind(keys)).await?;
    Ok(())
}
