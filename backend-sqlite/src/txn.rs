//! What the operations of one transaction share: the time, the counters that never step back, and what is
//! written once at its end (feed entries, counts, the tick).

use std::collections::{BTreeSet, HashMap};

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use windlass_core::{
    EventBody, JobId, Kind, LeaseKey, Limits, Priority, QueueName, Result, Settlement, State,
    WorkerId,
};

use crate::batch::{self, Query, Rows};
use crate::clock::Clock;
use crate::error;
use crate::ops::memory::{self, Memory};
use crate::ops::picked::Taken;
use crate::ops::stored::Stored;
use crate::script::{Script, Statement, statement};
use windlass_core::kit::feed;

/// The one row of `windlass_tick`, as far as transactions need it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tick {
    pub(crate) now: i64,
    /// Number of the last feed entry.
    pub(crate) seq: i64,
    /// Turn of the job that became available last.
    pub(crate) turn: i64,
    /// Grows with each change of queue settings.
    pub(crate) config: i64,
}

impl Tick {
    pub(crate) fn read(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            now: row.try_get(0)?,
            seq: row.try_get(1)?,
            turn: row.try_get(2)?,
            config: row.try_get(3)?,
        })
    }
}

/// What others are to be told after the COMMIT.
#[derive(Debug, Clone, Default)]
pub(crate) struct News {
    /// Queues in which jobs became available or whose settings changed.
    pub(crate) queues: BTreeSet<String>,
    /// The feed grew.
    pub(crate) events: bool,
}

/// Writes that wait for the end of the transaction; an operation that fails takes its own back.
#[derive(Debug, Clone, Default)]
struct Pending {
    entries: Vec<PendingEntry>,
    counts: HashMap<(String, String, u8), i64>,
    news: News,
}

#[derive(Debug, Clone)]
struct PendingEntry {
    seq: i64,
    job: Option<JobId>,
    body: String,
}

/// An open transaction.
#[derive(Debug)]
pub(crate) struct Txn<'c> {
    pub(crate) conn: &'c mut SqliteConnection,
    pub(crate) limits: &'c Limits,
    /// The operation under way, for errors.
    pub(crate) during: &'static str,
    pub(crate) now: i64,
    start: Tick,
    tick: Tick,
    dirty: bool,
    pending: Pending,
    /// Writes that go with the next statement.
    deferred: Script,
    looked: Option<Vec<SqliteRow>>,
    memory: Option<&'c Memory>,
    /// It reads jobs also where they are remembered.
    reads: bool,
    /// It writes jobs as they are remembered.
    recalled: bool,
    /// What is to be remembered after the COMMIT.
    claimed: Vec<Stored>,
}

/// Jobs that came into or left a state, counted over a batch.
#[derive(Debug, Default)]
pub(crate) struct Tally<'a>(HashMap<(&'a str, &'a str, State), i64>);

impl<'a> Tally<'a> {
    pub(crate) fn count(&mut self, queue: &'a str, kind: &'a str, state: State, change: i64) {
        *self.0.entry((queue, kind, state)).or_default() += change;
    }
}

/// Where an operation started; see [`Txn::mark`].
#[derive(Debug)]
pub(crate) struct Mark {
    dirty: bool,
    pending: Pending,
    /// How many jobs were claimed.
    claimed: usize,
}

impl<'c> Txn<'c> {
    /// Begins a transaction on the connection, reads the tick and, in the same go, what the first operation will
    /// look at first.
    pub(crate) async fn begin(
        conn: &mut SqliteConnection,
        look: Option<Script>,
    ) -> sqlx::Result<(Tick, Option<Vec<SqliteRow>>)> {
        let mut script = Script::default();
        script.push(statement(include_str!("sql/begin.sql")));
        let looked = look.is_some();
        look.into_iter().for_each(|look| script.append(look));
        let mut rows = script.run(conn).await?.into_iter();
        let tick = Tick::read(&rows.next().ok_or(sqlx::Error::RowNotFound)?)?;
        Ok((tick, looked.then(|| rows.collect())))
    }

    /// Reads the tick without a transaction.
    pub(crate) async fn peek(conn: &mut SqliteConnection) -> sqlx::Result<Tick> {
        Tick::read(&sqlx::query(include_str!("sql/tick.sql")).fetch_one(conn).await?)
    }

