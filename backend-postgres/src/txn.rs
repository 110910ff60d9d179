//! What the operations of one transaction share: the time, and what is written once at its end (feed entries, counts).

use std::collections::{BTreeSet, HashMap};

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Postgres, Row};
use uuid::Uuid;
use windlass_core::kit::feed;
use windlass_core::{Error, EventBody, JobId, Limits, Result, State};

use crate::error::map;
use crate::sql::{Query, Statements, query, size};

/// What others are to be told after the commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// Queues in which jobs became available or whose settings changed.
    pub(crate) queues: BTreeSet<String>,
    /// The feed grew.
    pub(crate) events: bool,
}

impl News {
    pub(crate) fn is_empty(&self) -> bool {
        self.queues.is_empty() && !self.events
    }
}

/// Jobs that came into or left a state, counted over a batch.
#[derive(Debug, Default)]
pub(crate) struct Tally(HashMap<(String, String, State), i64>);

impl Tally {
    pub(crate) fn count(&mut self, queue: &str, kind: &str, state: State, change: i64) {
        *self.0.entry((queue.to_owned(), kind.to_owned(), state)).or_default() += change;
    }

    /// How many more wait in a queue.
    fn waiting(&self, queue: &str) -> i64 {
        let waits = |state: State| !state.is_final() && state != State::Running;
        let counts = self.0.iter();
        counts.filter(|((q, _, state), _)| q == queue && waits(*state)).map(|(_, jobs)| jobs).sum()
    }

    /// Columns: queues, kinds, states, numbers.
    pub(crate) fn columns(self) -> (Vec<String>, Vec<String>, Vec<i16>, Vec<i64>) {
        let mut columns = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for ((queue, kind, state), jobs) in self.0.into_iter().filter(|(_, jobs)| *jobs != 0) {
            columns.0.push(queue);
            columns.1.push(kind);
            columns.2.push(i16::from(state.code()));
            columns.3.push(jobs);
        }
        columns
    }
}

/// An open transaction.
#[derive(Debug)]
pub(crate) struct Txn<'c> {
    conn: &'c mut PgConnection,
    pub(crate) sql: &'c Statements,
    pub(crate) limits: &'c Limits,
    /// The operation under way, for errors.
    pub(crate) during: &'static str,
    /// When its first statement began.
    pub(crate) now: i64,
    pub(crate) news: News,
    persistent: bool,
    again: bool,
    ended: bool,
    locked: bool,
    entries: (Vec<i64>, Vec<Option<Uuid>>, Vec<String>),
    tally: Tally,
}

impl<'c> Txn<'c> {
    /// The transaction that is open on the connection.
    pub(crate) async fn join(
        conn: &'c mut PgConnection,
        sql: &'c Statements,
        limits: &'c Limits,
        during: &'static str,
        persistent: bool,
    ) -> sqlx::Result<Self> {
        let row = query(&sql.begin).persistent(persistent).fetch_one(&mut *conn).await?;
        Ok(Self {
            conn,
            sql,
            limits,
            during,
            now: row.try_get(0)?,
            news: News::default(),
            persistent,
            again: false,
            ended: false,
            locked: false,
            entries: (Vec::new(), Vec::new(), Vec::new()),
            tally: Tally::default(),
        })
    }

    /// Runs a statement that answers rows.
    pub(crate) async fn fetch(&mut self, query: Query) -> Result<Vec<PgRow>> {
        let query = query.persistent(self.persistent);
        query.fetch_all(&mut *self.conn).await.map_err(|error| self.failed(error))
    }

    /// Runs a statement that writes and tells how many rows it changed.
    pub(crate) async fn execute(&mut self, query: Query) -> Result<u64> {
        let query = query.persistent(self.persistent);
        let done = query.execute(&mut *self.conn).await.map_err(|error| self.failed(error))?;
        Ok(done.rows_affected())
    }

    fn failed(&mut self, error: sqlx::Error) -> Error {
        self.ended |= crate::error::is_conflict(&error);
        self.again |= crate::calls::needs_long_path(&error);
        self.locked |= crate::error::is_locked(&error);
        map(self.during)(error)
    }

    /// Whether the error that ended the operation is one after which the whole transaction is to be run again.
    pub(crate) fn is_conflict(&self) -> bool {
        self.again || self.ended
    }

    /// Whether the operation failed since others held a lock for too long.
    pub(crate) fn is_locked(&self) -> bool {
        self.locked
    }

    /// Whether the operation may run again in the same transaction, once its own writes are taken back. After a deadlock or a
    /// serialization failure it may not.
    pub(crate) fn is_repeatable(&self) -> bool {
        self.again && !self.ended
    }

