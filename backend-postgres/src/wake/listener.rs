//! Hears from other processes in which queues there may be jobs, on a connection of its own.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Executor as _;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::time::{sleep, timeout};

use super::Shared;
use super::notifier::{Told, read};
use super::seldom::{Pause, Seldom};
use crate::error::translate;
use crate::session::timed_out;

/// How long to try to connect at a time.
const CONNECT: Duration = Duration::from_secs(5);
/// After so long without a message the connection is tried: a peer that is gone without a word shows in no other way.
const QUIET: Duration = Duration::from_secs(30);
/// Pauses between two tries to connect.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Listens, and connects anew whenever the connection is lost, for ever.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut warning = Seldom::default();
    let mut pause = Pause::new(PAUSES.0, PAUSES.1);
    loop {
        let error = match connect(&shared).await {
            Ok(mut listener) => {
                pause.reset();
                // What was told before is not told again.
                let _hearing = shared.board.hearing();
                hear(&shared, &mut listener).await
            }
            Err(error) => error,
        };
        warning.warn(
            "notifications of new jobs are not heard; polling finds them",
            &translate("listen", error),
        );
        sleep(pause.next()).await;
    }
}

async fn connect(shared: &Shared) -> sqlx::Result<PgListener> {
    let Some(options) = shared.line.listen.clone() else {
        return Err(sqlx::Error::PoolClosed);
    };
    // The driver's listener takes its connection from a pool; this one has no other.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .max_lifetime(None)
        .idle_timeout(None)
        .test_before_acquire(false)
        .acquire_timeout(CONNECT)
        .connect_lazy_with(options);
    let listen = async {
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.ignore_pool_close_event(true);
        listener.eager_reconnect(false);
        listener.listen(&shared.line.channel).await?;
        Ok(listener)
    };
    timeout(CONNECT * 2, listen).await.unwrap_or_else(|_| Err(timed_out("10 s")))
}

/// Hears until the connection is lost.
async fn hear(shared: &Shared, listener: &mut PgListener) -> sqlx::Error {
    loop {
        match timeout(QUIET, listener.try_recv()).await {
            Ok(Ok(Some(message))) => match read(&shared.line.sender, message.payload()) {
                Told::Own => {}
                Told::Queues(queues) => shared.board.ready(queues),
                Told::Everything => shared.board.ready_anywhere(),
            },
            Ok(Ok(None)) => return sqlx::Error::Io(std::io::ErrorKind::ConnectionAborted.into()),
            Ok(Err(error)) => return error,
            Err(_) => match timeout(CONNECT, listener.execute("SELECT 1")).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return error,
                Err(_) => return timed_out("5 s"),
            },
        }
    }
}
