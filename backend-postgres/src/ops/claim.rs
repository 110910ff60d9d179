//! Claims: one statement per queue, which stands for itself.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::de::DeserializeOwned;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;
use windlass_core::kit::{bad_json, duration, timestamp, unreadable};
use windlass_core::{
    ClaimRequest, Encoding, Epoch, Error, JobId, JobRecord, Kind, Lane, Lease, LeaseKey, Payload,
    Priority, QueueName, QueueSlots, Result, Tag,
};

use super::bounds::{Brought, Look, Range, Seen};
use super::heads::worth_a_look;
use super::under_way::Entry;
use crate::PostgresBackend;
use crate::error::{NAME, map};
use crate::sql::query;

/// Takes available jobs for a worker, in a task of its own, which ends what it began whether or not the caller waits.
pub(crate) async fn claim(backend: &PostgresBackend, request: &ClaimRequest) -> Result<Taken> {
    if request.resend {
        backend.claims.clear(request.claim_id).await;
    }
    let (backend, request) = (backend.clone(), request.clone());
    let under_way = Entry::new(backend.claims.clone(), request.claim_id);
    let task = tokio::spawn(async move {
        let _under_way = under_way;
        take(&backend, &request).await
    });
    match task.await {
        Ok(taken) => taken,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Error::Closed(NAME)),
        },
    }
}

/// What a claim brought.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) leases: Vec<Lease>,
    /// Jobs that were taken and can't be read, and why.
    pub(crate) damaged: Vec<(LeaseKey, Error)>,
    /// Jobs whose trail has become too long.
    pub(crate) long: Vec<JobId>,
    /// Queues that gave less than they were asked for, and in which another look may bring more: a sweep once it is time for one, or what failed.
    pub(crate) unswept: Vec<QueueName>,
}

/// Takes available jobs for a worker. An error after something was taken is not told: what was taken counts.
async fn take(backend: &PostgresBackend, request: &ClaimRequest) -> Result<Taken> {
    if request.resend {
        let taken = resent(backend, request).await?;
        if !taken.leases.is_empty() || !taken.damaged.is_empty() {
            return Ok(taken);
        }
    }
    let mut room: HashMap<Kind, u32> = HashMap::new();
    for slots in &request.kinds {
        room.insert(slots.kind.clone(), slots.limit.unwrap_or(u32::MAX));
    }
    let mut taken = Taken::default();
    let mut queues = worth_a_look(backend, request, &mut taken.unswept).await?.into_iter();
    while let Some(slots) = queues.next() {
        match from_queue(backend, request, slots, &room).await {
            Ok(found) => taken.add(found, &mut room),
            Err(error) if taken.is_empty() => return Err(error),
            Err(error) => {
                tracing::warn!(queue = %slots.queue, %error, "a claim brings less than there is");
                let rest = queues.map(|slots| &slots.queue);
                taken.unswept.extend(std::iter::once(&slots.queue).chain(rest).cloned());
                break;
            }
        }
    }
    Ok(taken)
}

impl Taken {
    fn is_empty(&self) -> bool {
        self.leases.is_empty() && self.damaged.is_empty()
    }

    fn add(&mut self, found: Self, room: &mut HashMap<Kind, u32>) {
        for lease in &found.leases {
            if let Some(room) = room.get_mut(&lease.kind) {
                *room = room.saturating_sub(1);
            }
        }
        self.leases.extend(found.leases);
        self.damaged.extend(found.damaged);
        self.long.extend(found.long);
        self.unswept.extend(found.unswept);
    }
}

/// A column of an answer to a claim.
pub(super) fn column<'r, T>(row: &'r PgRow, n: usize) -> Result<T>
where
    T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    row.try_get(n).map_err(map("claim"))
}

pub(super) fn lane(request: &ClaimRequest) -> i16 {
    i16::from(request.lane == Lane::Quarantine)
}

/// Takes jobs from one queue.
async fn from_queue(
    backend: &PostgresBackend,
    request: &ClaimRequest,
    slots: &QueueSlots,
    room: &HashMap<Kind, u32>,
) -> Result<Taken> {
    let (bounds, queue) = (&backend.bounds, &slots.queue);
    let first = bounds.first(queue, request.lane);
    let mut taken = look(backend, request, slots, room, first).await?;
    let count =
        |taken: &Taken| u32::try_from(taken.leases.len() + taken.damaged.len()).unwrap_or(u32::MAX);
    let mut short = count(&taken) < slots.limit;
    let above = short && first == Look::Above;
    if above && !bounds.sweep_now(queue, request.lane) {
        taken.unswept.push(queue.clone());
    } else if above {
        let mut room = room.clone();
        let left = slots.limit - count(&taken);
        let mut sum = Taken::default();
        sum.add(std::mem::take(&mut taken), &mut room);
        taken = sum;
        let rest = QueueSlots { queue: queue.clone(), limit: left };
        match look(backend, request, &rest, &room, Look::Sweep).await {
            Ok(found) => taken.add(found, &mut room),
            Err(error) if taken.is_empty() => return Err(error),
            Err(error) => {
                tracing::warn!(%queue, %error, "a claim brings less than there is");
                taken.unswept.push(queue.clone());
            }
        }
        short = count(&taken) < slots.limit;
        taken.leases.sort_by_key(|lease| lease.priority);
    }
    bounds.ended(queue, request.lane, short);
    Ok(taken)
}

