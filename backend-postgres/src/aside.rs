//! Connections for heartbeats. They come from another thread and runtime than the rest and must never wait behind it, so they have connections that
//! no pool hands out, past any pooler where a way is known: in its queue a heartbeat would wait behind everything else. One is enough for workers whose
//! heartbeats go in one call; those that go alone take a few by turns.

mod reply;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use uuid::Uuid;
use windlass_core::kit::micros;
use windlass_core::{Beat, Error, Heartbeat, JobId, Result, WorkerId, WorkerInfo, WorkerLease};

use crate::PostgresOptions;
use crate::error::translate;
use crate::ops::pace::{Budget, HEAD, Passed};
use crate::session::{self, Begin, timed_out};
use crate::sql::{Query, Statements, query};

/// How long a call may take: a third of the lease, within these bounds.
const BOUNDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// The lease of a worker that is not known here.
const UNKNOWN: Duration = Duration::from_secs(30);
/// How long a claim may take from its beginning to its commit before its jobs, if nobody knows of them, are found late.
const UNDER_WAY: Duration = Duration::from_secs(10);
/// The same in errors.
const LIMIT: &str = "a third of the worker's lease, at most 5 s";
/// Connections that are made at once, and that are kept. After a common heartbeat that failed all workers send their own.
const FEW: usize = 4;
/// How long to wait for others that connect: one part in so many of the time that is left. After that the lease counts for more than the server's peace.
const TURN: u32 = 4;
/// How long a connection may take to part.
const PARTING: Duration = Duration::from_secs(1);

/// The connections, by worker.
pub(crate) struct Aside {
    /// How to connect, tried in this order.
    ways: Vec<Way>,
    begin: Begin,
    sweeps: Budget,
    sql: Arc<Statements>,
    kept: Mutex<HashMap<WorkerId, Kept>>,
    /// Who may connect.
    turns: Semaphore,
}

/// A way to the database.
struct Way {
    connect: PgConnectOptions,
    /// A pooler stands in between.
    pooled: bool,
}

impl Way {
    fn new(connect: &PgConnectOptions, pooled: bool) -> Self {
        // A call that was given up leaves nothing behind for long.
        Self { connect: session::bounded(connect, pooled, BOUNDS.1), pooled }
    }
}

/// A connection that came by one of the ways.
struct Link {
    conn: PgConnection,
    pooled: bool,
}

struct Kept {
    /// `None` while a call uses it, and after it failed.
    conn: Option<Link>,
    lease: Duration,
    used: Instant,
    looks: Arc<Looks>,
}

impl Kept {
    fn new(sweeps: Budget) -> Self {
        let looks = Looks { claimed: Passed::new(sweeps), held: Mutex::default() };
        Self { conn: None, lease: UNKNOWN, used: Instant::now(), looks: Arc::new(looks) }
    }
}

/// What the heartbeats of a worker have looked at.
#[derive(Debug)]
struct Looks {
    /// The times of claims up to which no job runs but those of `held`.
    claimed: Passed,
    /// What ran under the worker. It may forget one of these later.
    held: Mutex<Vec<JobId>>,
}

impl Looks {
    fn held(&self) -> Vec<JobId> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, held: Vec<JobId>) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = held;
    }
}

impl Aside {
    /// `connect` is the way that everything else takes.
    pub(crate) fn new(
        options: &PostgresOptions,
        connect: &PgConnectOptions,
        sql: Arc<Statements>,
    ) -> Self {
        let mut ways = vec![Way::new(connect, options.pooled)];
        if let Some(direct) = options.direct.clone() {
            ways.insert(0, Way::new(&direct.disable_statement_logging(), false));
        }
        let begin = Begin::new(false, BOUNDS.1, BOUNDS.1);
        let turns = Semaphore::new(FEW);
        Self { ways, begin, sweeps: options.sweeps, sql, kept: Mutex::default(), turns }
    }

    /// Grants a lease, or extends one that has not run out.
    pub(crate) async fn register(&self, info: &WorkerInfo) -> Result<WorkerLease> {
        self.lock().entry(info.id).or_insert_with(|| Kept::new(self.sweeps)).lease = info.lease;
        let queues: Vec<String> =
            info.queues.iter().map(|queue| queue.as_str().to_owned()).collect();
        let build = |_| {
            let statement = query(&self.sql.worker_register).bind(*info.id.as_uuid());
            vec![
                statement
                    .bind(info.name.replace('\0', ""))
                    .bind(queues.clone())
                    .bind(micros(info.lease)),
            ]
        };
        let granted = self.call("register", info.id, &build).await?;
        if granted.iter().all(Vec::is_empty) {
            self.lock().remove(&info.id);
            return Err(Error::WorkerExpired { worker: info.id });
        }
        Ok(WorkerLease { worker: info.id, lease: info.lease })
    }

