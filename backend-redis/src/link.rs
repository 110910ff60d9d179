//! A connection that is made when it is needed, and made anew after a failure. Callers share it: each has its commands in flight beside those of the
//! others.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Client, Cmd, RedisError, Value};
use tokio::time::timeout;

pub(crate) type Reply<T> = Result<T, RedisError>;

/// How long an answer and a connection may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) connect: Duration,
    pub(crate) response: Duration,
}

/// One connection for many callers.
pub(crate) struct Link {
    client: Client,
    patience: Patience,
    held: Mutex<Held>,
    /// One caller connects, the others wait for it.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Held {
    conn: Option<MultiplexedConnection>,
    /// Which connection it is, so that a failure of an earlier one does not end this one.
    number: u64,
    closed: bool,
}

impl Link {
    pub(crate) fn new(client: Client, patience: Patience) -> Arc<Self> {
        let (held, connecting) = (Mutex::default(), tokio::sync::Mutex::new(()));
        Arc::new(Self { client, patience, held, connecting })
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a command and waits for its answer.
    pub(crate) async fn send(&self, command: Cmd) -> Reply<Value> {
        let (mut conn, number) = self.connection().await?;
        let answer = conn.req_packed_command(&command).await.and_then(Value::extract_error);
        if let Err(error) = &answer
            && is_broken(error)
        {
            self.drop_connection(number);
        }
        answer
    }

    /// The connection, made if there is none. Who waits for another to make it waits no longer than for one attempt: else the callers of a server that is
    /// away would wait in turn.
    async fn connection(&self) -> Reply<(MultiplexedConnection, u64)> {
        if let Some(held) = self.current()? {
            return Ok(held);
        }
        let connecting = async {
            let _one = self.connecting.lock().await;
            match self.current()? {
                Some(held) => Ok(held),
                None => self.connect().await,
            }
        };
        timeout(self.patience.connect, connecting).await.unwrap_or_else(|_| Err(timed_out()))
    }

    async fn connect(&self) -> Reply<(MultiplexedConnection, u64)> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.patience.connect))
            .set_response_timeout(Some(self.patience.response));
        let conn = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        let mut held = self.lock();
        held.number += 1;
        held.conn = Some(conn.clone());
        Ok((conn, held.number))
    }

    fn current(&self) -> Reply<Option<(MultiplexedConnection, u64)>> {
        let held = self.lock();
        if held.closed {
            return Err((redis::ErrorKind::Client, "closed").into());
        }
        Ok(held.conn.clone().map(|conn| (conn, held.number)))
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

impl std::fmt::Debug for Link {
    /// Tells nothing of how to connect: that holds a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("connected", &self.lock().conn.is_some())
            .finish_non_exhaustive()
    }
}

fn timed_out() -> RedisError {
    std::io::Error::new(std::io::ErrorKind::TimedOut, "no connection was made in time").into()
}

/// Whether the next call had better take another connection: it is gone, it hangs, or it leads to a server that no longer takes writes.
fn is_broken(error: &RedisError) -> bool {
    use redis::ServerErrorKind::{MasterDown, ReadOnly};
    error.is_io_error()
        || error.is_timeout()
        || error.is_connection_dropped()
        || error.is_unrecoverable_error()
        || matches!(error.kind(), redis::ErrorKind::Server(ReadOnly | MasterDown))
        || matches!(error.code(), Some("NOAUTH" | "WRONGPASS"))
}
