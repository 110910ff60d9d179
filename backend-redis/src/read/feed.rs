//! The feed of all events, and the history of one job.

use redis::Value;
use windlass_core::kit::feed::Entry;
use windlass_core::kit::{damaged, trail, unreadable};
use windlass_core::{Event, EventFilter, EventPage, JobId, Kind, Position, QueueName, Result};

use super::{BYTES, check_limit};
use crate::backend::Inner;
use crate::changes;
use crate::script::Args;
use crate::wire::{self, Body};

/// Entries of the feed that one call looks at: as many as events are asked for, within these bounds.
const STRETCH: (usize, usize) = (16, 256);

/// The number of the entry that a position is in.
fn seq(position: Option<Position>) -> i64 {
    position.map_or(0, |p| i64::try_from(p.seq).unwrap_or(i64::MAX))
}

pub(crate) async fn history(
    inner: &Inner,
    id: JobId,
    after: Option<Position>,
    limit: usize,
) -> Result<EventPage> {
    check_limit(inner, limit)?;
    // One more than asked for, and one that may be the position itself.
    let args = Args::new().bytes(id.as_bytes()).int(seq(after)).int(limit + 2).int(BYTES);
    let found = wire::list(inner.read("history", &inner.scripts.history, args).await?)?;
    if found.is_empty() {
        return Ok(EventPage::new(Vec::new(), after, false, false));
    }
    let [body, changes, notes, cut] = wire::items(Value::Array(found))?;
    let cut = wire::int(&cut)? == 1;
    let body = wire::bytes(body)?;
    let body: Body = wire::unpack(id, "b", &body)?;
    let kind = Kind::new(&body.kind).map_err(|e| damaged(id, "kind", e))?;
    let queue = QueueName::new(&body.queue).map_err(|e| damaged(id, "queue", e))?;
    let changes = wire::text(changes).map_err(|_| damaged(id, "trail", "it is not text"))?;
    let mut events = trail::events(&changes, id, &kind, &queue)?;
    let mut last = None;
    for note in wire::list(notes)? {
        let note = self::note(id, &wire::text(note)?)?;
        last = note.last().map(|event| event.position).or(last);
        events.extend(note);
    }
    if cut {
        // What comes after the notes that were read may have others before it.
        events.retain(|event| last.is_some_and(|last| event.position <= last));
    }
    events.retain(|event| after.is_none_or(|after| event.position > after));
    events.sort_by_key(|event| event.position);
    let more = cut || events.len() > limit;
    events.truncate(limit);
    let next = events.last().map(|event| event.position).or(after);
    Ok(EventPage::new(events, next, false, more))
}

/// A note as it is kept with its job: number, time and body.
pub(crate) fn note(job: JobId, text: &str) -> Result<Vec<Event>> {
    let mut parts = text.splitn(3, ' ');
    let mut number = || parts.next().and_then(|part| part.parse::<i64>().ok());
    let (Some(seq), Some(at)) = (number(), number()) else {
        return Err(damaged(job, "notes", "a note has another shape"));
    };
    let body = parts.next().unwrap_or_default().to_owned();
    Entry { seq, at, job: Some(job), body }.events()
}

