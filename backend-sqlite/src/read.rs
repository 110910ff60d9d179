//! What is only read: listings, events, figures, workers.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use windlass_core::{
    Count, Cursor, Error, Event, EventFilter, EventPage, JobId, JobQuery, JobRecord, Kind, Order,
    Page, Position, QueueAge, QueueName, Result, State, Stats, StatsQuery, WorkerId, WorkerRecord,
};

use crate::SqliteBackend;
use crate::batch::{size, texts};
use crate::error::{column, map};
use crate::ops::change::bind_filter;
use crate::records::record;
use windlass_core::kit::feed::Entry;
use windlass_core::kit::trail;
use windlass_core::kit::{bad_json, damaged, unreadable};
use windlass_core::kit::{duration, timestamp};

/// Entries of the feed that one call looks at.
const STRETCH: usize = 256;

pub(crate) async fn list(backend: &SqliteBackend, query: &JobQuery) -> Result<Page<JobRecord>> {
    check_limit(backend, query.limit)?;
    let (sql, start) = match query.order {
        Order::NewestFirst => (include_str!("sql/list_newest.sql"), vec![0xff; 17]),
        Order::OldestFirst => (include_str!("sql/list_oldest.sql"), Vec::new()),
    };
    let after = query.after.map_or(start, |cursor| cursor.0.as_bytes().to_vec());
    let statement = sqlx::query(sql).bind(after).bind(size(query.limit) + 1);
    let rows = backend.readers.fetch("list", bind_filter(statement, &query.filter)).await?;
    let more = rows.len() > query.limit;
    let id = |row: &SqliteRow| JobId::from_slice(column(row, 0, "?", "id")?);
    let mut rows = rows.iter().map(|row| Ok((id(row)?, row))).collect::<Result<Vec<_>>>()?;
    match query.order {
        Order::NewestFirst => rows.sort_unstable_by_key(|(id, _)| std::cmp::Reverse(*id)),
        Order::OldestFirst => rows.sort_unstable_by_key(|(id, _)| *id),
    }
    rows.truncate(query.limit);
    let next = rows.last().filter(|_| more).map(|(id, _)| Cursor(*id));
    // One job that can't be read must not hide the others; `get` says what is wrong with it.
    let readable = |(_, row): &(JobId, &SqliteRow)| match record(row) {
        Ok(job) => Some(job),
        Err(error) => {
            tracing::error!(%error, "a job can't be read and is left out of a listing");
            None
        }
    };
    Ok(Page { items: rows.iter().filter_map(readable).collect(), next })
}

