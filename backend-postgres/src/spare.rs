//! Connections that were in use a moment ago. The driver's pool asks the server about each one that comes back, which costs every call a round trip, and
//! a call that comes meanwhile would open another one; so those on which all went well are kept here, for about a second.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{Error, Postgres, Result};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

/// A connection that was idle for longer is tried before it is used.
pub(crate) const FRESH: Duration = Duration::from_secs(1);
/// One that was kept for longer goes back to the pool, which closes those that are old.
const KEPT: Duration = Duration::from_secs(60);

/// The connections that are kept, and the right to use one.
pub(crate) struct Spares {
    permits: Arc<Semaphore>,
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    spares: Vec<Spare>,
    closed: bool,
    /// A task gives those back that nobody uses.
    swept: bool,
}

struct Spare {
    conn: PoolConnection<Postgres>,
    taken: Instant,
    idle: Instant,
}

impl Spares {
    pub(crate) fn new(connections: u32) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(connections as usize));
        Arc::new(Self { permits, list: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many nobody uses.
    pub(crate) fn idle(&self) -> usize {
        self.lock().spares.len()
    }

    /// A connection: one that is kept, or one of the pool's, which has no more than there are permits.
    pub(crate) async fn acquire(self: &Arc<Self>, pool: &PgPool) -> Result<Held> {
        if let Ok(permit) = self.permits.clone().try_acquire_owned()
            && let Some(spare) = self.take()
        {
            return Ok(self.held(spare.conn, spare.taken, permit));
        }
        let acquire = async {
            let permit = self.permits.clone().acquire_owned().await;
            let permit = permit.map_err(|_| Error::PoolClosed)?;
            if let Some(spare) = self.take() {
                return Ok(self.held(spare.conn, spare.taken, permit));
            }
            Ok(self.held(pool.acquire().await?, Instant::now(), permit))
        };
        let done = timeout(pool.options().get_acquire_timeout(), acquire).await;
        done.unwrap_or(Err(Error::PoolTimedOut))
    }

    fn held(
        self: &Arc<Self>,
        conn: PoolConnection<Postgres>,
        taken: Instant,
        permit: OwnedSemaphorePermit,
    ) -> Held {
        let place = Place { spares: self.clone(), taken, _permit: permit };
        Held { conn: Some(conn), end: End::Open, place: Some(place) }
    }

    /// The one that was used last, if it is fresh.
    fn take(&self) -> Option<Spare> {
        let spare = self.lock().spares.pop()?;
        // What is older than the last one goes with the sweep.
        (spare.idle.elapsed() <= FRESH).then_some(spare)
    }

    /// Keeps a connection, unless it goes back to the pool.
    fn keep(self: &Arc<Self>, spare: Spare) {
        let Ok(runtime) = Handle::try_current() else { return };
        let mut list = self.lock();
        if list.closed || spare.taken.elapsed() > KEPT {
            drop(list);
            return;
        }
        list.spares.push(spare);
        if !std::mem::replace(&mut list.swept, true) {
            runtime.spawn(sweep(Sweeper(Arc::downgrade(self))));
        }
    }

    /// Gives those back that nobody has used for a while. False when none is left.
    fn give_back(&self) -> bool {
        let mut list = self.lock();
        let stale = list.spares.extract_if(.., |spare| spare.idle.elapsed() > FRESH);
        let stale: Vec<Spare> = stale.collect();
        list.swept = !list.spares.is_empty();
        let left = list.swept;
        drop(list);
        drop(stale);
        left
    }

    /// Lets no call have one any more. What is kept goes back to the pool.
    pub(crate) fn close(&self) {
        self.permits.close();
        let mut list = self.lock();
        list.closed = true;
        let spares = std::mem::take(&mut list.spares);
        drop(list);
        drop(spares);
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        // There may be no runtime any more, without which none goes back to the pool.
        for spare in std::mem::take(&mut self.lock().spares) {
            drop(spare.conn.detach());
        }
    }
}

impl fmt::Debug for Spares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spares").field("idle", &self.idle()).finish_non_exhaustive()
    }
}

/// A task that gives connections back; when it ends with its runtime, the next one that is kept begins another.
struct Sweeper(Weak<Spares>);

impl Drop for Sweeper {
    fn drop(&mut self) {
        if let Some(spares) = self.0.upgrade() {
            spares.lock().swept = false;
        }
    }
}

async fn sweep(sweeper: Sweeper) {
    loop {
        sleep(FRESH).await;
        let Some(spares) = sweeper.0.upgrade() else { return };
        if !spares.give_back() {
            return;
        }
    }
}

/// How the work on a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It didn't: it was given up.
    Open,
    /// By an error.
    Failed,
    Well,
}

/// A connection out of the pool. One on which a call was given up before its end goes back to no pool: what it is doing nobody knows, and waiting for
/// the end would keep its place in the pool taken.
pub(crate) struct Held {
    conn: Option<PoolConnection<Postgres>>,
    end: End,
    /// None for those of a host's pool.
    place: Option<Place>,
}

struct Place {
    spares: Arc<Spares>,
    taken: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Held {
    /// A connection of the host's pool.
    pub(crate) fn hosts(conn: PoolConnection<Postgres>) -> Self {
        Self { conn: Some(conn), end: End::Open, place: None }
    }

    pub(crate) fn conn(&mut self) -> Result<&mut PgConnection> {
        self.conn.as_deref_mut().ok_or(Error::PoolClosed)
    }

    /// Nothing is under way on it any more.
    pub(crate) fn ended(&mut self, well: bool) {
        self.end = if well { End::Well } else { End::Failed };
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(mut conn) = self.conn.take() else { return };
        match (self.end, &self.place) {
            (End::Open, _) => conn.close_on_drop(),
            (End::Well, Some(Place { spares, taken, .. })) => {
                spares.keep(Spare { conn, taken: *taken, idle: Instant::now() });
            }
            _ => {}
        }
    }
}
