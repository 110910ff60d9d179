//! The one writer of a process: a thread with a runtime of its own, so that a blocked host can't hold up heartbeats.
//! It takes whatever waits in its channels and applies all of it in one transaction: one COMMIT for many calls.

#[cfg(test)]
mod tests;
mod transaction;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::{mpsc, oneshot};
use windlass_core::{Error, Inserted, NewJob, Result};

use crate::clock::Clock;
use crate::error::{self, NAME};
use crate::open;
use crate::ops::insert;
use crate::ops::memory::Memory;
use crate::options::SqliteOptions;
use crate::script::Script;
use crate::txn::{Tick, Txn};
use crate::wake::SharedHub;
use crate::watch::Watch;
use transaction::{Guess, Outcome, rollback, transaction};

/// Calls that may wait for the writer; beyond it callers wait to get in.
const CHANNEL: usize = 1_024;
/// No further call joins a transaction once it touches this many jobs.
const BATCH_WEIGHT: usize = 4_096;

/// After quiet times of these lengths the looks for commits of other processes come half as often, each time.
const QUIET: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(20)];

/// Something that writes, to be run in a transaction. It may be run again after a rollback.
#[async_trait]
pub(crate) trait Operation: Send + Sync + 'static {
    /// What it answers.
    type Output: Send + 'static;
    /// The trait method, for errors.
    const NAME: &'static str;

    /// Runs it. An error takes back what it did, and only that.
    async fn run(&self, txn: &mut Txn<'_>) -> Result<Self::Output>;

    /// The statements that it looks at first, so that the transaction can begin with it.
    fn look(&self, _: &Memory) -> Option<Script> {
        None
    }

    /// Whether it needs to look at nothing, thanks to what is remembered.
    fn knows(&self, _: &Memory) -> bool {
        false
    }

    /// Roughly how many jobs it touches.
    fn weight(&self) -> usize {
        1
    }
}

/// The handle on the writer.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    calls: mpsc::Sender<Box<dyn Call>>,
    urgent: mpsc::Sender<Box<dyn Call>>,
    options: Arc<SqliteOptions>,
}

impl Writer {
    /// Starts the thread. It ends when every handle is gone or [`close`](Self::close) was called.
    pub(crate) fn start(conn: SqliteConnection, shared: Shared) -> Result<Self> {
        let (calls, calls_rx) = mpsc::channel(CHANNEL);
        let (urgent, urgent_rx) = mpsc::channel(CHANNEL);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| error::translate("open", sqlx::Error::Io(e)))?;
        let (last_news, options) = (Instant::now(), shared.options.clone());
        let thread = Thread {
            conn: Some(conn),
            shared,
            calls: calls_rx,
            urgent: urgent_rx,
            last_news,
            watch: Watch::by_looks(None),
            guess: Guess::default(),
        };
        std::thread::Builder::new()
            .name("windlass-sqlite-writer".to_owned())
            .spawn(move || runtime.block_on(thread.run()))
            .map_err(|e| error::translate("open", sqlx::Error::Io(e)))?;
        Ok(Self { calls, urgent, options })
    }

    /// Runs an operation in one of the next transactions. Dropping the future leaves it applied or not, never half.
    pub(crate) async fn call<O: Operation>(&self, operation: O) -> Result<O::Output> {
        self.send(&self.calls, Waiting::new(operation)).await
    }

    /// Runs an operation before all calls that wait.
    pub(crate) async fn call_urgently<O: Operation>(&self, operation: O) -> Result<O::Output> {
        self.send(&self.urgent, Waiting::new(operation)).await
    }

    /// Inserts jobs; calls that meet in one transaction share statements.
    pub(crate) async fn insert(&self, jobs: Vec<NewJob>) -> Result<Vec<Inserted>> {
        let shareable = jobs.iter().all(|job| job.unique.is_none());
        let (call, answer) = Waiting::new(Insert { jobs });
        self.send(&self.calls, (Waiting { shareable, ..call }, answer)).await
    }

    /// Ends the thread once the calls that wait are done.
    pub(crate) async fn close(&self) -> Result<()> {
        match self.send(&self.calls, Waiting::new(Close)).await {
            Err(Error::Closed(_)) | Ok(()) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn send<O: Operation>(
        &self,
        to: &mpsc::Sender<Box<dyn Call>>,
        (call, answer): (Waiting<O>, oneshot::Receiver<Result<O::Output>>),
    ) -> Result<O::Output> {
        to.send(Box::new(call)).await.map_err(|_| Error::Closed(NAME))?;
        let answer = answer.await.map_err(|_| Error::Closed(NAME))?;
        answer.map_err(|error| error::in_file(error, &self.options.path))
    }
}

/// What the thread needs besides its connection.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) options: Arc<SqliteOptions>,
    pub(crate) clock: Clock,
    pub(crate) hub: SharedHub,
    pub(crate) memory: Arc<Memory>,
}