    /// Reads the tick in a transaction that is open on the connection. It begins with a write: a transaction that has
    /// read first can't write any more once another one has committed.
    pub(crate) async fn join(conn: &mut SqliteConnection) -> sqlx::Result<Tick> {
        Tick::read(&sqlx::query(include_str!("sql/join.sql")).fetch_one(conn).await?)
    }

    /// The transaction that is open on the connection, with the tick just read in it.
    pub(crate) fn new(
        conn: &'c mut SqliteConnection,
        start: Tick,
        clock: &Clock,
        limits: &'c Limits,
    ) -> Self {
        let now = clock.now(start.now);
        let tick = Tick { now, ..start };
        Self {
            conn,
            limits,
            during: "begin",
            now,
            start,
            tick,
            dirty: false,
            pending: Pending::default(),
            deferred: Script::default(),
            looked: None,
            memory: None,
            reads: false,
            recalled: false,
            claimed: Vec::new(),
        }
    }

    /// With what is remembered of running jobs.
    pub(crate) fn with_memory(mut self, memory: &'c Memory) -> Self {
        self.memory = Some(memory);
        self
    }

    /// Settles nothing as it is remembered.
    pub(crate) fn reading(self) -> Self {
        Self { reads: true, ..self }
    }

    /// Notes jobs just claimed, to be remembered once that is committed.
    pub(crate) fn note_claimed(&mut self, taken: &[Taken], worker: WorkerId) {
        if self.memory.is_some() {
            self.claimed.extend(memory::claimed(taken, worker));
        }
    }

    /// Which kind alone was ready, and in which queue, at the last claim.
    pub(crate) fn ready(&self) -> Option<(QueueName, Kind)> {
        self.memory?.ready()
    }

    /// Notes which kind alone is ready, and in which queue.
    pub(crate) fn note_ready(&self, ready: Option<(QueueName, Kind)>) {
        if let Some(memory) = self.memory {
            memory.note_ready(ready);
        }
    }

    /// The jobs of the settlements, if all are remembered and no more need be known.
    pub(crate) fn recall(&mut self, batch: &[&Settlement]) -> Option<HashMap<LeaseKey, Stored>> {
        let jobs = self.memory.filter(|_| !self.reads)?.recall(batch)?;
        self.recalled = true;
        Some(jobs)
    }

    /// Forgets jobs that are settled.
    pub(crate) fn forget(&self, settlements: &[Settlement]) {
        if let Some(memory) = self.memory {
            memory.forget(settlements);
        }
    }

    /// Whether it writes jobs that were not read, so that a failure may only mean that one is not as remembered.
    pub(crate) fn has_recalled(&self) -> bool {
        self.recalled
    }

    /// A transaction that begins with its first statement, and fails there unless the tick is as given and `check` finds nothing
    /// wrong. What the first operation looks at counts as empty: one that would find more must forget that first.
    pub(crate) fn guess(
        conn: &'c mut SqliteConnection,
        tick: Tick,
        check: Statement,
        clock: &Clock,
        limits: &'c Limits,
    ) -> Self {
        let mut txn = Self::new(conn, tick, clock, limits).with_looked(Some(Vec::new()));
        txn.deferred.push(statement("BEGIN IMMEDIATE"));
        txn.deferred.push(check);
        txn
    }

    /// With what [`begin`](Self::begin) looked at.
    pub(crate) fn with_looked(mut self, looked: Option<Vec<SqliteRow>>) -> Self {
        self.looked = looked;
        self
    }

    /// Notes where an operation starts, so that [`reset`](Self::reset) can take its pending writes back.
    pub(crate) fn mark(&self) -> Mark {
        let (pending, claimed) = (self.pending.clone(), self.claimed.len());
        Mark { dirty: self.dirty, pending, claimed }
    }

    /// Forgets what became pending after the mark. The statements are rolled back by a savepoint.
    pub(crate) fn reset(&mut self, mark: Mark) {
        self.dirty = mark.dirty;
        self.pending = mark.pending;
        self.claimed.truncate(mark.claimed);
        self.deferred = Script::default();
    }

    /// Adds a statement that writes and whose answer doesn't matter: it goes with the next one.
    pub(crate) fn write(&mut self, statement: Statement) {
        self.dirty = true;
        self.deferred.push(statement);
    }