    /// Extends leases and compares what each worker holds with what is stored. That their jobs are looked up by their ids keeps this short whatever
    /// the table has seen. What else runs under the workers is looked for in the same statement where that is known to cost little, and in one behind
    /// it otherwise; where it fails they keep their leases all the same.
    pub(crate) async fn heartbeats(&self, beats: &[Beat]) -> Result<Vec<Heartbeat>> {
        // The same each time: the connections of the others are not needed.
        let Some(first) = beats.iter().map(|beat| beat.worker).min() else {
            return Ok(Vec::new());
        };
        let looks = self.looks(beats, first);
        let ids = beats.iter().flat_map(|beat| &beat.owned).map(|key| key.job);
        let ids = ids.chain(looks.iter().flat_map(|looks| looks.held()));
        let ids: HashSet<Uuid> = ids.map(|job| *job.as_uuid()).collect();
        let ids: Vec<Uuid> = ids.into_iter().collect();
        let workers: Vec<Uuid> = beats.iter().map(|beat| *beat.worker.as_uuid()).collect();
        let cheap = looks.iter().all(|looks| looks.claimed.is_cheap());
        let whole = AtomicBool::new(false);
        let build = |again: bool| {
            let look = cheap && !again;
            whole.store(look, Ordering::Relaxed);
            let under = if look { workers.clone() } else { Vec::new() };
            let from = vec![HEAD; under.len()];
            let statement = query(&self.sql.worker_heartbeat).bind(workers.clone());
            vec![statement.bind(ids.clone()).bind(under).bind(from)]
        };
        let start = Instant::now();
        let rows = self.call("heartbeat", first, &build).await?.into_iter().flatten().collect();
        let (extended, mut held) = reply::extended(rows)?;
        if whole.into_inner() {
            let from = vec![HEAD; looks.len()];
            looked(&workers, &looks, &from, start.elapsed(), &extended, true);
        } else {
            held.extend(self.unknown(first, &workers, &looks, &extended).await);
        }
        let mut held = reply::by_worker(held)?;
        let mut all = Vec::with_capacity(beats.len());
        for (beat, looks) in beats.iter().zip(looks) {
            let worker = beat.worker.as_uuid();
            if !extended.contains_key(worker) {
                self.lock().remove(&beat.worker);
                all.push(Heartbeat::Expired);
                continue;
            }
            let rows = held.remove(worker).unwrap_or_default();
            let (held, lost, cancel, orphaned) = reply::compare(&rows, &beat.owned)?;
            looks.keep(held);
            all.push(Heartbeat::Alive { lost, cancel, orphaned });
        }
        Ok(all)
    }

    /// What runs under workers besides the jobs that they are known to hold.
    async fn unknown(
        &self,
        first: WorkerId,
        workers: &[Uuid],
        looks: &[Arc<Looks>],
        extended: &HashMap<Uuid, i64>,
    ) -> Vec<PgRow> {
        let from: Vec<i64> = looks.iter().map(|looks| looks.claimed.from()).collect();
        let start = Instant::now();
        let build =
            |_| vec![query(&self.sql.worker_owned).bind(workers.to_vec()).bind(from.clone())];
        let more = self.call("heartbeat", first, &build).await;
        looked(workers, looks, &from, start.elapsed(), extended, more.is_ok());
        match more {
            Ok(more) => more.into_iter().flatten().collect(),
            Err(error) => {
                tracing::warn!(%error, "a heartbeat did not find out whether workers run jobs that they do not know of");
                Vec::new()
            }
        }
    }

    /// Ends a lease now, and the worker's connection with it.
    pub(crate) async fn deregister(&self, worker: WorkerId) -> Result<()> {
        let build = |_| vec![query(&self.sql.worker_deregister).bind(*worker.as_uuid())];
        self.call("deregister", worker, &build).await?;
        let kept = self.lock().remove(&worker).and_then(|kept| kept.conn);
        if let Some(link) = kept {
            part(link).await;
        }
        Ok(())
    }

