//! Hints: who waits for jobs or events is told when there may be some. A hint may be lost or spurious.
//!
//! The scripts publish them. A process that waits for jobs hears of them on a connection of its own; the news of the feed are heard only while somebody
//! watches it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use redis::Msg;
use redis::aio::{PubSubSink, PubSubStream};
use tokio::time::{sleep, timeout};
use windlass_core::kit::board::Board;
use windlass_core::kit::tasks::Tasks;
use windlass_core::{ClaimRequest, Error, Lease, QueueName, Result, Wake};

use crate::error::NAME;
use crate::link::pause;
use crate::route::Route;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long it may be silent until the server is asked whether it is there.
const SILENCE: Duration = Duration::from_secs(30);
/// How long the news of the feed are heard after the last one who watched it.
const LINGER: Duration = Duration::from_secs(10);

/// The tasks.
const JOBS: usize = 0;
const FEED: usize = 1;

/// Held by the handles of a backend: with the last of them its tasks end.
#[derive(Debug)]
pub(crate) struct Hub(Arc<Shared>);

/// What the tasks share with the callers. The tasks hold it, so it outlives the hub until they have ended.
struct Shared {
    board: Board,
    route: Arc<Route>,
    namespace: String,
    listen: bool,
    tasks: Tasks<2>,
}

impl Hub {
    pub(crate) fn new(route: Arc<Route>, namespace: String, listen: bool) -> Self {
        let (board, tasks) = (Board::default(), Tasks::default());
        Self(Arc::new(Shared { board, route, namespace, listen, tasks }))
    }

    /// An error once the backend was closed.
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.0.board.is_closed() { Err(Error::Closed(NAME)) } else { Ok(()) }
    }

    /// The version of now, for [`claimed`](Self::claimed).
    pub(crate) fn version(&self) -> u64 {
        self.0.board.version()
    }

    /// Notes what a claim that started at `version` has left.
    pub(crate) fn claimed(&self, request: &ClaimRequest, leases: &[Lease], version: u64) {
        self.0.board.claimed(request, leases, version, |_| true);
    }

    /// Waits for news of one of the queues that claims have not looked at.
    pub(crate) async fn wait(&self, queues: &[QueueName], timeout: Duration) -> Wake {
        if self.0.listen {
            let shared = self.0.clone();
            self.0.tasks.start(JOBS, || async move { shared.hear_of_jobs().await });
        }
        self.0.board.wait(queues, timeout).await
    }

    /// Whether other processes are heard at present.
    pub(crate) fn hears(&self) -> bool {
        self.0.board.hears()
    }

    /// How often the feed was seen to grow, for [`watch`](Self::watch).
    pub(crate) fn growth(&self) -> u64 {
        self.0.board.growth()
    }

    /// Waits until the feed was seen to grow after `growth` was read.
    pub(crate) async fn watch(&self, growth: u64, timeout: Duration) {
        if self.0.listen {
            let shared = self.0.clone();
            self.0.tasks.start(FEED, || async move { shared.hear_of_events().await });
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
        let mut failures = 0;
        loop {
            if let Some(mut channel) = self.subscribe(":wake").await {
                failures = 0;
                // What was told before is lost.
                let _hearing = self.board.hearing();
                while let Some(heard) = channel.next(SILENCE).await {
                    let Some(message) = heard else { continue };
                    match std::str::from_utf8(message.get_payload_bytes()) {
                        Ok(queues) => self.board.ready(queues.split('\n')),
                        Err(_) => self.board.ready_anywhere(),
                    }
                }
            }
            failures += 1;
            sleep(pause(failures)).await;
        }
    }

    async fn hear_of_events(&self) {
        let mut failures = 0;
        loop {
            self.board.watched().await;
            if let Some(mut channel) = self.subscribe(":news").await {
                failures = 0;
                self.board.grown();
                while let Some(heard) = channel.next(LINGER).await {
                    match heard {
                        Some(_) => self.board.grown(),
                        None if self.board.is_watched() => {}
                        None => break,
                    }
                }
            }
            failures += 1;
            sleep(pause(failures)).await;
        }
    }

    async fn subscribe(&self, channel: &str) -> Option<Channel> {
        let channel = format!("{}{channel}", self.namespace);
        let connecting = async {
            let mut conn = self.route.find(CONNECT).await?.get_async_pubsub().await?;
            conn.subscribe(&channel).await?;
            Ok::<_, redis::RedisError>(conn.split())
        };
        match timeout(CONNECT, connecting).await {
            Ok(Ok((sink, messages))) => Some(Channel { sink, messages }),
            Ok(Err(error)) => {
                tracing::debug!(%error, channel, "hints are not heard; polling goes on");
                None
            }
            Err(_) => None,
        }
    }
}

/// A connection that hears the messages of a channel.
struct Channel {
    sink: PubSubSink,
    messages: PubSubStream,
}

impl Channel {
    /// The next message, or none of it when it was silent for so long; nothing more once the connection has ended, or the server no longer answers.
    async fn next(&mut self, silence: Duration) -> Option<Option<Msg>> {
        match timeout(silence, self.messages.next()).await {
            Ok(message) => message.map(Some),
            Err(_) => {
                let alive = timeout(CONNECT, self.sink.ping::<redis::Value>()).await;
                matches!(alive, Ok(Ok(_))).then_some(None)
            }
        }
    }
}

impl std::fmt::Debug for Shared {
    /// Tells nothing of how to connect: that holds a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("listen", &self.listen).finish_non_exhaustive()
    }
}
