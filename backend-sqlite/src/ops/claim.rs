//! Claims.

use std::collections::HashMap;

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use windlass_core::{
    Cause, ClaimRequest, Claimed, Error, Kind, Lane, Lease, QueueName, QueueSlots, Result, State,
};

use crate::batch::{Rows, ids, list, texts};
use crate::ops::apply::trim;
use crate::ops::aside;
use crate::ops::memory::Memory;
use crate::ops::picked::{self, Picked, Taken};
use crate::ops::stored::Guard;
use crate::ops::unique;
use crate::script::{Script, Statement, statement};
use crate::txn::{Tally, Txn};
use windlass_core::kit::feed::{self, Fact, cause_code};

/// How often a claim picks anew from a queue where jobs that can't be read stood in the way. Each time discards some of
/// them, so that a later claim finds fewer.
const ROUNDS: usize = 8;

/// Takes available jobs for a worker.
pub(crate) async fn claim(txn: &mut Txn<'_>, request: &ClaimRequest) -> Result<Claimed> {
    let (heads, mut guessed) = heads(txn, request).await?;
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
        let guessed = guessed.take_if(|guessed| guessed.is_for(request, number, &ready, &room));
        let taken = take(txn, request, slots, &ready, &room, guessed).await?;
        for job in &taken {
            if let Some(room) = room.get_mut(job.lease.kind.as_str()) {
                *room = room.saturating_sub(1);
            }
        }
        leases.extend(taken.into_iter().map(|job| job.lease));
    }
    // An empty look says nothing of what comes next.
    if request.lane == Lane::Normal && !heads.is_empty() {
        txn.note_ready(only(request, &heads));
    }
    Ok(Claimed::new(leases))
}

/// What a claim looks at first. Where one kind alone was ready in one queue the last time, its jobs are picked in the same go: they are
/// what the claim takes, unless the look tells otherwise.
pub(crate) fn look(request: &ClaimRequest, memory: &Memory) -> Script {
    let mut script = Script::from(ready_kinds(request));
    if let Some(guess) = Guess::of(request, memory.ready()) {
        script.push(pick_kind(request, guess.queue, guess.kind, guess.limit));
    }
    script
}

fn ready_kinds(request: &ClaimRequest) -> Statement {
    statement(include_str!("../sql/claim_heads.sql"))
        .bind(request.worker.as_bytes())
        .bind(texts(request.queues.iter().map(|slots| slots.queue.as_str())))
        .bind(texts(request.kinds.iter().map(|slots| slots.kind.as_str())))
        .bind(i64::from(request.lane == Lane::Quarantine))
}

/// Which kind a claim expects to be ready alone, and in which queue, by their number in the request.
struct Guess {
    queue: usize,
    kind: usize,
    limit: u32,
}

impl Guess {
    fn of(request: &ClaimRequest, ready: Option<(QueueName, Kind)>) -> Option<Self> {
        if request.resend || request.lane != Lane::Normal {
            return None;
        }
        let (queue, kind) = ready?;
        let queue = request.queues.iter().position(|slots| slots.queue == queue)?;
        let kind = request.kinds.iter().position(|slots| slots.kind == kind)?;
        let limit = request.kinds[kind].limit.unwrap_or(u32::MAX);
        let limit = limit.min(request.queues[queue].limit);
        (limit > 0).then_some(Self { queue, kind, limit })
    }
}

/// The jobs picked by a guess.
struct Guessed {
    guess: Guess,
    row: SqliteRow,
}

impl Guessed {
    /// Whether they are what is to be picked from the queue.
    fn is_for(
        &self,
        request: &ClaimRequest,
        queue: usize,
        ready: &[(&str, i64)],
        room: &HashMap<&str, u32>,
    ) -> bool {
        let Guess { queue: guessed, kind, limit } = self.guess;
        let kind = request.kinds[kind].kind.as_str();
        let most = room.get(kind).copied().unwrap_or(0).min(request.queues[queue].limit);
        guessed == queue && matches!(ready, [(ready, _)] if *ready == kind) && limit == most
    }
}

/// The kind that alone is ready, and its queue.
fn only(request: &ClaimRequest, heads: &[Head]) -> Option<(QueueName, Kind)> {
    let [head] = heads else { return None };
    let queue = request.queues.get(head.queue)?.queue.clone();
    Some((queue, request.kinds.get(head.kind)?.kind.clone()))
}

/// A kind that is ready in a queue, both by their number in the request.
struct Head {
    queue: usize,
    kind: usize,
    rank: i64,
}

