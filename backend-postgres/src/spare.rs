//! Connections that were in use a moment ago. The driver's pool asks the server about each one that comes back, which costs every call a round trip, and
//! a call that comes meanwhile would open another one; so those on which all went well are kept here, for about a second.

mod held;
mod sweep;
#[cfg(test)]
mod tests;
mod waiter;

use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgPool;
use sqlx::{Error, Postgres, Result};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

pub(crate) use held::Held;
use held::Place;
use waiter::Waiter;

/// A connection that was idle for longer is tried before it is used.
pub(crate) const FRESH: Duration = Duration::from_secs(1);

/// How long things last.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// A connection that was idle for longer goes back to the pool.
    fresh: Duration,
    /// So does one that was kept for longer: the pool closes those that are old.
    kept: Duration,
    /// One that is being opened is waited for so long before any other will do.
    opening: Duration,
}

const TIMES: Times =
    Times { fresh: FRESH, kept: Duration::from_secs(60), opening: Duration::from_secs(1) };

/// The connections that are kept, and the right to use one.
pub(crate) struct Spares {
    permits: Arc<Semaphore>,
    times: Times,
    list: Mutex<List>,
}

/// No foreign code runs under its lock, which it might come back to: wakers, what a runtime is given, and the driver's connections are called and dropped
/// after it.
#[derive(Default)]
struct List {
    spares: Vec<Spare>,
    /// Calls that have a permit, while the pool has no place. The first one gets what comes free.
    waiters: Vec<oneshot::Sender<Spare>>,
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
        Self::with(connections, TIMES)
    }

    fn with(connections: u32, times: Times) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(connections as usize));
        Arc::new(Self { permits, times, list: Mutex::default() })
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
            return Ok(self.held(spare, permit));
        }
        let acquire = async {
            let permit = self.permits.clone().acquire_owned().await;
            let permit = permit.map_err(|_| Error::PoolClosed)?;
            let spare = match self.take() {
                Some(spare) => spare,
                None => self.another(pool).await?,
            };
            Ok(self.held(spare, permit))
        };
        let done = timeout(pool.options().get_acquire_timeout(), acquire).await;
        done.unwrap_or(Err(Error::PoolTimedOut))
    }

    fn held(self: &Arc<Self>, spare: Spare, permit: OwnedSemaphorePermit) -> Held {
        let place = Place { spares: self.clone(), taken: spare.taken, _permit: permit };
        Held::own(spare.conn, place)
    }

    /// One of the pool's. A place may be taken by a connection that is on its way back, which can last: then the first of any that comes free.
    async fn another(self: &Arc<Self>, pool: &PgPool) -> Result<Spare> {
        let mut fresh = pin!(pool.acquire());
        // One that is being opened is not given up for another: a busy pool would never grow.
        if pool.size() < pool.options().get_max_connections()
            && let Ok(conn) = timeout(self.times.opening, &mut fresh).await
        {
            return conn.map(Spare::new);
        }
        let mut waiter = match self.take_or_wait() {
            Ok(spare) => return Ok(spare),
            Err(waiter) => waiter,
        };
        tokio::select! {
            biased;
            spare = waiter.spare() => spare,
            conn = &mut fresh => conn.map(Spare::new),
        }
    }

    /// The one that was used last, if it is fresh.
    fn take(&self) -> Option<Spare> {
        let spare = self.lock().spares.pop()?;
        // What is older than the last one goes with the sweep.
        self.is_fresh(&spare).then_some(spare)
    }

    /// Waits for the next one that comes free, if there is none now.
    fn take_or_wait(self: &Arc<Self>) -> Result<Spare, Waiter> {
        let mut list = self.lock();
        let stale = match list.spares.pop() {
            Some(spare) if self.is_fresh(&spare) => return Ok(spare),
            stale => stale,
        };
        let (sender, receiver) = oneshot::channel();
        list.waiters.retain(|waiter| !waiter.is_closed());
        list.waiters.push(sender);
        drop(list);
        drop(stale);
        Err(Waiter::new(self.clone(), receiver))
    }

    fn is_fresh(&self, spare: &Spare) -> bool {
        spare.idle.elapsed() <= self.times.fresh
    }

    /// Gives a connection to who waits for one, or keeps it, unless it goes back to the pool.
    fn keep(self: &Arc<Self>, mut spare: Spare) {
        let Ok(runtime) = Handle::try_current() else { return spare.give_up() };
        loop {
            let mut list = self.lock();
            if list.closed || spare.taken.elapsed() > self.times.kept {
                drop(list);
                return;
            }
            if list.waiters.is_empty() {
                list.spares.push(spare);
                drop(list);
                return sweep::begin(self, &runtime);
            }
            let first = list.waiters.remove(0);
            drop(list);
            match first.send(spare) {
                Ok(()) => return,
                Err(back) => spare = back,
            }
        }
    }

    /// Lets no call have one any more. What is kept goes back to the pool.
    pub(crate) fn close(&self) {
        self.permits.close();
        let mut list = self.lock();
        list.closed = true;
        let (spares, waiters) =
            (std::mem::take(&mut list.spares), std::mem::take(&mut list.waiters));
        drop(list);
        drop((spares, waiters));
    }
}

impl Spare {
    fn new(conn: PoolConnection<Postgres>) -> Self {
        let now = Instant::now();
        Self { conn, taken: now, idle: now }
    }

    /// Closes it where there is no runtime, without which none goes back to the pool.
    fn give_up(self) {
        drop(self.conn.detach());
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        // There may be no runtime any more.
        for spare in std::mem::take(&mut self.lock().spares) {
            spare.give_up();
        }
    }
}

impl fmt::Debug for Spares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spares").field("idle", &self.idle()).finish_non_exhaustive()
    }
}