    /// An error after which the whole operation runs again: others have changed what it looked at.
    pub(crate) fn changed_meanwhile(&mut self) -> Error {
        self.again = true;
        map(self.during)(sqlx::Error::Io(std::io::Error::other(
            "what the transaction looked at was changed by others again and again",
        )))
    }

    /// Draws numbers for entries of the feed, and turns. Only after the rows that they are for have been locked: of two changes to a job the later must
    /// have the higher number.
    pub(crate) async fn draw(
        &mut self,
        entries: usize,
        turns: usize,
    ) -> Result<(Vec<i64>, Vec<i64>)> {
        let statement = query(&self.sql.draw).bind(size(entries)).bind(size(turns));
        let mut drawn = (Vec::with_capacity(entries), Vec::with_capacity(turns));
        for row in self.fetch(statement).await? {
            let number = self.get(&row, 1)?;
            if self.get(&row, 0)? { drawn.0.push(number) } else { drawn.1.push(number) }
        }
        drawn.0.sort_unstable();
        drawn.1.sort_unstable();
        if drawn.0.len() != entries || drawn.1.len() != turns {
            return Err(self.unexpected("numbers drawn"));
        }
        Ok(drawn)
    }

    /// Adds an entry of state changes to the feed.
    pub(crate) fn emit(&mut self, seq: i64, body: String) {
        self.push(seq, None, body);
    }

    /// Adds an entry that belongs to one job. That of a job whose kind or queue can't be read is left out: it must not hold up the others' changes.
    pub(crate) fn emit_single(
        &mut self,
        seq: i64,
        job: JobId,
        kind: &str,
        queue: &str,
        body: EventBody,
    ) -> Result<()> {
        match feed::single(kind, queue, body) {
            Ok(body) => self.push(seq, Some(*job.as_uuid()), body),
            Err(error @ Error::Invalid { .. }) => {
                tracing::error!(%job, %error, "a job's kind or queue can't be read, and what happened to it is left out of the feed");
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn push(&mut self, seq: i64, job: Option<Uuid>, body: String) {
        self.entries.0.push(seq);
        self.entries.1.push(job);
        self.entries.2.push(body);
        self.news.events = true;
    }

    /// Notes that a queue's jobs or settings are worth a look.
    pub(crate) fn wake(&mut self, queue: &str) {
        if !self.news.queues.contains(queue) {
            self.news.queues.insert(queue.to_owned());
        }
    }

    pub(crate) fn count(&mut self, queue: &str, kind: &str, state: State, change: i64) {
        self.tally.count(queue, kind, state, change);
    }

    /// How many jobs came to wait in a queue in this transaction, beyond what the counts say.
    pub(crate) fn pending_depth(&self, queue: &str) -> i64 {
        self.tally.waiting(queue)
    }

    /// Writes what was left for the end.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        let (seqs, jobs, bodies) = std::mem::take(&mut self.entries);
        let (queues, kinds, states, numbers) = std::mem::take(&mut self.tally).columns();
        if seqs.is_empty() && queues.is_empty() {
            return Ok(());
        }
        let statement = query(&self.sql.flush).bind(seqs).bind(self.now).bind(jobs).bind(bodies);
        let statement = statement.bind(queues).bind(kinds).bind(states).bind(numbers);
        self.execute(statement).await?;
        Ok(())
    }

    /// A statement did not do what the rows it was made from, locked by this transaction, say it must.
    pub(crate) fn unexpected(&self, what: &'static str) -> Error {
        Error::Backend {
            backend: crate::error::NAME,
            during: self.during,
            source: format!("{what}: the number is not the expected one; nothing was written")
                .into(),
        }
    }

    /// Fails unless a statement changed as many rows as it was given.
    pub(crate) fn check_rows(&self, what: &'static str, changed: u64, given: usize) -> Result<()> {
        if usize::try_from(changed) == Ok(given) { Ok(()) } else { Err(self.unexpected(what)) }
    }

    /// Reads a column of a row.
    pub(crate) fn get<'r, T>(&self, row: &'r PgRow, column: usize) -> Result<T>
    where
        T: sqlx::Decode<'r, Postgres> + sqlx::Type<Postgres>,
    {
        row.try_get(column).map_err(map(self.during))
    }
}

/// Ids as an array.
pub(crate) fn uuids<'a>(ids: impl IntoIterator<Item = &'a JobId>) -> Vec<Uuid> {
    ids.into_iter().map(|id| *id.as_uuid()).collect()
}
