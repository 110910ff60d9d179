//! What is only read: jobs, settings of queues, workers.

mod feed;
mod list;
mod stats;

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;
use windlass_core::kit::timestamp;
use windlass_core::{
    Error, JobId, JobRecord, QueueName, QueueSettings, Result, WorkerId, WorkerRecord,
};

pub(crate) use self::feed::{events, goes_on, history, tail};
pub(crate) use self::list::list;
pub(crate) use self::stats::stats;
use crate::PostgresBackend;
use crate::error::map;
use crate::ops::settings::read_row;
use crate::records::record;
use crate::sql::query;

/// Names as an array.
pub(crate) fn names(queues: &[QueueName]) -> Vec<String> {
    queues.iter().map(|queue| queue.as_str().to_owned()).collect()
}

/// What was read; when it can't be, that is logged, and the rest is read all the same.
fn passed_over<T>(what: &'static str, read: Result<T>) -> Option<T> {
    read.inspect_err(|error| tracing::error!(%error, "{what}")).ok()
}

/// A page holds something, and not too much.
fn check_limit(backend: &PostgresBackend, limit: usize) -> Result<()> {
    let most = backend.options.limits.batch;
    if limit == 0 {
        return Err(Error::invalid("page limit", "0 given; ask for at least 1"));
    }
    if limit > most {
        return Err(Error::LimitExceeded {
            what: "items in one page".into(),
            actual: limit as u64,
            limit: most as u64,
            hint: "read several pages".into(),
        });
    }
    Ok(())
}

pub(crate) async fn get(backend: &PostgresBackend, id: JobId) -> Result<Option<JobRecord>> {
    let statement = query(&backend.sql.get).bind(*id.as_uuid());
    let rows = backend.session.fetch("get", statement).await?;
    rows.first().map(|row| record("get", row)).transpose()
}

pub(crate) async fn queue_settings(
    backend: &PostgresBackend,
    queues: &[QueueName],
) -> Result<Vec<QueueSettings>> {
    let statement = query(&backend.sql.queue_settings).bind(names(queues));
    let rows = backend.session.fetch("queue_settings", statement).await?;
    let read = |row| {
        let what = "the settings of a queue can't be read and are left out";
        passed_over(what, read_row("queue_settings", row))
    };
    let stored: Vec<QueueSettings> = rows.iter().filter_map(read).collect();
    if queues.is_empty() {
        return Ok(stored);
    }
    let of = |name: &QueueName| {
        let found = stored.iter().find(|settings| settings.name == *name);
        found.cloned().unwrap_or_else(|| QueueSettings::new(name.clone()))
    };
    Ok(queues.iter().map(of).collect())
}

pub(crate) async fn workers(backend: &PostgresBackend) -> Result<Vec<WorkerRecord>> {
    let rows = backend.session.fetch("workers", query(&backend.sql.workers)).await?;
    let read = |row| passed_over("a worker can't be read and is left out", worker(row));
    Ok(rows.iter().filter_map(read).collect())
}

fn worker(row: &PgRow) -> Result<WorkerRecord> {
    let int = |n: usize| row.try_get::<i64, _>(n).map_err(map("workers"));
    let id: Uuid = row.try_get(0).map_err(map("workers"))?;
    let queues: Vec<String> = row.try_get(2).map_err(map("workers"))?;
    Ok(WorkerRecord::new(
        WorkerId::from_uuid(id),
        row.try_get(1).map_err(map("workers"))?,
        queues.into_iter().map(QueueName::new).collect::<Result<_>>()?,
        timestamp(int(3)?),
        timestamp(int(4)?),
        u64::try_from(int(5)?).unwrap_or(0),
    ))
}