fn check_limit(backend: &SqliteBackend, limit: usize) -> Result<()> {
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

fn entry(row: &SqliteRow) -> sqlx::Result<Entry> {
    let job: Option<&[u8]> = row.try_get(2)?;
    let job = job.and_then(|id| JobId::from_slice(id).ok());
    Ok(Entry { seq: row.try_get(0)?, at: row.try_get(1)?, job, body: row.try_get(3)? })
}

/// The number of the entry that a position is in.
fn seq(position: Option<Position>) -> i64 {
    position.map_or(0, |p| i64::try_from(p.seq).unwrap_or(i64::MAX))
}

pub(crate) async fn history(
    backend: &SqliteBackend,
    id: JobId,
    after: Option<Position>,
    limit: usize,
) -> Result<EventPage> {
    check_limit(backend, limit)?;
    let bytes = id.as_bytes().to_vec();
    let query = sqlx::query(include_str!("sql/history_job.sql")).bind(bytes.clone());
    let rows = backend.readers.fetch("history", query).await?;
    let Some(row) = rows.first() else {
        return Ok(EventPage::new(Vec::new(), after, false, false));
    };
    let text = |n, name| column::<&str>(row, n, id, name);
    let kind = Kind::new(text(0, "kind")?).map_err(|e| damaged(id, "kind", e))?;
    let queue = QueueName::new(text(1, "queue")?).map_err(|e| damaged(id, "queue", e))?;
    let mut events = trail::events(text(2, "trail")?, id, &kind, &queue)?;
    events.retain(|event| after.is_none_or(|after| event.position > after));
    // Read after the job: what was added in between stands behind what was read.
    let query = sqlx::query(include_str!("sql/history.sql"));
    let query = query.bind(bytes).bind(seq(after)).bind(size(limit) + 1);
    for row in backend.readers.fetch("history", query).await? {
        events.extend(entry(&row).map_err(map("history"))?.events()?);
    }
    events.sort_by_key(|event| event.position);
    let more = events.len() > limit;
    events.truncate(limit);
    let next = events.last().map(|event| event.position).or(after);
    Ok(EventPage::new(events, next, false, more))
}

pub(crate) async fn events(
    backend: &SqliteBackend,
    filter: &EventFilter,
    after: Option<Position>,
    limit: usize,
) -> Result<EventPage> {
    check_limit(backend, limit)?;
    let query = sqlx::query(include_str!("sql/events.sql"));
    let query = query.bind(seq(after)).bind(size(STRETCH) + 1);
    let rows = backend.readers.fetch("events", query).await?;
    let mut page = EventPage::new(Vec::new(), after, false, rows.len() > STRETCH);
    let horizon = match rows.first() {
        Some(row) => row.try_get(4).map_err(map("events"))?,
        None => horizon(backend).await?,
    };
    page.gap = after.is_some() && seq(after) < horizon;
    for row in rows.iter().take(STRETCH) {
        let Some(found) = readable(row, &mut page.next)? else { continue };
        for event in found {
            if after.is_some_and(|after| event.position <= after) {
                continue;
            }
            if page.events.len() >= limit {
                page.more = true;
                return Ok(page);
            }
            page.next = Some(event.position);
            if filter.matches(&event) {
                page.events.push(event);
            }
        }
    }
    Ok(page)
}

/// The events of an entry. One that can't be read must not hold up its followers: they go on behind it.
fn readable(row: &SqliteRow, next: &mut Option<Position>) -> Result<Option<Vec<Event>>> {
    match entry(row).map_err(map("events")).and_then(|entry| entry.events()) {
        Ok(events) => Ok(Some(events)),
        Err(error) => {
            let seq: i64 = row.try_get(0).map_err(map("events"))?;
            tracing::error!(entry = seq, %error, "an entry of the feed can't be read and is left out");
            *next = (*next).max(Some(Entry::end(seq)));
            Ok(None)
        }
    }
}

async fn horizon(backend: &SqliteBackend) -> Result<i64> {
    let query = sqlx::query(include_str!("sql/horizon.sql"));
    let rows = backend.readers.fetch("events", query).await?;
    rows.first().map_or(Ok(0), |row| row.try_get(0).map_err(map("events")))
}

pub(crate) async fn tail(backend: &SqliteBackend) -> Result<Option<Position>> {
    let rows = backend.readers.fetch("tail", sqlx::query(include_str!("sql/tail.sql"))).await?;
    let mut end = None;
    let events = rows.first().map(|row| readable(row, &mut end)).transpose()?.flatten();
    let last = events.and_then(|events| Some(events.last()?.position)).or(end);
    // A feed that was pruned whole still has an end, behind the entries of single jobs that stay.
    let horizon = horizon(backend).await?;
    Ok(last.max((horizon > 0).then(|| Entry::end(horizon))))
}

/// The number of the last entry kept.
pub(crate) async fn last_seq(backend: &SqliteBackend) -> Result<Option<i64>> {
    let query = sqlx::query(include_str!("sql/last_seq.sql"));
    let rows = backend.readers.fetch("watch", query).await?;
    rows.first().map_or(Ok(None), |row| row.try_get(0).map_err(map("watch")))
}

/// Whether the feed goes on after a position.
pub(crate) async fn goes_on(backend: &SqliteBackend, after: Option<Position>) -> Result<bool> {
    let last = last_seq(backend).await?;
    Ok(last.is_some_and(|last| after.is_none() || last > seq(after)))
}

pub(crate) async fn stats(backend: &SqliteBackend, query: &StatsQuery) -> Result<Stats> {
    let now = backend.now("stats").await?;
    let queues = texts(query.queues.iter().map(|queue| queue.as_str()));
    let counts = sqlx::query(include_str!("sql/stats_counts.sql")).bind(queues.clone());
    let mut stats = Stats::default();
    for row in backend.readers.fetch("stats", counts).await? {
        stats.counts.push(count(&row)?);
    }
    stats.counts.sort_by(|a, b| (&a.queue, &a.kind, a.state).cmp(&(&b.queue, &b.kind, b.state)));
    let ages = sqlx::query(include_str!("sql/stats_ages.sql")).bind(now).bind(queues);
    for row in backend.readers.fetch("stats", ages).await? {
        match age(&row) {
            Ok(age) => stats.ages.push(age),
            Err(error) => tracing::error!(%error, "the name of a queue can't be read"),
        }
    }
    stats.ages.sort_by(|a, b| a.queue.cmp(&b.queue));
    Ok(stats)
}

fn count(row: &SqliteRow) -> Result<Count> {
    let text = |n: usize| row.try_get::<&str, _>(n).map_err(map("stats"));
    let int = |n: usize| row.try_get::<i64, _>(n).map_err(map("stats"));
    let state = State::from_code(int(2)?).ok_or_else(|| unreadable("a count", "unknown state"))?;
    Ok(Count {
        queue: QueueName::new(text(0)?)?,
        kind: Kind::new(text(1)?)?,
        state,
        jobs: u64::try_from(int(3)?).unwrap_or(0),
    })
}

fn age(row: &SqliteRow) -> Result<QueueAge> {
    let name: &str = row.try_get(0).map_err(map("stats"))?;
    let age = |n: usize| {
        let age: Option<i64> = row.try_get(n).map_err(map("stats"))?;
        Ok::<_, Error>(age.map(duration))
    };
    Ok(QueueAge {
        queue: QueueName::new(name)?,
        oldest_available: age(1)?,
        oldest_running: age(2)?,
    })
}

pub(crate) async fn workers(backend: &SqliteBackend) -> Result<Vec<WorkerRecord>> {
    let query = sqlx::query(include_str!("sql/workers.sql"));
    let rows = backend.readers.fetch("workers", query).await?;
    let read = |row: &SqliteRow| -> sqlx::Result<_> {
        let (id, name): (Vec<u8>, String) = (row.try_get(0)?, row.try_get(1)?);
        let (queues, times): (String, [i64; 3]) =
            (row.try_get(2)?, [row.try_get(3)?, row.try_get(4)?, row.try_get(5)?]);
        Ok((id, name, queues, times))
    };
    let worker = |row: &SqliteRow| {
        let (id, name, queues, [started, expires, running]) = read(row).map_err(map("workers"))?;
        Ok(WorkerRecord::new(
            WorkerId::from_slice(&id)?,
            name,
            serde_json::from_str(&queues).map_err(|e| unreadable("a worker", bad_json(&e)))?,
            timestamp(started),
            timestamp(expires),
            u64::try_from(running).unwrap_or(0),
        ))
    };
    rows.iter().map(worker).collect()
}