async fn heads(txn: &mut Txn<'_>, request: &ClaimRequest) -> Result<(Vec<Head>, Option<Guessed>)> {
    let mut rows = txn.look(ready_kinds(request)).await?;
    // The answer of `pick_kind` has one column.
    let picked = rows.pop_if(|row| row.len() == 1);
    let guess = Guess::of(request, txn.ready());
    let guessed = guess.zip(picked).map(|(guess, row)| Guessed { guess, row });
    let ends: Option<i64> = match rows.first() {
        Some(row) => txn.get(row, 2)?,
        None => None,
    };
    if ends.is_none_or(|ends| ends <= txn.now) {
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
    Ok((rows.iter().skip(1).map(head).collect::<Result<_>>()?, guessed))
}

/// Picks jobs of a kind from a queue, both by their number in the request.
fn pick_kind(request: &ClaimRequest, queue: usize, kind: usize, limit: u32) -> Statement {
    pick_from(
        include_str!("../sql/claim_pick_kind.sql"),
        request,
        &request.queues[queue],
        request.kinds[kind].kind.as_str().to_owned(),
        limit,
    )
}

fn pick_from(
    sql: &'static str,
    request: &ClaimRequest,
    slots: &QueueSlots,
    kinds: String,
    limit: u32,
) -> Statement {
    statement(sql)
        .bind(slots.queue.as_str())
        .bind(i64::from(request.lane == Lane::Quarantine))
        .bind(kinds)
        .bind(limit)
}

/// Takes jobs of the ready kinds from one queue.
async fn take(
    txn: &mut Txn<'_>,
    request: &ClaimRequest,
    slots: &QueueSlots,
    ready: &[(&str, i64)],
    room: &HashMap<&str, u32>,
    guessed: Option<Guessed>,
) -> Result<Vec<Taken>> {
    let limit_of = |kind: &str| room.get(kind).copied().unwrap_or(0);
    let (sql, kinds, limit) = match ready {
        [(kind, _)] => {
            let limit = slots.limit.min(limit_of(kind));
            (include_str!("../sql/claim_pick_kind.sql"), (*kind).to_owned(), limit)
        }
        _ => {
            let mut rows = Rows::new();
            for (kind, head) in ready {
                rows.row().text(kind).int(*head).int(limit_of(kind));
            }
            (include_str!("../sql/claim_pick.sql"), rows.done().0, slots.limit)
        }
    };
    let mut found = match guessed {
        Some(guessed) => read(txn, Some(vec![guessed.row]), request, true).await?,
        None => picked(txn, pick_from(sql, request, slots, kinds, limit), request, true).await?,
    };
    let mut passed = Vec::new();
    for _ in 0..ROUNDS {
        if found.damaged.is_empty() && !found.unknown && !found.unread {
            break;
        }
        aside::discard(txn, found.damaged, &mut passed).await?;
        let query = readable(request, slots, ready, room, &passed);
        found = picked_rows(txn, query, request, true).await?;
    }
    if !found.taken.is_empty() {
        write(txn, request, &found.taken).await?;
    }
    Ok(found.taken)
}

/// Picks again where jobs that can't be read stood in the way.
fn readable(
    request: &ClaimRequest,
    slots: &QueueSlots,
    ready: &[(&str, i64)],
    room: &HashMap<&str, u32>,
    passed: &[String],
) -> Statement {
    let mut rows = Rows::new();
    for (kind, head) in ready {
        rows.row().text(kind).int(*head).int(room.get(kind).copied().unwrap_or(0));
    }
    statement(include_str!("../sql/claim_pick_readable.sql"))
        .bind(slots.queue.as_str())
        .bind(i64::from(request.lane == Lane::Quarantine))
        .bind(rows.done().0)
        .bind(slots.limit)
        .bind(texts(passed.iter().map(String::as_str)))
        .bind(picked::known_encodings())
}

/// Writes that the jobs are taken, and what goes with it: keys held until the start, counts, the feed.
async fn write(txn: &mut Txn<'_>, request: &ClaimRequest, taken: &[Taken]) -> Result<()> {
    let seq = txn.next_seq();
    let (from, to) = (State::Available, State::Running);
    let worker = request.worker;
    let epochs: Vec<i64> = taken.iter().map(|job| job.epoch.into()).collect();
    let picked: Vec<u8> = taken.iter().flat_map(|job| *job.lease.key.job.as_bytes()).collect();
    let query = statement(include_str!("../sql/claim.sql"))
        .writes(taken.len())
        .bind(list(&epochs))
        .bind(worker.as_bytes())
        .bind(request.claim_id.as_bytes())
        .bind(txn.now)
        .bind(format!(",[{seq},{},{},{},", txn.now, from.code(), to.code()))
        .bind(format!(",{},\"{}\"]", cause_code(Cause::Claimed), worker.as_uuid().simple()))
        .bind(picked);
    txn.write(query);
    txn.note_claimed(taken, worker);
    let (mut freed, mut long) = (Rows::new(), Vec::new());
    let (mut facts, mut tally) = (Vec::with_capacity(taken.len()), Tally::default());
    let cap = crate::batch::size(txn.limits.state_events_per_job);
    for job in taken {
        let lease = &job.lease;
        if let Some(key) = &job.frees {
            freed.row().text(key).id(lease.key.job.as_bytes()).int(unique::STARTED);
        }
        if job.changes > cap {
            let (epoch, claim) = (lease.key.epoch.0.into(), Some(lease.key.claim_id));
            long.push(Guard { job: lease.key.job, state: to, epoch, claim });
        }
        let (queue, kind) = (lease.queue.as_str(), lease.kind.as_str());
        tally.count(queue, kind, from, -1);
        tally.count(queue, kind, to, 1);
        facts.push(Fact {
            job: lease.key.job,
            kind,
            queue,
            from: Some(from),
            to,
            attempt: lease.attempt,
            worker: Some(worker),
            error: None,
        });
    }
    txn.emit(seq, feed::changes(Cause::Claimed, facts));
    txn.count_all(tally);
    if !freed.is_empty() {
        txn.write(freed.query(include_str!("../sql/unique_free.sql")));
    }
    trim(txn, &long, 0).await
}

/// Reads the jobs that an earlier sending of this claim took.
async fn resent(txn: &mut Txn<'_>, request: &ClaimRequest) -> Result<Vec<Lease>> {
    let query =
        |sql| statement(sql).bind(request.worker.as_bytes()).bind(request.claim_id.as_bytes());
    let fast = query(include_str!("../sql/claim_resend.sql"));
    let mut found = picked(txn, fast, request, false).await?;
    if found.unread {
        let rows = query(include_str!("../sql/claim_resend_rows.sql"));
        found = picked_rows(txn, rows, request, false).await?;
    }
    for (job, error) in &found.damaged {
        tracing::error!(job, %error, "a running job can't be read and is passed over");
    }
    let mut jobs = found.taken;
    let place = |lease: &Lease| request.queues.iter().position(|slots| slots.queue == lease.queue);
    jobs.sort_by_cached_key(|job| (place(&job.lease), job.rank));
    Ok(jobs.into_iter().map(|job| job.lease).collect())
}

/// Runs a statement that picks jobs, and reads them in the order of their ranks. `fresh` jobs are about to be taken.
async fn picked(
    txn: &mut Txn<'_>,
    query: Statement,
    request: &ClaimRequest,
    fresh: bool,
) -> Result<Picked> {
    let rows = txn.read_json(query).await?;
    read(txn, rows, request, fresh).await
}

/// Reads the one row of JSON.
async fn read(
    txn: &mut Txn<'_>,
    rows: Option<Vec<SqliteRow>>,
    request: &ClaimRequest,
    fresh: bool,
) -> Result<Picked> {
    let Some(json) = rows.as_deref().and_then(|rows| rows.first()?.try_get(0).ok()) else {
        return Ok(Picked { unread: true, ..Picked::default() });
    };
    let found = picked::read(json, request, fresh)?;
    whole(txn, found).await
}

/// [`picked`] for a statement that answers rows.
async fn picked_rows(
    txn: &mut Txn<'_>,
    query: Statement,
    request: &ClaimRequest,
    fresh: bool,
) -> Result<Picked> {
    let rows = txn.read(query).await?;
    whole(txn, picked::read_rows(&rows, request, fresh)?).await
}

/// Reads large args as well, and puts the jobs in order.
async fn whole(txn: &mut Txn<'_>, mut found: Picked) -> Result<Picked> {
    if !found.large.is_empty() {
        let list = ids(found.large.iter().map(|n| found.taken[*n].lease.key.job.as_bytes()));
        let query = statement(include_str!("../sql/claim_args.sql")).bind(list);
        // The rows come in the order of the ids asked for.
        for (n, row) in std::mem::take(&mut found.large).into_iter().zip(txn.read(query).await?) {
            found.taken[n].lease.args.bytes = txn.get::<Vec<u8>>(&row, 1)?.into();
        }
    }
    found.taken.sort_unstable_by_key(|job| job.rank);
    Ok(found)
}
