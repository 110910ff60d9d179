//! Hints: who waits for jobs or events is told when there may be some. A hint may be lost or spurious.
//!
//! The scripts publish them. A process that waits for jobs hears of them on a connection of its own; the news of the feed are heard only while somebody
//! watches it.

mod tasks;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use redis::{Client, Msg};
use tokio::time::{sleep, timeout};
use windlass_core::kit::board::Board;
use windlass_core::{Error, QueueName, Result, Wake};

use crate::error::NAME;
use tasks::{Task, Tasks};

/// Pauses before another try to connect: the first and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the news of the feed are heard after the last one who watched it.
const LINGER: Duration = Duration::from_secs(10);

/// Held by the handles of a backend: with the last of them its tasks end.
#[derive(Debug)]
pub(crate) struct Hub(Arc<Shared>);

/// What the tasks share with the callers. The tasks hold it, so it outlives the hub until they have ended.
struct Shared {
    board: Board,
    client: Client,
    namespace: String,
    listen: bool,
    tasks: Tasks,
}

impl Hub {
    pub(crate) fn new(client: Client, namespace: String, listen: bool) -> Self {
        let (board, tasks) = (Board::default(), Tasks::default());
        Self(Arc::new(Shared { board, client, namespace, listen, tasks }))
    }

    /// An error once the backend was closed.
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.0.board.is_closed() { Err(Error::Closed(NAME)) } else { Ok(()) }
    }

    /// The version of now, for [`seen`](Self::seen).
    pub(crate) fn version(&self) -> u64 {
        self.0.board.version()
    }

    /// Notes that a claim that started at `version` found no more in a queue.
    pub(crate) fn seen(&self, queue: &QueueName, version: u64) {
        self.0.board.seen(queue, version);
    }

    /// Waits for news of one of the queues since the last claim that found it empty.
    pub(crate) async fn wait(&self, queues: &[QueueName], timeout: Duration) -> Wake {
        if self.0.listen {
            let shared = self.0.clone();
            self.0.tasks.start(Task::Jobs, || async move { shared.hear_of_jobs().await });
        }
        self.0.board.wait(queues, timeout).await
    }

    /// How often the feed was seen to grow, for [`watch`](Self::watch).
    pub(crate) fn growth(&self) -> u64 {
        self.0.board.growth()
    }

    /// Waits until the feed was seen to grow after `growth` was read.
    pub(crate) async fn watch(&self, growth: u64, timeout: Duration) {
        if self.0.listen {
            let shared = self.0.clone();
            self.0.tasks.start(Task::Feed, || async move { shared.hear_of_events().await });
        }
        self.0.board.watch(growth, timeout).await;
    }

    /// Ends all waits and tasks, now and later.
    pub(crate) fn close(&self) {
        self.0.board.close();
        self.0.tasks.end();
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.0.tasks.end();
    }
}

impl Shared {
    async fn hear_of_jobs(&self) {
        let mut pause = PAUSES.0;
        loop {
            if let Some(mut messages) = self.subscribe(":wake").await {
                pause = PAUSES.0;
                // What was told before is lost.
                self.board.ready_anywhere();
                while let Some(message) = messages.next().await {
                    match std::str::from_utf8(message.get_payload_bytes()) {
                        Ok(queues) => self.board.ready(queues.split('\n')),
                        Err(_) => self.board.ready_anywhere(),
                    }
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    async fn hear_of_events(&self) {
        let mut pause = PAUSES.0;
        loop {
            self.board.watched().await;
            if let Some(mut messages) = self.subscribe(":news").await {
                pause = PAUSES.0;
                self.board.grown();
                loop {
                    match timeout(LINGER, messages.next()).await {
                        Ok(Some(_)) => self.board.grown(),
                        Ok(None) => break,
                        Err(_) if self.board.is_watched() => {}
                        Err(_) => break,
                    }
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// The messages of a channel, as long as its connection lasts.
    async fn subscribe(
        &self,
        channel: &str,
    ) -> Option<impl futures_util::Stream<Item = Msg> + Unpin> {
        let channel = format!("{}{channel}", self.namespace);
        let connecting = async {
            let mut conn = self.client.get_async_pubsub().await?;
            conn.subscribe(&channel).await?;
            Ok::<_, redis::RedisError>(conn.into_on_message())
        };
        match timeout(CONNECT, connecting).await {
            Ok(Ok(messages)) => Some(messages),
            Ok(Err(error)) => {
                tracing::debug!(%error, channel, "hints are not heard; polling goes on");
                None
            }
            Err(_) => None,
        }
    }
}

impl std::fmt::Debug for Shared {
    /// Tells nothing of how to connect: that holds a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("listen", &self.listen).finish_non_exhaustive()
    }
}