/// One look at a queue.
async fn look(
    backend: &PostgresBackend,
    request: &ClaimRequest,
    slots: &QueueSlots,
    room: &HashMap<Kind, u32>,
    look: Look,
) -> Result<Taken> {
    let mut ranges: Vec<(&Kind, Range, i32)> = Vec::new();
    for (kind, most) in room.iter().filter(|(_, most)| **most > 0) {
        let most = i32::try_from(*most).unwrap_or(i32::MAX);
        let stretches = backend.bounds.ranges(&slots.queue, request.lane, kind, look);
        ranges.extend(stretches.into_iter().map(|range| (kind, range, most)));
    }
    let statement = || {
        let limit = i32::try_from(slots.limit).unwrap_or(i32::MAX);
        let above = ranges.iter().map(|(_, range, _)| range.0).collect::<Vec<_>>();
        let upto = ranges.iter().map(|(_, range, _)| range.1).collect::<Vec<_>>();
        let claim = |text| {
            query(text)
                .bind(*request.worker.as_uuid())
                .bind(*request.claim_id.as_uuid())
                .bind(slots.queue.as_str().to_owned())
                .bind(lane(request))
        };
        if let Some((kind, _, most)) = ranges.first()
            && ranges.iter().all(|range| range.0 == *kind)
        {
            return claim(&backend.sql.claim_one)
                .bind(kind.as_str().to_owned())
                .bind(above)
                .bind(upto)
                .bind(limit.min(*most))
                .bind(encodings());
        }
        claim(&backend.sql.claim)
            .bind(ranges.iter().map(|(kind, ..)| kind.as_str().to_owned()).collect::<Vec<_>>())
            .bind(above)
            .bind(upto)
            .bind(ranges.iter().map(|(.., most)| *most).collect::<Vec<_>>())
            .bind(limit)
            .bind(encodings())
    };
    let rows = backend.short("claim", statement).await?;
    let mut rows = rows.iter();
    let Some((true, turn, cost)) = rows.next().map(claimed).transpose()? else {
        return Err(Error::WorkerExpired { worker: request.worker });
    };
    let (taken, seen) =
        read(request, Some(&slots.queue), rows, backend.options.limits.state_events_per_job)?;
    let full = seen.len() >= slots.limit as usize;
    let of = |kind: &Kind| seen.iter().filter(|seen| seen.kind == *kind).count();
    let kind_full =
        |kind: &Kind| full || room.get(kind).is_some_and(|most| of(kind) >= *most as usize);
    let kinds = room.iter().filter(|(_, most)| **most > 0).map(|(kind, _)| kind);
    let brought = Brought { jobs: &seen, cost, turn };
    backend.bounds.looked(&slots.queue, request.lane, look, kinds, &brought, kind_full);
    Ok(taken)
}

/// What the first row says of a claim: whether the worker has a lease, the last turn given out, how long the look took.
fn claimed(row: &PgRow) -> Result<(bool, Option<i64>, Duration)> {
    Ok((column(row, 0)?, column(row, 2)?, duration(column(row, 17)?)))
}

/// The encodings that this library knows.
fn encodings() -> Vec<i16> {
    (0..=i16::from(u8::MAX)).filter(|code| Encoding::from_code((*code).into()).is_some()).collect()
}

/// Reads the jobs that an earlier sending of this claim took.
async fn resent(backend: &PostgresBackend, request: &ClaimRequest) -> Result<Taken> {
    let statement = query(&backend.sql.claim_resend)
        .bind(*request.worker.as_uuid())
        .bind(*request.claim_id.as_uuid());
    let rows = backend.session.fetch("claim", statement).await?;
    let (mut taken, _) = read(request, None, rows.iter(), usize::MAX)?;
    let place = |lease: &Lease| request.queues.iter().position(|slots| slots.queue == lease.queue);
    taken.leases.sort_by_key(&place);
    Ok(taken)
}

