//! The event feed and the histories of jobs.
//!
//! Entries are numbered before they are committed. So a reader first asks up to which number the feed is settled and then, by another
//! statement with a later view, reads no further.

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;
use windlass_core::kit::feed::Entry;
use windlass_core::kit::{damaged, trail, unreadable};
use windlass_core::{Event, EventFilter, EventPage, JobId, Kind, Position, QueueName, Result};

use super::check_limit;
use crate::PostgresBackend;
use crate::error::map;
use crate::sql::{query, size};

/// Entries of the feed that one call looks at.
const STRETCH: usize = 256;
/// Bytes of bodies after which a call begins no other entry.
const STRETCH_BYTES: usize = 16 << 20;

/// The number of the entry that a position is in.
fn number(position: Option<Position>) -> i64 {
    position.map_or(0, |p| i64::try_from(p.seq).unwrap_or(i64::MAX))
}

/// Up to which entry the feed is settled, for statements that start from here on.
async fn settled(backend: &PostgresBackend, during: &'static str) -> Result<i64> {
    let rows = backend.session.fetch(during, query(&backend.sql.settled)).await?;
    let row = rows.first().ok_or_else(|| unreadable("the event feed", "it has no number"))?;
    // NULL only if the feed's sequence were empty, which it never is.
    Ok(row.try_get::<Option<i64>, _>(0).map_err(map(during))?.unwrap_or(0))
}

/// Reads an entry from the columns `seq, at, job, body` that begin at `first`.
fn entry(row: &PgRow, first: usize) -> sqlx::Result<Entry> {
    let job: Option<Uuid> = row.try_get(first + 2)?;
    Ok(Entry {
        seq: row.try_get(first)?,
        at: row.try_get(first + 1)?,
        job: job.map(JobId::from_uuid),
        body: row.try_get(first + 3)?,
    })
}

pub(crate) async fn history(
    backend: &PostgresBackend,
    id: JobId,
    after: Option<Position>,
    limit: usize,
) -> Result<EventPage> {
    check_limit(backend, limit)?;
    let statement = query(&backend.sql.history);
    let statement = statement.bind(*id.as_uuid()).bind(number(after)).bind(size(limit) + 1);
    let rows = backend.session.fetch("history", statement).await?;
    let mut events = Vec::new();
    let mut known = false;
    let (mut looked, mut end) = (0, after);
    for row in &rows {
        match row.try_get(0).map_err(map("history"))? {
            None => {
                known = true;
                events.extend(own(row, id)?);
            }
            Some(seq) => {
                let at = row.try_get(1).map_err(map("history"))?;
                let body = row.try_get(2).map_err(map("history"))?;
                events.extend(readable(&Entry { seq, at, job: Some(id), body }));
                looked += 1;
                end = Some(Entry::end(seq));
            }
        }
    }
    if !known {
        return Ok(EventPage::new(Vec::new(), after, false, false));
    }
    // Behind the last single entry of a full page there may be others.
    let full = looked > limit;
    events.retain(|event| after.is_none_or(|after| event.position > after));
    events.retain(|event| !full || Some(event.position) <= end);
    events.sort_by_key(|event| event.position);
    let more = full || events.len() > limit;
    let next = if events.len() > limit {
        events.truncate(limit);
        events.last().map(|event| event.position)
    } else if full {
        end
    } else {
        events.last().map(|event| event.position).or(after)
    };
    Ok(EventPage::new(events, next, false, more))
}

/// The events of an entry. One that can't be read must not hold up those who follow the feed: they go on behind it.
fn readable(entry: &Entry) -> Vec<Event> {
    entry.events().unwrap_or_else(|error| {
        tracing::error!(entry = entry.seq, %error, "an entry of the feed can't be read and is left out");
        Vec::new()
    })
}

/// The state changes that the job's own row tells of.
fn own(row: &PgRow, id: JobId) -> Result<Vec<Event>> {
    let text = |n: usize| row.try_get::<&str, _>(n).map_err(map("history"));
    let kind = Kind::new(text(3)?).map_err(|error| damaged(id, "kind", error))?;
    let queue = QueueName::new(text(4)?).map_err(|error| damaged(id, "queue", error))?;
    trail::events(text(2)?, id, &kind, &queue)
}

pub(crate) async fn events(
    backend: &PostgresBackend,
    filter: &EventFilter,
    after: Option<Position>,
    limit: usize,
) -> Result<EventPage> {
    check_limit(backend, limit)?;
    let settled = settled(backend, "events").await?;
    let statement = query(&backend.sql.events);
    let statement = statement.bind(number(after)).bind(settled).bind(size(STRETCH) + 1);
    let rows = backend.session.fetch("events", statement.bind(size(STRETCH_BYTES))).await?;
    let mut page = EventPage::new(Vec::new(), after, false, rows.len() > STRETCH);
    let mut bytes = 0;
    if let Some(row) = rows.first() {
        let horizon: i64 = row.try_get(0).map_err(map("events"))?;
        page.gap = after.is_some() && number(after) < horizon;
    }
    for row in rows.iter().take(STRETCH) {
        let seq: Option<i64> = row.try_get(1).map_err(map("events"))?;
        if seq.is_none() {
            break; // it tells of the horizon alone
        }
        let entry = entry(row, 1).map_err(map("events"))?;
        bytes += entry.body.len();
        page.more |= bytes >= STRETCH_BYTES;
        let found = readable(&entry);
        if found.is_empty() {
            page.next = page.next.max(Some(Entry::end(entry.seq)));
        }
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

pub(crate) async fn tail(backend: &PostgresBackend) -> Result<Option<Position>> {
    let settled = settled(backend, "tail").await?;
    let statement = query(&backend.sql.tail).bind(settled);
    let rows = backend.session.fetch("tail", statement).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let entry = entry(row, 0).map_err(map("tail"))?;
    let last = readable(&entry).last().map(|event| event.position);
    Ok(last.or_else(|| Some(Entry::end(entry.seq))))
}

/// Whether there are entries after a position that can be read by now.
pub(crate) async fn goes_on(backend: &PostgresBackend, after: Option<Position>) -> Result<bool> {
    let settled = settled(backend, "watch").await?;
    let statement = query(&backend.sql.goes_on).bind(number(after)).bind(settled);
    let rows = backend.session.fetch("watch", statement).await?;
    rows.first().map_or(Ok(false), |row| row.try_get(0).map_err(map("watch")))
}
