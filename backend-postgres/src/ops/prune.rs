//! Removes what is past its retention. Several processes may do so at once: each passes over what another has in hand.

use std::time::Duration;

use uuid::Uuid;
use windlass_core::kit::micros;
use windlass_core::{BlobKey, JobId, Pruned, Result, Retention, State};

use super::blobs::release;
use crate::sql::{query, size};
use crate::txn::{Txn, uuids};

/// Positions among the times from which to look, and up to which nothing is left.
pub(crate) type Times<T> = [T; 4];

/// The final states, in the order of [`Times`]; the feed comes last.
const STATES: [State; 3] = [State::Completed, State::Cancelled, State::Discarded];

/// Removes final jobs and feed entries past their retention, and names blobs to delete. Tells how far it got.
pub(crate) async fn prune(
    txn: &mut Txn<'_>,
    keep: &Retention,
    limit: u32,
    from: &Times<i64>,
) -> Result<(Pruned, Times<Option<i64>>)> {
    let (mut done, mut upto) = (Pruned::default(), [None; 4]);
    done.jobs = jobs(txn, keep, limit, from, (&mut done.more, &mut upto)).await?;
    done.events = events(txn, keep, limit, from[3], (&mut done.more, &mut upto[3])).await?;
    done.blobs = blobs(txn, &mut done.more).await?;
    Ok((done, upto))
}

async fn jobs(
    txn: &mut Txn<'_>,
    keep: &Retention,
    limit: u32,
    from: &Times<i64>,
    (more, upto): (&mut bool, &mut Times<Option<i64>>),
) -> Result<u64> {
    let before = STATES.map(|state| keep.of(state).map(|age| txn.now.saturating_sub(micros(age))));
    let statement = query(&txn.sql.prune_jobs).bind(before[0]).bind(before[1]).bind(before[2]);
    let statement = statement.bind(i64::from(limit) + 1).bind(from[0]).bind(from[1]).bind(from[2]);
    let mut rows = txn.fetch(statement).await?;
    let full = rows.len() > limit as usize;
    *more |= full;
    rows.truncate(limit as usize);
    // They come by age, whatever their state.
    let last = match rows.last().filter(|_| full) {
        Some(row) => txn.get(row, 4)?,
        None => i64::MAX,
    };
    for (upto, before) in upto.iter_mut().zip(before) {
        *upto = before.map(|before| before.min(last));
    }
    if rows.is_empty() {
        return Ok(0);
    }
    // Their unique keys were freed when they finished, all but windows, which are not to end now.
    let mut gone = Vec::with_capacity(rows.len());
    for row in &rows {
        let (queue, kind): (&str, &str) = (txn.get(row, 1)?, txn.get(row, 2)?);
        if let Some(state) = State::from_code(i64::from(txn.get::<i16>(row, 3)?)) {
            txn.count(queue, kind, state, -1);
        }
        gone.push(JobId::from_uuid(txn.get::<Uuid>(row, 0)?));
    }
    release(txn, &gone).await?;
    let statement = query(&txn.sql.delete_jobs).bind(uuids(&gone));
    let deleted: i64 = match txn.fetch(statement).await?.first() {
        Some(row) => txn.get(row, 0)?,
        None => 0,
    };
    txn.check_rows("jobs removed", deleted.unsigned_abs(), gone.len())?;
    Ok(deleted.unsigned_abs())
}

async fn events(
    txn: &mut Txn<'_>,
    keep: &Retention,
    limit: u32,
    from: i64,
    (more, upto): (&mut bool, &mut Option<i64>),
) -> Result<u64> {
    let Some(age) = keep.events else { return Ok(0) };
    let before = txn.now.saturating_sub(micros(age));
    let statement = query(&txn.sql.prune_events).bind(before).bind(i64::from(limit)).bind(from);
    let rows = txn.fetch(statement).await?;
    let Some(row) = rows.first() else { return Ok(0) };
    *more |= txn.get::<bool>(row, 1)?;
    *upto = txn.get::<Option<i64>>(row, 2)?;
    Ok(txn.get::<i64>(row, 0)?.unsigned_abs())
}

async fn blobs(txn: &mut Txn<'_>, more: &mut bool) -> Result<Vec<BlobKey>> {
    let most = txn.limits.batch;
    let statement = query(&txn.sql.prune_blobs).bind(txn.now).bind(size(most) + 1);
    let rows = txn.fetch(statement).await?;
    *more |= rows.len() > most;
    let (mut named, mut first) = (Vec::new(), Vec::new());
    for row in rows.iter().take(most) {
        let key: &str = txn.get(row, 0)?;
        if txn.get(row, 1)? {
            first.push(key.to_owned());
        }
        named.push(BlobKey::new(key)?);
    }
    if !first.is_empty() {
        let statement = query(&txn.sql.blobs_named).bind(first).bind(txn.now);
        txn.execute(statement).await?;
    }
    Ok(named)
}

/// Announces blobs about to be written.
pub(crate) async fn stage(txn: &mut Txn<'_>, keys: &[BlobKey], ttl: Duration) -> Result<()> {
    let statement = query(&txn.sql.blobs_stage).bind(texts(keys)).bind(micros(ttl));
    txn.execute(statement).await?;
    Ok(())
}

/// Confirms that blobs are gone from the storage.
pub(crate) async fn deleted(txn: &mut Txn<'_>, keys: &[BlobKey]) -> Result<()> {
    let statement = query(&txn.sql.blobs_deleted).bind(texts(keys));
    txn.execute(statement).await?;
    Ok(())
}

fn texts(keys: &[BlobKey]) -> Vec<String> {
    keys.iter().map(|key| key.as_str().to_owned()).collect()
}