pub(crate) async fn events(
    inner: &Inner,
    filter: &EventFilter,
    after: Option<Position>,
    limit: usize,
) -> Result<EventPage> {
    check_limit(inner, limit)?;
    let stretch = limit.clamp(STRETCH.0, STRETCH.1);
    let Stretch { horizon, last, entries } =
        stretch_of(inner, "events", seq(after), stretch + 1).await?;
    let mut page = EventPage::new(Vec::new(), after, false, entries.len() > stretch);
    page.gap = after.is_some() && seq(after) < horizon;
    for entry in entries.iter().take(stretch) {
        let Some(found) = readable(entry, &mut page.next) else { continue };
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
    if entries.is_empty() && last > 0 && horizon > 0 {
        // Also where everything was pruned, lest the reader look for it again and again.
        page.next = page.next.max(Some(Entry::end(horizon)));
    }
    Ok(page)
}

/// The events of an entry in the order of their positions. One that can't be read must not hold up its followers: they go on behind it.
fn readable(entry: &Entry, next: &mut Option<Position>) -> Option<Vec<Event>> {
    match entry.events() {
        Ok(mut events) => {
            events.sort_by_key(|event| event.position);
            Some(events)
        }
        Err(error) => {
            tracing::error!(entry = entry.seq, %error, "an entry of the feed can't be read and is left out");
            *next = (*next).max(Some(Entry::end(entry.seq)));
            None
        }
    }
}

/// A piece of the feed.
struct Stretch {
    /// Up to where the feed was pruned.
    horizon: i64,
    /// The last number given, 0 for none.
    last: i64,
    entries: Vec<Entry>,
}

async fn stretch_of(
    inner: &Inner,
    during: &'static str,
    from: i64,
    most: usize,
) -> Result<Stretch> {
    let args = Args::new().int(from).int(most);
    let answer = inner.read(during, &inner.scripts.events, args).await?;
    let [horizon, last, entries] = wire::items(answer)?;
    let entries = wire::list(entries)?.into_iter().map(entry).collect::<Result<_>>()?;
    Ok(Stretch { horizon: wire::int(&horizon)?, last: wire::int(&last)?, entries })
}

/// An entry of the stream: its id, and names and values in turn.
pub(crate) fn entry(value: Value) -> Result<Entry> {
    let odd = || unreadable("an entry of the event feed", "it has another shape");
    let [id, fields] = wire::items(value)?;
    let id = wire::text(id)?;
    let seq = id.split('-').next().and_then(|seq| seq.parse().ok()).ok_or_else(odd)?;
    let mut entry = Entry { seq, at: seq, job: None, body: String::new() };
    let (mut fields, mut ids) = (wire::list(fields)?.into_iter(), None);
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        match wire::bytes(name)?.as_slice() {
            b"a" => entry.at = wire::int(&value)?,
            b"j" => entry.job = Some(JobId::from_slice(&wire::bytes(value)?)?),
            b"b" => entry.body = wire::text(value)?,
            b"i" => ids = Some(wire::bytes(value)?),
            _ => {}
        }
    }
    if let Some(ids) = ids {
        // A body whose ids don't fit stays as it is, which can't be read either.
        entry.body = changes::whole(&entry.body, &ids).unwrap_or(entry.body);
    }
    Ok(entry)
}

pub(crate) async fn tail(inner: &Inner) -> Result<Option<Position>> {
    let mut command = redis::cmd("XREVRANGE");
    command.arg(inner.key(":feed", b"")).arg("+").arg("-").arg("COUNT").arg(1);
    let last = wire::list(inner.command("tail", command).await?)?.into_iter().next();
    if let Some(last) = last {
        let mut end = None;
        let events = readable(&entry(last)?, &mut end);
        return Ok(events.and_then(|events| Some(events.last()?.position)).or(end));
    }
    // A feed that was pruned whole still has an end.
    let mut command = redis::cmd("HGET");
    command.arg(&inner.namespace).arg("horizon");
    let horizon = wire::maybe_bytes(inner.command("tail", command).await?)?;
    let horizon = horizon.map(|horizon| wire::int(&Value::BulkString(horizon))).transpose()?;
    Ok(horizon.map(Entry::end))
}

/// Whether the feed goes on after a position.
pub(crate) async fn goes_on(inner: &Inner, after: Option<Position>) -> Result<bool> {
    // An entry that holds the position may have more behind it; who reads there finds out.
    let from = if after.is_some() { seq(after).saturating_add(1) } else { 0 };
    Ok(!stretch_of(inner, "watch", from, 1).await?.entries.is_empty())
}