/// Reads claimed jobs in the order of their ranks. Those of `claim.sql` are all of one queue; `claim_resend.sql` names it.
fn read<'r>(
    request: &ClaimRequest,
    queue: Option<&QueueName>,
    rows: impl Iterator<Item = &'r PgRow>,
    full: usize,
) -> Result<(Taken, Vec<Seen>)> {
    let (mut taken, mut seen, mut ranked) = (Taken::default(), Vec::new(), Vec::new());
    for row in rows {
        let columns = Columns::read(row, queue).map_err(map("claim"))?;
        let key = LeaseKey {
            job: JobId::from_uuid(columns.id),
            epoch: Epoch(u32::try_from(columns.epoch).unwrap_or(u32::MAX)),
            claim_id: request.claim_id,
        };
        if usize::try_from(columns.changes).is_ok_and(|changes| changes > full) {
            taken.long.push(key.job);
        }
        let rank = columns.rank;
        match columns.lease(key) {
            Ok(lease) => {
                seen.push(Seen { kind: lease.kind.clone(), rank });
                ranked.push((rank, lease));
            }
            Err(error) => taken.damaged.push((key, error)),
        }
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    taken.leases = ranked.into_iter().map(|(_, lease)| lease).collect();
    Ok((taken, seen))
}

/// The columns of `claim.sql` and `claim_one.sql`.
struct Columns {
    id: Uuid,
    epoch: i64,
    kind: String,
    encoding: i16,
    args: Vec<u8>,
    meta: Option<String>,
    tags: Option<Vec<String>>,
    priority: i16,
    counters: [i32; 4],
    timeout: Option<i64>,
    progress: Option<String>,
    created_at: i64,
    due_at: i64,
    rank: i64,
    changes: i32,
    queue: String,
}

impl Columns {
    fn read(row: &PgRow, queue: Option<&QueueName>) -> sqlx::Result<Self> {
        let queue = match queue {
            Some(queue) => queue.as_str().to_owned(),
            None => row.try_get(19)?,
        };
        Ok(Self {
            id: row.try_get(1)?,
            epoch: row.try_get(2)?,
            kind: row.try_get(3)?,
            encoding: row.try_get(4)?,
            args: row.try_get(5)?,
            meta: row.try_get(6)?,
            tags: row.try_get(7)?,
            priority: row.try_get(8)?,
            counters: [row.try_get(9)?, row.try_get(10)?, row.try_get(11)?, row.try_get(12)?],
            timeout: row.try_get(13)?,
            progress: row.try_get(14)?,
            created_at: row.try_get(15)?,
            due_at: row.try_get(16)?,
            rank: row.try_get::<Option<i64>, _>(17)?.unwrap_or(0),
            changes: row.try_get(18)?,
            queue,
        })
    }

    fn lease(self, key: LeaseKey) -> Result<Lease> {
        let encoding = Encoding::from_code(self.encoding.into())
            .ok_or_else(|| unreadable("args", "their encoding is unknown"))?;
        let args = Payload { encoding, bytes: self.args.into() };
        let (kind, queue) = (Kind::new(&self.kind)?, QueueName::new(&self.queue)?);
        let mut record = JobRecord::new(key.job, kind, queue, args, timestamp(self.created_at));
        record.meta = json_or("metadata", self.meta.as_deref(), BTreeMap::new)?;
        record.tags =
            self.tags.unwrap_or_default().into_iter().map(Tag::new).collect::<Result<_>>()?;
        record.progress = json_or("progress", self.progress.as_deref(), || None)?;
        record.priority = Priority(self.priority);
        let count = |n: i32| u32::try_from(n).unwrap_or(0);
        let [attempt, max_attempts, snoozes, crashes] = self.counters;
        (record.attempt, record.max_attempts) = (count(attempt), count(max_attempts));
        (record.snoozes, record.crashes) = (count(snoozes), count(crashes));
        record.timeout = self.timeout.map(duration);
        record.due_at = timestamp(self.due_at);
        Ok(Lease::of(&record, key))
    }
}

fn json_or<T: DeserializeOwned>(
    what: &'static str,
    text: Option<&str>,
    none: impl FnOnce() -> T,
) -> Result<T> {
    match text {
        Some(text) => serde_json::from_str(text).map_err(|e| unreadable(what, bad_json(&e))),
        None => Ok(none()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f52_what_is_wrong_with_a_column_is_told_without_its_content() {
        for text in ["{\"a\":7}", "{\"secret\":7}", "\"secret\"", "{\"secret"] {
            let read = json_or::<BTreeMap<String, String>>("metadata", Some(text), BTreeMap::new);
            let error = read.unwrap_err();
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert!(!format!("{error:?} {source}").contains("secret"), "{source}");
            assert!(!source.contains("`7`"), "{source}");
        }
    }
}
