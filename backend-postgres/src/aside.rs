//! Connections for heartbeats. They come from another thread and runtime than the rest and must never wait behind it, so each worker has a connection of
//! its own that no pool hands out.

mod reply;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use tokio::time::{Instant, timeout, timeout_at};
use windlass_core::kit::micros;
use windlass_core::{Error, Heartbeat, LeaseKey, Result, WorkerId, WorkerInfo, WorkerLease};

use crate::error::translate;
use crate::session::{self, Begin, timed_out};
use crate::sql::{Query, Statements, query};

/// How long a call may take: a third of the lease, within these bounds.
const BOUNDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// The lease of a worker that is not known here.
const UNKNOWN: Duration = Duration::from_secs(30);
/// How long a connection may take to part.
const PARTING: Duration = Duration::from_secs(1);

/// The connections, by worker.
pub(crate) struct Aside {
    connect: PgConnectOptions,
    pooled: bool,
    begin: Begin,
    sql: Arc<Statements>,
    kept: Mutex<HashMap<WorkerId, Kept>>,
}

struct Kept {
    /// `None` while a call uses it, and after it failed.
    conn: Option<PgConnection>,
    lease: Duration,
    used: Instant,
}

impl Aside {
    pub(crate) fn new(connect: &PgConnectOptions, pooled: bool, sql: Arc<Statements>) -> Self {
        // A call that was given up leaves nothing behind for long.
        let connect = session::bounded(connect, pooled, BOUNDS.1);
        let begin = Begin::new(!pooled, BOUNDS.1, BOUNDS.1);
        Self { connect, pooled, begin, sql, kept: Mutex::default() }
    }

    /// Grants a lease, or extends one that has not run out.
    pub(crate) async fn register(&self, info: &WorkerInfo) -> Result<WorkerLease> {
        let fresh = || Kept { conn: None, lease: info.lease, used: Instant::now() };
        self.lock().entry(info.id).or_insert_with(fresh).lease = info.lease;
        let queues: Vec<String> =
            info.queues.iter().map(|queue| queue.as_str().to_owned()).collect();
        let build = || {
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

    /// Extends a lease and compares what the worker holds with what is stored.
    pub(crate) async fn heartbeat(
        &self,
        worker: WorkerId,
        owned: &[LeaseKey],
    ) -> Result<Heartbeat> {
        let statements = [&self.sql.worker_heartbeat, &self.sql.worker_owned];
        let build = || statements.map(|sql| query(sql).bind(*worker.as_uuid())).into();
        let answers = self.call("heartbeat", worker, &build).await?;
        match answers.as_slice() {
            [extended, held] if !extended.is_empty() => reply::compare(held, owned),
            _ => {
                self.lock().remove(&worker);
                Ok(Heartbeat::Expired)
            }
        }
    }

    /// Ends a lease now, and the worker's connection with it.
    pub(crate) async fn deregister(&self, worker: WorkerId) -> Result<()> {
        let build = || vec![query(&self.sql.worker_deregister).bind(*worker.as_uuid())];
        self.call("deregister", worker, &build).await?;
        let kept = self.lock().remove(&worker).and_then(|kept| kept.conn);
        if let Some(conn) = kept {
            // The server notices in any case.
            let _ = timeout(PARTING, conn.close()).await;
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
    async fn call(
        &self,
        during: &'static str,
        worker: WorkerId,
        build: &(dyn Fn() -> Vec<Query> + Send + Sync),
    ) -> Result<Vec<Vec<PgRow>>> {
        let (conn, bound) = self.take(worker);
        let deadline = Instant::now() + bound;
        if let Some(conn) = conn
            && let Ok(Ok((conn, answers))) = timeout(bound / 2, self.send(conn, build())).await
        {
            self.keep(worker, conn);
            return Ok(answers);
        }
        let fresh = async {
            let conn = sqlx::ConnectOptions::connect(&self.connect).await?;
            self.send(conn, build()).await
        };
        let sent = timeout_at(deadline, fresh).await.unwrap_or_else(|_| Err(timed_out()));
        let (conn, answers) = sent.map_err(|error| translate(during, error))?;
        self.keep(worker, conn);
        Ok(answers)
    }

    /// The worker's connection and how long a call may take. Connections of workers whose lease has passed without a call go.
    fn take(&self, worker: WorkerId) -> (Option<PgConnection>, Duration) {
        let mut kept = self.lock();
        kept.retain(|id, kept| *id == worker || kept.used.elapsed() < kept.lease.max(BOUNDS.1));
        let known = kept.entry(worker).or_insert_with(|| Kept {
            conn: None,
            lease: UNKNOWN,
            used: Instant::now(),
        });
        known.used = Instant::now();
        (known.conn.take(), (known.lease / 3).clamp(BOUNDS.0, BOUNDS.1))
    }

    fn keep(&self, worker: WorkerId, conn: PgConnection) {
        // A worker that was removed meanwhile needs none.
        if let Some(kept) = self.lock().get_mut(&worker) {
            kept.conn = Some(conn);
        }
    }

    /// The connection comes back only when all went well.
    async fn send(
        &self,
        mut conn: PgConnection,
        statements: Vec<Query>,
    ) -> sqlx::Result<(PgConnection, Vec<Vec<PgRow>>)> {
        let mut answers = Vec::with_capacity(statements.len());
        if self.pooled {
            // What is prepared holds as long as the transaction.
            let mut transaction = conn.begin_with(self.begin.patient.clone()).await?;
            for statement in statements {
                answers.push(statement.persistent(false).fetch_all(&mut *transaction).await?);
            }
            transaction.commit().await?;
        } else {
            for statement in statements {
                answers.push(statement.fetch_all(&mut conn).await?);
            }
        }
        Ok((conn, answers))
    }
}

impl fmt::Debug for Aside {
    /// Tells nothing of how to connect: that holds a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aside").field("workers", &self.lock().len()).finish_non_exhaustive()
    }
}
