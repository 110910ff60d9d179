//! Claims.

use std::collections::{BTreeMap, HashMap};

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use windlass_core::{
    Cause, ClaimRequest, Claimed, Encoding, Epoch, Error, JobId, JobRecord, Kind, Lane, Lease,
    LeaseKey, Payload, Priority, QueueName, QueueSlots, Result, State,
};

use crate::batch::{Rows, texts};
use crate::clock::{duration, timestamp};
use crate::error::unreadable;
use crate::feed::{self, Fact, cause_code};
use crate::ops::apply::trim;
use crate::ops::unique;
use crate::txn::Txn;

/// Takes available jobs for a worker.
pub(crate) async fn claim(txn: &mut Txn<'_>, request: &ClaimRequest) -> Result<Claimed> {
    let heads = heads(txn, request).await?;
    if request.resend {
        let leases = resent(txn, request).await?;
        if !leases.is_empty() {
            return Ok(Claimed::new(leases));
        }
    }
    let mut room: HashMap<&str, u32> = HashMap::new();
    for slots in &request.kinds {
        room.insert(slots.kind.as_str(), slots.limit.unwrap_or(u32::MAX));
    }
    let mut leases = Vec::new();
    for (number, slots) in request.queues.iter().enumerate() {
        let ready: Vec<(&str, i64)> = heads
            .iter()
            .filter(|head| head.queue == number)
            .filter_map(|head| Some((request.kinds.get(head.kind)?.kind.as_str(), head.rank)))
            .filter(|(kind, _)| room.get(kind).is_some_and(|room| *room > 0))
            .collect();
        if ready.is_empty() || slots.limit == 0 {
            continue;
        }
        let taken = take(txn, request, slots, &ready, &room).await?;
        for job in &taken {
            if let Some(room) = room.get_mut(job.lease.kind.as_str()) {
                *room = room.saturating_sub(1);
            }
        }
        leases.extend(taken.into_iter().map(|job| job.lease));
    }
    Ok(Claimed::new(leases))
}

/// A kind that is ready in a queue, both by their number in the request.
struct Head {
    queue: usize,
    kind: usize,
    rank: i64,
}

async fn heads(txn: &mut Txn<'_>, request: &ClaimRequest) -> Result<Vec<Head>> {
    let query = sqlx::query(include_str!("../sql/claim_heads.sql"))
        .bind(request.worker.as_bytes().to_vec())
        .bind(txn.now)
        .bind(texts(request.queues.iter().map(|slots| slots.queue.as_str())))
        .bind(texts(request.kinds.iter().map(|slots| slots.kind.as_str())))
        .bind(i64::from(request.lane == Lane::Quarantine));
    let rows = txn.fetch(query).await?;
    let alive = match rows.first() {
        Some(row) => txn.get(row, 2)?,
        None => false,
    };
    if !alive {
        return Err(Error::WorkerExpired { worker: request.worker });
    }
    let number = |n: i64| usize::try_from(n).unwrap_or(usize::MAX);
    let head = |row| {
        Ok(Head {
            queue: number(txn.get(row, 0)?),
            kind: number(txn.get(row, 1)?),
            rank: txn.get(row, 2)?,
        })
    };
    rows.iter().skip(1).map(head).collect()
}

/// Takes jobs of the ready kinds from one queue.
async fn take(
    txn: &mut Txn<'_>,
    request: &ClaimRequest,
    slots: &QueueSlots,
    ready: &[(&str, i64)],
    room: &HashMap<&str, u32>,
) -> Result<Vec<Taken>> {
    let seq = txn.next_seq();
    let limit_of = |kind: &str| room.get(kind).copied().unwrap_or(0);
    let (sql, kinds, limit) = match ready {
        [(kind, _)] => {
            let limit = slots.limit.min(limit_of(kind));
            (include_str!("../sql/claim_kind.sql"), (*kind).to_owned(), limit)
        }
        _ => {
            let mut rows = Rows::new();
            for (kind, head) in ready {
                rows.row().text(kind).int(*head).int(limit_of(kind));
            }
            (include_str!("../sql/claim.sql"), rows.done().0, slots.limit)
        }
    };
    let (from, to) = (State::Available.code(), State::Running.code());
    let before = format!(",[{seq},{},{from},{to},", txn.now);
    let after =
        format!(",{},\"{}\"]", cause_code(Cause::Claimed), request.worker.as_uuid().simple());
    let query = sqlx::query(sql)
        .bind(slots.queue.as_str().to_owned())
        .bind(i64::from(request.lane == Lane::Quarantine))
        .bind(kinds)
        .bind(limit)
        .bind(request.worker.as_bytes().to_vec())
        .bind(request.claim_id.as_bytes().to_vec())
        .bind(txn.now)
        .bind(before)
        .bind(after);
    let rows = txn.execute_fetch(query).await?;
    let mut taken = read(txn, request, &rows)?;
    taken.sort_unstable_by_key(|job| job.rank);
    after_taking(txn, request, seq, &taken).await?;
    Ok(taken)
}

