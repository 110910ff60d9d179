//! A connection that is made when it is needed, and made anew after a failure. Callers share it: each has its commands in flight beside those of the
//! others.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Cmd, ConnectionAddr, RedisError, Value};
use tokio::time::{Instant, sleep_until};
use windlass_core::Backoff;

use crate::error::is_misled;
use crate::route::Route;

pub(crate) type Reply<T> = Result<T, RedisError>;

/// Pauses between attempts to connect: the first and the longest, jitter aside.
const PAUSES: (Duration, Duration) = (Duration::from_millis(25), Duration::from_secs(1));

/// The pause after so many failures to connect.
pub(crate) fn pause(failures: u32) -> Duration {
    let backoff = Backoff::exponential(PAUSES.0, PAUSES.1).with_jitter(0.5);
    backoff.delay(failures, fastrand::f64())
}

/// How long an answer and a connection may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) connect: Duration,
    pub(crate) response: Duration,
}

/// Whatever takes commands.
pub(crate) trait Line: Sync {
    /// Sends a command and waits for its answer.
    fn send(&self, command: &Cmd) -> impl Future<Output = Reply<Value>> + Send;
}

/// One connection for many callers.
pub(crate) struct Link {
    route: Arc<Route>,
    patience: Patience,
    held: Mutex<Held>,
    /// One caller connects, the others wait for it and take what comes of it, so that they don't queue up for a server that is gone.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Held {
    conn: Option<(MultiplexedConnection, ConnectionAddr)>,
    /// Which connection it is, so that a failure of an earlier one does not end this one.
    number: u64,
    closed: bool,
    /// Attempts to connect that have ended.
    attempts: u64,
    /// The failures since the last success, and what the last of them was.
    failures: u32,
    failed: Option<(RedisError, Instant)>,
}

/// A connection as it was at one time: what is sent on it reaches one and the same server, or fails.
#[derive(Clone)]
pub(crate) struct Pinned<'a> {
    link: &'a Link,
    conn: MultiplexedConnection,
    address: ConnectionAddr,
    number: u64,
}

impl Link {
    pub(crate) fn new(route: Arc<Route>, patience: Patience) -> Arc<Self> {
        let (held, connecting) = (Mutex::default(), tokio::sync::Mutex::new(()));
        Arc::new(Self { route, patience, held, connecting })
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection of now.
    pub(crate) async fn pin(&self) -> Reply<Pinned<'_>> {
        let seen = match self.current()? {
            Ok(pinned) => return Ok(pinned),
            Err(attempts) => attempts,
        };
        let _one = self.connecting.lock().await;
        if let Ok(pinned) = self.current()? {
            return Ok(pinned);
        }
        let failed = {
            let held = self.lock();
            match &held.failed {
                Some((error, _)) if held.attempts > seen => return Err(error.clone()),
                failed => failed.as_ref().map(|(_, at)| *at + pause(held.failures)),
            }
        };
        if let Some(pause) = failed {
            sleep_until(pause).await;
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.patience.connect))
            .set_response_timeout(Some(self.patience.response));
        let done = self.route.connect(self.patience.connect, &config).await;
        let mut held = self.lock();
        held.attempts += 1;
        match done {
            Ok((conn, address)) => {
                held.number += 1;
                held.failures = 0;
                held.failed = None;
                held.conn = Some((conn.clone(), address.clone()));
                Ok(Pinned { link: self, conn, address, number: held.number })
            }
            Err(error) => {
                held.failures = held.failures.saturating_add(1);
                held.failed = Some((error.clone(), Instant::now()));
                Err(error)
            }
        }
    }

    /// The connection, or how many attempts to make one have ended.
    fn current(&self) -> Reply<Result<Pinned<'_>, u64>> {
        let held = self.lock();
        if held.closed {
            return Err((redis::ErrorKind::Client, "closed").into());
        }
        Ok(held.conn.clone().ok_or(held.attempts).map(|(conn, address)| {
            let number = held.number;
            Pinned { link: self, conn, address, number }
        }))
    }

    fn drop_connection(&self, number: u64) {
        let mut held = self.lock();
        if held.number == number {
            held.conn = None;
        }
    }

    /// Drops the connection, for good.
    pub(crate) fn close(&self) {
        let mut held = self.lock();
        held.closed = true;
        held.conn = None;
    }
}

impl Pinned<'_> {
    /// Which connection of the link it is.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl Line for Link {
    /// A server that names another as the owner of the slot has done nothing: that one is asked at once.
    async fn send(&self, command: &Cmd) -> Reply<Value> {
        let pinned = self.pin().await?;
        match pinned.send(command).await {
            Err(error) if self.route.follow(&error, &pinned.address) => {
                self.pin().await?.send(command).await
            }
            done => done,
        }
    }
}

impl Line for Pinned<'_> {
    async fn send(&self, command: &Cmd) -> Reply<Value> {
        let mut conn = self.conn.clone();
        let answer = conn.req_packed_command(command).await.and_then(Value::extract_error);
        if let Err(error) = &answer
            && is_broken(error)
        {
            self.link.route.blame(&self.address);
            self.link.drop_connection(self.number);
        }
        answer
    }
}

impl std::fmt::Debug for Link {
    /// Tells nothing of how to connect: that holds a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("connected", &self.lock().conn.is_some())
            .finish_non_exhaustive()
    }
}

/// Whether the next call had better take another connection: it is gone, it hangs, or it leads to a server that can't do what is asked.
fn is_broken(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_timeout()
        || error.is_connection_dropped()
        || error.is_unrecoverable_error()
        || is_misled(error)
        || matches!(error.code(), Some("NOAUTH" | "WRONGPASS"))
}
