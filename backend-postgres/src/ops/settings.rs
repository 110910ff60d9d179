//! Settings of queues.

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use windlass_core::{QueueChange, QueueName, QueueSettings, Result};

use crate::error::map;
use crate::sql::query;
use crate::txn::Txn;

/// Changes the settings of a queue. The row is locked first, so that of two changes at once the second sees the first.
pub(crate) async fn configure(
    txn: &mut Txn<'_>,
    name: &QueueName,
    change: &QueueChange,
) -> Result<QueueSettings> {
    let statement = query(&txn.sql.lock_queue).bind(name.as_str().to_owned());
    let rows = txn.fetch(statement).await?;
    let row = rows.first().ok_or_else(|| txn.unexpected("rows of a queue"))?;
    let (before, fresh) = (read_row(txn.during, row)?, txn.get::<bool>(row, 4)?);
    let mut after = change.apply(before.clone());
    after.concurrency = after.concurrency.map(|most| most.min(i32::MAX as u32));
    after.max_depth = after.max_depth.map(|depth| depth.min(i64::MAX as u64));
    if after == before && !fresh {
        return Ok(after);
    }
    let statement = query(&txn.sql.configure_queue)
        .bind(name.as_str().to_owned())
        .bind(after.paused)
        .bind(after.concurrency.map(|most| i32::try_from(most).unwrap_or(i32::MAX)))
        .bind(after.max_depth.map(|depth| i64::try_from(depth).unwrap_or(i64::MAX)));
    let changed = txn.execute(statement).await?;
    txn.check_rows("rows of a queue", changed, 1)?;
    txn.wake(name.as_str());
    Ok(after)
}

/// Reads name, pause, concurrency and maximum depth, the first columns of a row.
pub(crate) fn read_row(during: &'static str, row: &PgRow) -> Result<QueueSettings> {
    let decode = || {
        let (name, paused): (String, bool) = (row.try_get(0)?, row.try_get(1)?);
        let (concurrency, depth): (Option<i32>, Option<i64>) = (row.try_get(2)?, row.try_get(3)?);
        Ok((name, paused, concurrency, depth))
    };
    let (name, paused, concurrency, depth) = decode().map_err(map(during))?;
    let mut settings = QueueSettings::new(QueueName::new(name)?);
    settings.paused = paused;
    settings.concurrency = concurrency.and_then(|most| u32::try_from(most).ok());
    settings.max_depth = depth.and_then(|depth| u64::try_from(depth).ok());
    Ok(settings)
}