/// Inserts jobs.
struct Insert {
    jobs: Vec<NewJob>,
}

#[async_trait]
impl Operation for Insert {
    type Output = Vec<Inserted>;
    const NAME: &'static str = "insert";

    async fn run(&self, txn: &mut Txn<'_>) -> Result<Vec<Inserted>> {
        insert::insert(txn, &self.jobs).await
    }

    fn look(&self, _: &Memory) -> Option<Script> {
        Some(insert::look(&[&self.jobs]).into())
    }

    fn weight(&self) -> usize {
        self.jobs.len()
    }
}

/// Ends the thread.
struct Close;

#[async_trait]
impl Operation for Close {
    type Output = ();
    const NAME: &'static str = "close";

    async fn run(&self, _: &mut Txn<'_>) -> Result<()> {
        Ok(())
    }
}

/// A call with its operation's type erased.
#[async_trait]
trait Call: Send {
    fn name(&self) -> &'static str;
    fn weight(&self) -> usize;
    fn look(&self, memory: &Memory) -> Option<Script>;
    fn knows(&self, memory: &Memory) -> bool;
    /// Nobody waits for the answer any more.
    fn is_abandoned(&self) -> bool;
    /// Jobs that may be inserted together with those of other calls.
    fn shareable(&self) -> Option<&[NewJob]>;
    fn shared(&mut self, answer: Result<Vec<Inserted>>);
    /// Runs the operation and keeps the answer. False when it failed.
    async fn run(&mut self, txn: &mut Txn<'_>) -> bool;
    fn fail(&mut self, error: Error);
    /// Takes the answer back: it is to be run again.
    fn reset(&mut self);
    /// Gives the answer to who waits.
    fn answer(self: Box<Self>);
    /// The error that it was run and answered.
    fn error(&self) -> Option<&Error>;
}

struct Waiting<O: Operation> {
    operation: O,
    shareable: bool,
    answer: Option<Result<O::Output>>,
    reply: oneshot::Sender<Result<O::Output>>,
}

impl<O: Operation> Waiting<O> {
    fn new(operation: O) -> (Self, oneshot::Receiver<Result<O::Output>>) {
        let (reply, answer) = oneshot::channel();
        (Self { operation, shareable: false, answer: None, reply }, answer)
    }
}

#[async_trait]
impl<O: Operation> Call for Waiting<O> {
    fn name(&self) -> &'static str {
        O::NAME
    }

    fn weight(&self) -> usize {
        self.operation.weight()
    }

    fn look(&self, memory: &Memory) -> Option<Script> {
        self.operation.look(memory)
    }

    fn knows(&self, memory: &Memory) -> bool {
        self.operation.knows(memory)
    }

    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn shareable(&self) -> Option<&[NewJob]> {
        let operation: &dyn std::any::Any = &self.operation;
        let insert = operation.downcast_ref::<Insert>().filter(|_| self.shareable)?;
        Some(&insert.jobs)
    }

    fn shared(&mut self, answer: Result<Vec<Inserted>>) {
        let answer: Box<dyn std::any::Any> = Box::new(answer);
        self.answer = answer.downcast::<Result<O::Output>>().ok().map(|answer| *answer);
    }

    async fn run(&mut self, txn: &mut Txn<'_>) -> bool {
        txn.during = O::NAME;
        let answer = self.operation.run(txn).await;
        // Another call must not start with what this one did not take.
        txn.forget_looked();
        let ok = answer.is_ok();
        self.answer = Some(answer);
        ok
    }

    fn fail(&mut self, error: Error) {
        self.answer = Some(Err(error));
    }

    fn reset(&mut self) {
        self.answer = None;
    }

    fn answer(self: Box<Self>) {
        // Who waited may be gone; the operation is applied all the same.
        let _ = self.reply.send(self.answer.unwrap_or(Err(Error::Closed(NAME))));
    }

    fn error(&self) -> Option<&Error> {
        self.answer.as_ref()?.as_ref().err()
    }
}

struct Thread {
    conn: Option<SqliteConnection>,
    shared: Shared,
    calls: mpsc::Receiver<Box<dyn Call>>,
    urgent: mpsc::Receiver<Box<dyn Call>>,
    /// When the feed or what is ready has last changed, here or in another process.
    last_news: Instant,
    watch: Watch,
    guess: Guess,
}

impl Thread {
    async fn run(mut self) {
        self.watch_log().await;
        loop {
            let Some(mut batch) = self.next().await else { break };
            let closing = batch.iter().any(|call| call.name() == Close::NAME);
            self.work(&mut batch).await;
            if closing {
                self.close().await;
                batch.into_iter().for_each(Call::answer);
                break;
            }
            batch.into_iter().for_each(Call::answer);
        }
        self.close().await;
    }