    /// Takes out what waits for the next statement.
    #[cfg(test)]
    pub(crate) fn take_deferred(&mut self) -> Vec<Statement> {
        self.deferred.take()
    }

    /// Runs what waits for the next statement.
    pub(crate) async fn settle(&mut self) -> Result<()> {
        if !self.deferred.is_empty() {
            let deferred = std::mem::take(&mut self.deferred);
            deferred.run(self.conn).await.map_err(error::map(self.during))?;
        }
        Ok(())
    }

    /// Runs a statement that answers rows.
    pub(crate) async fn read(&mut self, statement: Statement) -> Result<Vec<SqliteRow>> {
        let mut script = std::mem::take(&mut self.deferred);
        script.push(statement);
        script.run(self.conn).await.map_err(error::map(self.during))
    }

    /// Runs a statement that answers JSON. `None` when a value stands in its way that JSON can't hold.
    pub(crate) async fn read_json(
        &mut self,
        statement: Statement,
    ) -> Result<Option<Vec<SqliteRow>>> {
        let mut script = std::mem::take(&mut self.deferred);
        script.push(statement);
        match script.run(self.conn).await {
            Ok(rows) => Ok(Some(rows)),
            Err(error) if error::is_no_json(&error) => Ok(None),
            Err(error) => Err(error::translate(self.during, error)),
        }
    }

    /// What the transaction began with.
    pub(crate) fn take_looked(&mut self) -> Option<Vec<SqliteRow>> {
        self.looked.take()
    }

    /// Runs the first statement of an operation, unless the transaction began with it.
    pub(crate) async fn look(&mut self, statement: Statement) -> Result<Vec<SqliteRow>> {
        match self.looked.take() {
            Some(rows) => Ok(rows),
            None => self.read(statement).await,
        }
    }

    /// Whether the transaction began with a look that found nothing.
    pub(crate) fn looked_at_nothing(&self) -> bool {
        self.looked.as_ref().is_some_and(Vec::is_empty)
    }

    /// Forgets what the transaction began with.
    pub(crate) fn forget_looked(&mut self) {
        self.looked = None;
    }

    /// Runs a statement that writes and tells how many rows it changed.
    pub(crate) async fn execute(&mut self, query: Query) -> Result<u64> {
        self.settle().await?;
        let changed = batch::execute(self.conn, query).await.map_err(error::map(self.during))?;
        self.dirty |= changed > 0;
        Ok(changed)
    }

    /// Runs a statement that answers rows.
    pub(crate) async fn fetch(&mut self, query: Query) -> Result<Vec<SqliteRow>> {
        self.settle().await?;
        query.fetch_all(&mut *self.conn).await.map_err(error::map(self.during))
    }

    /// Runs a statement that writes and answers rows.
    pub(crate) async fn execute_fetch(&mut self, query: Query) -> Result<Vec<SqliteRow>> {
        let rows = self.fetch(query).await?;
        self.dirty |= !rows.is_empty();
        Ok(rows)
    }