/// What goes with a claim: keys held until the start, counts, the feed.
async fn after_taking(
    txn: &mut Txn<'_>,
    request: &ClaimRequest,
    seq: i64,
    taken: &[Taken],
) -> Result<()> {
    if taken.is_empty() {
        return Ok(());
    }
    let (mut freed, mut long) = (Rows::new(), Vec::new());
    let mut facts = Vec::with_capacity(taken.len());
    let cap = crate::batch::size(txn.limits.state_events_per_job);
    for job in taken {
        let lease = &job.lease;
        if let Some(key) = &job.frees {
            freed.row().text(key).id(lease.key.job.as_bytes()).int(unique::STARTED);
        }
        if job.changes > cap {
            long.push(lease.key.job);
        }
        let (queue, kind) = (lease.queue.as_str(), lease.kind.as_str());
        txn.count_move(queue, kind, State::Available, State::Running);
        facts.push(Fact {
            job: lease.key.job,
            kind,
            queue,
            from: Some(State::Available),
            to: State::Running,
            attempt: lease.attempt,
            worker: Some(request.worker),
            error: None,
        });
    }
    txn.emit(seq, feed::changes(Cause::Claimed, facts));
    if !freed.is_empty() {
        txn.execute(freed.query(include_str!("../sql/unique_free.sql"))).await?;
    }
    trim(txn, &long, 0).await
}

/// Reads the jobs that an earlier sending of this claim took.
async fn resent(txn: &mut Txn<'_>, request: &ClaimRequest) -> Result<Vec<Lease>> {
    let query = sqlx::query(include_str!("../sql/claim_resend.sql"))
        .bind(request.worker.as_bytes().to_vec())
        .bind(request.claim_id.as_bytes().to_vec());
    let rows = txn.fetch(query).await?;
    let mut jobs = read(txn, request, &rows)?;
    let place = |lease: &Lease| request.queues.iter().position(|slots| slots.queue == lease.queue);
    jobs.sort_by_cached_key(|job| (place(&job.lease), job.rank));
    Ok(jobs.into_iter().map(|job| job.lease).collect())
}

/// A job just claimed.
struct Taken {
    lease: Lease,
    rank: i64,
    changes: i64,
    /// The unique key that the start frees.
    frees: Option<String>,
}

/// Names repeat within a claim: each is parsed once.
#[derive(Default)]
struct Names {
    kinds: Vec<Kind>,
    queues: Vec<QueueName>,
}

impl Names {
    fn kind(&mut self, text: &str) -> Result<Kind> {
        if let Some(known) = self.kinds.iter().find(|kind| kind.as_str() == text) {
            return Ok(known.clone());
        }
        let kind = Kind::new(text)?;
        self.kinds.push(kind.clone());
        Ok(kind)
    }

    fn queue(&mut self, text: &str) -> Result<QueueName> {
        if let Some(known) = self.queues.iter().find(|queue| queue.as_str() == text) {
            return Ok(known.clone());
        }
        let queue = QueueName::new(text)?;
        self.queues.push(queue.clone());
        Ok(queue)
    }
}

fn read(txn: &Txn<'_>, request: &ClaimRequest, rows: &[SqliteRow]) -> Result<Vec<Taken>> {
    let mut names = Names::default();
    rows.iter()
        .map(|row| {
            let raw = Raw::read(row).map_err(crate::error::map(txn.during))?;
            raw.taken(request, &mut names)
        })
        .collect()
}

/// The columns that a claim returns.
struct Raw<'r> {
    id: &'r [u8],
    epoch: i64,
    kind: &'r str,
    queue: &'r str,
    encoding: i64,
    args: &'r [u8],
    meta: Option<&'r str>,
    tags: Option<&'r str>,
    priority: i16,
    counters: [i64; 4],
    timeout: Option<i64>,
    progress: Option<&'r str>,
    created_at: i64,
    due_at: i64,
    rank: Option<i64>,
    changes: i64,
    unique: Option<(String, i64)>,
}

impl<'r> Raw<'r> {
    fn read(row: &'r SqliteRow) -> sqlx::Result<Self> {
        let key: Option<String> = row.try_get(19)?;
        let mode: Option<i64> = if key.is_some() { row.try_get(20)? } else { None };
        Ok(Self {
            id: row.try_get(0)?,
            epoch: row.try_get(1)?,
            kind: row.try_get(2)?,
            queue: row.try_get(3)?,
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
            rank: row.try_get(17)?,
            changes: row.try_get(18)?,
            unique: key.zip(mode),
        })
    }

    fn taken(self, request: &ClaimRequest, names: &mut Names) -> Result<Taken> {
        let count = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
        let encoding = Encoding::from_code(self.encoding)
            .ok_or_else(|| unreadable("args", "their encoding is unknown"))?;
        let args = Payload { encoding, bytes: self.args.to_vec().into() };
        let (kind, queue) = (names.kind(self.kind)?, names.queue(self.queue)?);
        let job = JobId::from_slice(self.id)?;
        let mut record = JobRecord::new(job, kind, queue, args, timestamp(self.created_at));
        record.meta = json("metadata", self.meta)?.unwrap_or_else(BTreeMap::new);
        record.tags = json("tags", self.tags)?.unwrap_or_default();
        record.progress = json("progress", self.progress)?;
        record.priority = Priority(self.priority);
        [record.attempt, record.max_attempts, record.snoozes, record.crashes] =
            self.counters.map(count);
        record.timeout = self.timeout.map(duration);
        record.due_at = timestamp(self.due_at);
        let claim_id = request.claim_id;
        let key = LeaseKey { job, epoch: Epoch(count(self.epoch)), claim_id };
        Ok(Taken {
            lease: Lease::of(&record, key),
            rank: self.rank.unwrap_or(0),
            changes: self.changes,
            frees: self.unique.filter(|(_, mode)| *mode == unique::STARTED).map(|(key, _)| key),
        })
    }
}

/// Reads a JSON column; absent and NULL are none.
pub(crate) fn json<T: serde::de::DeserializeOwned>(
    what: &'static str,
    text: Option<&str>,
) -> Result<Option<T>> {
    text.map(|text| serde_json::from_str(text).map_err(|e| unreadable(what, e))).transpose()
}