    /// Applies the calls, and notes whether anything has happened.
    async fn work(&mut self, batch: &mut [Box<dyn Call>]) {
        let before = self.shared.hub.tick();
        if AssertUnwindSafe(self.apply(batch)).catch_unwind().await.is_err() {
            // The state of the connection is unknown: drop it.
            self.conn = None;
            batch.iter_mut().for_each(|call| {
                let source = "the writer panicked".into();
                call.fail(Error::Backend { backend: NAME, during: call.name(), source });
            });
        }
        // Heartbeats and claims that find nothing are no news: idle workers send them all the time.
        let tick = self.shared.hub.tick();
        if tick != before {
            self.watch.committed(tick, Instant::now());
        }
        if tick != (Tick { now: tick.now, ..before }) {
            self.last_news = Instant::now();
        }
    }

    async fn close(&mut self) {
        if let Some(conn) = self.conn.take()
            && let Err(error) = conn.close().await
        {
            tracing::warn!(%error, "closing the database failed");
        }
    }

    /// The calls of the next transaction. `None` when no handle is left.
    async fn next(&mut self) -> Option<Vec<Box<dyn Call>>> {
        let first = loop {
            let (watched, interval) = (self.shared.hub.is_watched(), self.interval());
            let shortest = self.shared.options.watch_interval;
            tokio::select! {
                biased;
                Some(call) = self.urgent.recv() => break call,
                call = self.calls.recv() => break call?,
                () = self.watch.rest(shortest, interval), if watched => {
                    self.look().await;
                }
                () = self.shared.hub.watched(), if !watched => {}
            }
        };
        let mut weight = first.weight();
        let mut batch = vec![first];
        while weight < BATCH_WEIGHT {
            let Ok(call) = self.urgent.try_recv().or_else(|_| self.calls.try_recv()) else { break };
            weight += call.weight();
            batch.push(call);
        }
        batch.retain(|call| !call.is_abandoned());
        Some(batch)
    }

    /// How long until the next look for commits of other processes: longer when nothing has happened for a while.
    fn interval(&self) -> Duration {
        let quiet = self.last_news.elapsed();
        let times = QUIET.iter().filter(|span| quiet >= **span).count();
        self.shared.options.watch_interval * 2_u32.pow(u32::try_from(times).unwrap_or(0))
    }

    /// Looks for commits of other processes.
    async fn look(&mut self) {
        let Some(conn) = &mut self.conn else {
            self.shared.hub.looked(false);
            return self.reopen().await;
        };
        if !self.watch.is_due(Instant::now()) {
            return;
        }
        let row = sqlx::query(include_str!("sql/tick.sql")).fetch_one(conn).await;
        match row.and_then(|row| Tick::read(&row)) {
            Ok(tick) => {
                self.shared.hub.looked(true);
                self.watch.saw(tick, Instant::now());
                if self.shared.hub.found(tick) {
                    self.last_news = Instant::now();
                }
            }
            Err(error) => {
                self.shared.hub.looked(false);
                self.watch.failed();
                self.troubled(&error);
            }
        }
    }

    fn troubled(&mut self, error: &sqlx::Error) {
        if error::breaks_connection(error) {
            self.conn = None;
        }
    }

    async fn watch_log(&mut self) {
        if let Some(conn) = &mut self.conn {
            self.watch = Watch::new(open::log(conn).await);
        }
    }

    async fn reopen(&mut self) {
        match open::writer(&self.shared.options).await {
            Ok(conn) => {
                self.conn = Some(conn);
                self.watch_log().await;
            }
            Err(error) => {
                tracing::warn!(%error, "the database can't be opened again; trying further");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// Applies the calls and leaves an answer in each.
    async fn apply(&mut self, batch: &mut [Box<dyn Call>]) {
        if batch.is_empty() {
            return;
        }
        if self.conn.is_none() {
            self.reopen().await;
        }
        let Some(conn) = &mut self.conn else {
            let lost = || sqlx::Error::Io(std::io::ErrorKind::NotConnected.into());
            for call in batch.iter_mut() {
                call.fail(error::translate(call.name(), lost()));
            }
            return;
        };
        // Without savepoints first: an operation that fails is rare, and then all are run again, each in its own.
        let mut guarded = false;
        loop {
            match transaction(conn, &self.shared, &mut self.guess, batch, guarded).await {
                Ok(Outcome::Done) => return,
                Ok(Outcome::RunGuarded) => guarded = true,
                Err(error) => {
                    rollback(conn).await;
                    // A call that failed by itself has the better error: it is what made SQLite roll back.
                    for call in batch.iter_mut().filter(|call| call.error().is_none()) {
                        call.fail(error::translate(call.name(), error.clone()));
                    }
                    self.troubled(&error);
                    return;
                }
            }
        }
    }
}