    /// Reads a column of a row.
    pub(crate) fn get<'r, T>(&self, row: &'r SqliteRow, column: usize) -> Result<T>
    where
        T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
    {
        row.try_get(column).map_err(error::map(self.during))
    }

    /// The rank of a job that becomes available now: by priority, then by turn.
    pub(crate) fn rank(&mut self, priority: Priority) -> i64 {
        self.tick.turn += 1;
        rank(priority.0, self.tick.turn)
    }

    /// The number of the next feed entry.
    pub(crate) fn next_seq(&mut self) -> i64 {
        self.tick.seq += 1;
        self.tick.seq
    }

    /// Adds an entry of state changes to the feed.
    pub(crate) fn emit(&mut self, seq: i64, body: String) {
        self.pending.entries.push(PendingEntry { seq, job: None, body });
        self.pending.news.events = true;
    }

    /// Adds an entry of one job to the feed.
    pub(crate) fn emit_single(
        &mut self,
        job: JobId,
        kind: &str,
        queue: &str,
        body: EventBody,
    ) -> Result<()> {
        let body = feed::single(kind, queue, body)?;
        let seq = self.next_seq();
        self.pending.entries.push(PendingEntry { seq, job: Some(job), body });
        self.pending.news.events = true;
        Ok(())
    }

    /// Counts a job that came into or left a state.
    pub(crate) fn count(&mut self, queue: &str, kind: &str, state: State, change: i64) {
        let key = (queue.to_owned(), kind.to_owned(), state.code());
        *self.pending.counts.entry(key).or_default() += change;
    }

    /// Counts what a batch did.
    pub(crate) fn count_all(&mut self, tally: Tally<'_>) {
        for ((queue, kind, state), change) in tally.0 {
            self.count(queue, kind, state, change);
        }
    }

    /// How many jobs came to wait in a queue in this transaction, beyond what the counts table says.
    pub(crate) fn pending_depth(&self, queue: &str) -> i64 {
        let waits = |state: u8| {
            matches!(
                State::from_code(state.into()),
                Some(State::Blocked | State::Scheduled | State::Available | State::Retryable)
            )
        };
        let counts = self.pending.counts.iter();
        counts.filter(|((q, _, state), _)| q == queue && waits(*state)).map(|(_, n)| n).sum()
    }

    /// Notes that jobs became available in a queue, or that its settings changed.
    pub(crate) fn wake(&mut self, queue: &str) {
        if !self.pending.news.queues.contains(queue) {
            self.pending.news.queues.insert(queue.to_owned());
        }
    }

    /// Notes that the settings of a queue changed, or that its workers should look for another reason.
    pub(crate) fn configured(&mut self, queue: &str) {
        self.tick.config += 1;
        self.wake(queue);
    }

    /// Notes a write made past [`execute`](Self::execute).
    pub(crate) fn touch(&mut self) {
        self.dirty = true;
    }

    fn flush(&self) -> Statement {
        let mut entries = Rows::new();
        for entry in &self.pending.entries {
            let row = entries.row().int(entry.seq).int(self.now);
            match &entry.job {
                Some(job) => row.id(job.as_bytes()),
                None => row.null(),
            };
            row.bytes(entry.body.as_bytes());
        }
        let mut counts = Rows::new();
        for ((queue, kind, state), change) in &self.pending.counts {
            if *change != 0 {
                counts.row().text(queue).text(kind).int(*state).int(*change);
            }
        }
        let query = entries.query_with_bytes(include_str!("sql/flush.sql")).bind(counts.done().0);
        query.bind(self.now).bind(self.tick.seq).bind(self.tick.turn).bind(self.tick.config)
    }

    fn wrote(&self) -> bool {
        self.dirty || self.tick != (Tick { now: self.now, ..self.start })
    }

    /// Writes what is pending and leaves the transaction open.
    pub(crate) async fn finish(mut self) -> sqlx::Result<()> {
        if self.wrote() {
            let mut script = std::mem::take(&mut self.deferred);
            script.push(self.flush());
            script.run(self.conn).await?;
        }
        Ok(())
    }

    /// Writes what is pending and commits. Answers what to tell, and the tick as it stands then.
    pub(crate) async fn commit(mut self) -> sqlx::Result<(News, Tick)> {
        let wrote = self.wrote();
        let mut script = std::mem::take(&mut self.deferred);
        if wrote {
            script.push(self.flush());
        }
        script.push(statement("COMMIT"));
        script.run(self.conn).await?;
        if let Some(memory) = self.memory {
            memory.note(self.claimed);
        }
        if wrote { Ok((self.pending.news, self.tick)) } else { Ok((News::default(), self.start)) }
    }

    /// The tick as the transaction found it.
    pub(crate) fn found(&self) -> Tick {
        self.start
    }
}

/// Orders available jobs: priority in the upper 16 bits, the turn in the lower 47.
pub(crate) fn rank(priority: i16, turn: i64) -> i64 {
    (i64::from(priority) - i64::from(i16::MIN)) << 47 | (turn & ((1 << 47) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_order_by_priority_then_turn() {
        let ranks = [
            rank(i16::MIN, 0),
            rank(i16::MIN, 9),
            rank(-1, 1 << 46),
            rank(0, 1),
            rank(i16::MAX, (1 << 47) - 1),
        ];
        assert!(ranks.is_sorted() && ranks[0] == 0 && ranks[4] == i64::MAX);
    }
}
