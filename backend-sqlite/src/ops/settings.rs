//! Settings of queues.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use windlass_core::{QueueChange, QueueName, QueueSettings, Result};

use crate::batch::texts;
use crate::error::map;
use crate::txn::Txn;

/// Changes the settings of a queue.
pub(crate) async fn configure(
    txn: &mut Txn<'_>,
    name: &QueueName,
    change: &QueueChange,
) -> Result<QueueSettings> {
    let query = sqlx::query(include_str!("../sql/queue_settings.sql"));
    let rows = txn.fetch(query.bind(texts([name.as_str()]))).await?;
    let before = match rows.first() {
        Some(row) => read(txn.during, row)?,
        None => QueueSettings::new(name.clone()),
    };
    let after = change.apply(before.clone());
    if after == before && !rows.is_empty() {
        return Ok(after);
    }
    let query = sqlx::query(include_str!("../sql/configure_queue.sql"))
        .bind(name.as_str().to_owned())
        .bind(after.paused)
        .bind(after.concurrency)
        .bind(after.max_depth.map(|depth| i64::try_from(depth).unwrap_or(i64::MAX)));
    txn.execute(query).await?;
    txn.configured(name.as_str());
    Ok(after)
}

/// Reads a row of `queue_settings.sql`.
pub(crate) fn read(during: &'static str, row: &SqliteRow) -> Result<QueueSettings> {
    let decode = || {
        let name: String = row.try_get(0)?;
        let (paused, concurrency): (bool, Option<u32>) = (row.try_get(1)?, row.try_get(2)?);
        let depth: Option<i64> = row.try_get(3)?;
        Ok((name, paused, concurrency, depth))
    };
    let (name, paused, concurrency, depth) = decode().map_err(map(during))?;
    let mut settings = QueueSettings::new(QueueName::new(name)?);
    (settings.paused, settings.concurrency) = (paused, concurrency);
    settings.max_depth = depth.and_then(|depth| u64::try_from(depth).ok());
    Ok(settings)
}