    /// Drops all connections.
    pub(crate) fn close(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<WorkerId, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs statements on the worker's connection. When that fails, for whatever reason, they run once more on a fresh one: repeating them does no harm.
    /// `build` learns whether it is for another try.
    async fn call(
        &self,
        during: &'static str,
        worker: WorkerId,
        build: &(dyn Fn(bool) -> Vec<Query> + Send + Sync),
    ) -> Result<Vec<Vec<PgRow>>> {
        let (conn, bound) = self.take(worker);
        let deadline = Instant::now() + bound;
        let mut again = false;
        if let Some(conn) = conn {
            let sent = timeout(bound / 2, self.send(conn, build(again))).await;
            if let Ok(Ok((conn, answers))) = sent {
                self.keep(worker, conn).await;
                return Ok(answers);
            }
            again = true;
        }
        let left = || deadline.saturating_duration_since(Instant::now());
        let _turn = timeout(left() / TURN, self.turns.acquire()).await;
        let mut failed = timed_out(LIMIT);
        for (n, way) in self.ways.iter().enumerate() {
            let fresh = async {
                let conn = sqlx::ConnectOptions::connect(&way.connect).await?;
                self.send(Link { conn, pooled: way.pooled }, build(again)).await
            };
            // What is left of the time is shared with the ways that are left.
            let parts = u32::try_from(self.ways.len() - n).unwrap_or(1);
            match timeout_at(Instant::now() + left() / parts, fresh).await {
                Ok(Ok((link, answers))) => {
                    self.keep(worker, link).await;
                    return Ok(answers);
                }
                Ok(Err(error)) => failed = error,
                Err(_) => failed = timed_out(LIMIT),
            }
            again = true;
        }
        Err(translate(during, failed))
    }

    /// The worker's connection and how long a call may take. Connections of workers whose lease has passed without a call go.
    fn take(&self, worker: WorkerId) -> (Option<Link>, Duration) {
        let mut kept = self.lock();
        kept.retain(|id, kept| *id == worker || kept.used.elapsed() < kept.lease.max(BOUNDS.1));
        let known = kept.entry(worker).or_insert_with(|| Kept::new(self.sweeps));
        known.used = Instant::now();
        (known.conn.take(), (known.lease / 3).clamp(BOUNDS.0, BOUNDS.1))
    }

    /// What the heartbeats of these have looked at. Of their connections only that of the first is used from now on.
    fn looks(&self, beats: &[Beat], first: WorkerId) -> Vec<Arc<Looks>> {
        let mut kept = self.lock();
        let mut looks = Vec::with_capacity(beats.len());
        for beat in beats {
            let known = kept.entry(beat.worker).or_insert_with(|| Kept::new(self.sweeps));
            known.used = Instant::now();
            if beat.worker != first {
                known.conn = None;
            }
            looks.push(known.looks.clone());
        }
        looks
    }

    /// Keeps a connection for the worker's next call, unless there are enough.
    async fn keep(&self, worker: WorkerId, link: Link) {
        let left = {
            let mut kept = self.lock();
            let enough = kept.values().filter(|kept| kept.conn.is_some()).count() >= FEW;
            match kept.get_mut(&worker) {
                Some(kept) if !enough => {
                    kept.conn = Some(link);
                    None
                }
                // A worker that was removed meanwhile needs none.
                _ => Some(link),
            }
        };
        if let Some(link) = left {
            part(link).await;
        }
    }

    /// The connection comes back only when all went well.
    async fn send(
        &self,
        mut link: Link,
        statements: Vec<Query>,
    ) -> sqlx::Result<(Link, Vec<Vec<PgRow>>)> {
        let conn = &mut link.conn;
        let mut answers = Vec::with_capacity(statements.len());
        if link.pooled {
            // What is prepared holds as long as the transaction.
            let mut transaction = conn.begin_with(self.begin.patient.clone()).await?;
            for statement in statements {
                answers.push(statement.persistent(false).fetch_all(&mut *transaction).await?);
            }
            transaction.commit().await?;
        } else {
            for statement in statements {
                answers.push(statement.fetch_all(&mut *conn).await?);
            }
        }
        Ok((link, answers))
    }
}

async fn part(link: Link) {
    // The server notices in any case.
    let _ = timeout(PARTING, link.conn.close()).await;
}

/// Notes a look for what runs under workers: where it began under each, how long it took, and whether it succeeded.
fn looked(
    workers: &[Uuid],
    looks: &[Arc<Looks>],
    from: &[i64],
    took: Duration,
    extended: &HashMap<Uuid, i64>,
    done: bool,
) {
    let cost = took / u32::try_from(workers.len()).unwrap_or(u32::MAX);
    for ((looks, from), worker) in looks.iter().zip(from).zip(workers) {
        let Some(now) = extended.get(worker) else { continue };
        // A claim may have begun a while before it was committed.
        let upto = now.saturating_sub(micros(UNDER_WAY));
        let upto = (done || *from == HEAD).then_some(upto);
        looks.claimed.looked(*from, cost, upto);
    }
}

impl fmt::Debug for Aside {
    /// Tells nothing of how to connect: that holds a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aside").field("workers", &self.lock().len()).finish_non_exhaustive()
    }
}
