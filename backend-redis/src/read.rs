//! What is only read: jobs, listings, figures, workers.

pub(crate) mod feed;
pub(crate) mod stats;

use std::collections::BTreeMap;

use redis::Value;
use windlass_core::kit::{timestamp, unreadable};
use windlass_core::{
    Cursor, Error, JobId, JobQuery, JobRecord, Order, Page, QueueName, Result, WorkerId,
    WorkerRecord,
};

pub(crate) use self::feed::{events, goes_on, history, tail};
pub(crate) use self::stats::stats;
use crate::backend::Inner;
use crate::ops::change::packed_filter;
use crate::records::{FIELDS, Row};
use crate::script::Args;
use crate::wire;

/// Jobs that one script looks at for a listing: about a millisecond of the server's time.
const LOOK: usize = 250;
/// Workers that one script tells of, about.
const WORKERS: usize = 100;
/// Bytes of args and results, or of notes, that one script answers.
const BYTES: usize = 4 << 20;

/// A page holds something, and not too much.
fn check_limit(inner: &Inner, limit: usize) -> Result<()> {
    let most = inner.options.limits.batch;
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

pub(crate) async fn get(inner: &Inner, id: JobId) -> Result<Option<JobRecord>> {
    let mut command = redis::cmd("HMGET");
    command.arg(inner.key(":j:", id.as_bytes())).arg(&FIELDS);
    let row = Row::new(id, wire::items(inner.command("get", command).await?)?)?;
    if row.exists() { row.record().map(Some) } else { Ok(None) }
}

/// Pages through the ids until the page is full.
pub(crate) async fn list(inner: &Inner, query: &JobQuery) -> Result<Page<JobRecord>> {
    check_limit(inner, query.limit)?;
    let filter = packed_filter(&query.filter);
    let mut rows: Vec<Row> = Vec::new();
    let mut after = query.after.map(|cursor| cursor.0);
    let most = query.limit + 1;
    loop {
        let args = Args::new()
            .bytes(&filter)
            .int(u8::from(query.order == Order::NewestFirst))
            .bytes(after.as_ref().map_or(&[][..], |id| id.as_bytes()))
            .int(LOOK)
            .int(most - rows.len())
            .int(BYTES);
        let [last, found] = wire::items(inner.read("list", &inner.scripts.list, args).await?)?;
        for job in wire::list(found)? {
            rows.push(row(job)?);
        }
        let last = wire::bytes(last)?;
        if last.is_empty() || rows.len() >= most {
            break;
        }
        after = Some(JobId::from_slice(&last)?);
    }
    let more = rows.len() > query.limit;
    rows.truncate(query.limit);
    let next = rows.last().filter(|_| more).map(|row| Cursor(row.id));
    // One job that can't be read must not hide the others; `get` says what is wrong with it.
    let readable = |row: Row| match row.record() {
        Ok(job) => Some(job),
        Err(error) => {
            tracing::error!(%error, "a job can't be read and is left out of a listing");
            None
        }
    };
    Ok(Page { items: rows.into_iter().filter_map(readable).collect(), next })
}

pub(crate) fn row(job: Value) -> Result<Row> {
    let [id, values @ ..] = wire::items::<7>(job)?;
    Row::new(JobId::from_slice(&wire::bytes(id)?)?, values)
}

pub(crate) async fn workers(inner: &Inner) -> Result<Vec<WorkerRecord>> {
    let mut workers = BTreeMap::new();
    let mut at = b"0".to_vec();
    loop {
        let args = Args::new().bytes(at).int(WORKERS);
        let page = inner.read("workers", &inner.scripts.workers, args).await?;
        let [next, found] = wire::items(page)?;
        for value in wire::list(found)? {
            let worker = worker(value)?;
            workers.insert(worker.id, worker);
        }
        at = wire::bytes(next)?;
        if at == b"0" {
            return Ok(workers.into_values().collect());
        }
    }
}

pub(crate) fn worker(value: Value) -> Result<WorkerRecord> {
    let [id, described, expires, running] = wire::items(value)?;
    let odd = |_| unreadable("a worker", "its description has another shape");
    let described = wire::bytes(described)?;
    let (started, _lease, name, queues) =
        rmp_serde::from_slice::<(i64, serde::de::IgnoredAny, String, Vec<String>)>(&described)
            .map_err(odd)?;
    Ok(WorkerRecord::new(
        WorkerId::from_slice(&wire::bytes(id)?)?,
        name,
        queues.into_iter().map(QueueName::new).collect::<Result<_>>()?,
        timestamp(started),
        timestamp(wire::int(&expires)?),
        wire::count(&running)?,
    ))
}
