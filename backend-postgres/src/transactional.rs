//! [`Transactional`]: jobs and outcomes that commit together with the host's own writes.

use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _};
use windlass_core::{Error, Inserted, NewJob, Result, Settled, Settlement, Transactional};

use crate::PostgresBackend;
use crate::error::{map, state};
use crate::ops::{insert, settle};
use crate::sql::query;
use crate::txn::{News, Txn};

/// Savepoints stand in transactions only.
const NO_TRANSACTION: &str = "25P01";
/// How often a step runs again when a job that it was to add appeared meanwhile.
const AGAIN: u32 = 4;

impl Transactional for PostgresBackend {
    type Conn = PgConnection;

    async fn insert_in(&self, conn: &mut PgConnection, jobs: &[NewJob]) -> Result<Vec<Inserted>> {
        self.hub.check_open()?;
        self.options.limits.check_insert(jobs)?;
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let mut tries = 0;
        loop {
            match self.insert_once(conn, jobs).await {
                Err(Failed { again: true, .. }) if tries < AGAIN => tries += 1,
                Err(Failed { error, .. }) => return Err(error),
                Ok(inserted) => return Ok(inserted),
            }
        }
    }

    async fn settle_in(&self, conn: &mut PgConnection, settlement: &Settlement) -> Result<Settled> {
        self.hub.check_open()?;
        let mut step = Step::begin("settle_in", conn).await?;
        let done = async {
            let mut txn = self.join("settle_in", step.conn()).await?;
            let settled = settle::settle(&mut txn, &[settlement], true).await?;
            txn.flush().await?;
            Ok((settled, std::mem::take(&mut txn.news)))
        };
        let done = done.await;
        let settled = self.end("settle_in", step, done).await?;
        Ok(settled.into_iter().next().unwrap_or(Settled::Lost))
    }
}

struct Failed {
    error: Error,
    again: bool,
}

impl PostgresBackend {
    async fn insert_once(
        &self,
        conn: &mut PgConnection,
        jobs: &[NewJob],
    ) -> Result<Vec<Inserted>, Failed> {
        let lasting = |error| Failed { error, again: false };
        let mut step = Step::begin("insert_in", conn).await.map_err(lasting)?;
        let mut again = false;
        let done = async {
            let mut txn = self.join("insert_in", step.conn()).await?;
            let inserted = insert::insert(&mut txn, jobs).await;
            let inserted = match inserted {
                Ok(inserted) => txn.flush().await.map(|()| inserted),
                Err(error) => Err(error),
            };
            again = txn.is_repeatable();
            Ok((inserted?, std::mem::take(&mut txn.news)))
        };
        let done = done.await;
        self.end("insert_in", step, done).await.map_err(|error| Failed { error, again })
    }

    async fn join<'c>(
        &'c self,
        during: &'static str,
        conn: &'c mut PgConnection,
    ) -> Result<Txn<'c>> {
        let persistent = !self.session.pooled;
        let txn = Txn::join(conn, &self.sql, &self.options.limits, during, persistent)
            .await
            .map_err(map(during))?;
        if txn.read_committed {
            return Ok(txn);
        }
        // An older snapshot hides what became of jobs and keys since: a job could be stored twice.
        Err(Error::invalid(
            "isolation of the transaction",
            "jobs are added and completed in `READ COMMITTED` transactions only",
        ))
    }

    /// Ends a step; who waits is told once the host has committed.
    async fn end<T>(
        &self,
        during: &'static str,
        mut step: Step<'_>,
        done: Result<(T, News)>,
    ) -> Result<T> {
        let done = match done {
            Ok((answer, news)) if step.is_own() || news.is_empty() => Ok((answer, news, None)),
            Ok((answer, news)) => {
                let statement = query(&self.sql.join).persistent(!self.session.pooled);
                let row = statement.fetch_one(step.conn()).await;
                row.and_then(|row| sqlx::Row::try_get::<String, _>(&row, 1))
                    .map(|number| (answer, news, Some(number)))
                    .map_err(map(during))
            }
            Err(error) => Err(error),
        };
        let (answer, news, host) = step.end(done).await?;
        match host {
            None => self.hub.committed(&news),
            Some(number) => self.hub.after_commit(number, news),
        }
        Ok(answer)
    }
}

/// One call on the host's connection: applied whole, or taken back without touching what the host wrote.
enum Step<'c> {
    /// There was no transaction: one of the library's own.
    Own(&'static str, sqlx::Transaction<'c, sqlx::Postgres>),
    /// The driver knows of the host's transaction: a savepoint of the driver's, which it rolls back when the future is dropped.
    Nested(&'static str, sqlx::Transaction<'c, sqlx::Postgres>),
    /// The host began its transaction by a statement of its own.
    Plain(&'static str, &'c mut PgConnection),
}

impl<'c> Step<'c> {
    async fn begin(during: &'static str, conn: &'c mut PgConnection) -> Result<Self> {
        if conn.is_in_transaction() {
            return Ok(Self::Nested(during, conn.begin().await.map_err(map(during))?));
        }
        // Whether the host is in a transaction that it began by hand shows only by trying.
        match conn.execute("SAVEPOINT windlass_step").await {
            Ok(_) => Ok(Self::Plain(during, conn)),
            Err(error) if state(&error).as_deref() == Some(NO_TRANSACTION) => {
                let begin = "BEGIN ISOLATION LEVEL READ COMMITTED";
                Ok(Self::Own(during, conn.begin_with(begin).await.map_err(map(during))?))
            }
            Err(error) => Err(map(during)(error)),
        }
    }

    fn is_own(&self) -> bool {
        matches!(self, Self::Own(..))
    }

    fn conn(&mut self) -> &mut PgConnection {
        match self {
            Self::Own(_, transaction) | Self::Nested(_, transaction) => transaction,
            Self::Plain(_, conn) => conn,
        }
    }

    async fn end<T>(self, answer: Result<T>) -> Result<T> {
        match self {
            Self::Own(during, transaction) | Self::Nested(during, transaction) => {
                let ended = match answer {
                    Ok(_) => transaction.commit().await,
                    Err(_) => transaction.rollback().await,
                };
                // The first error is the one to tell.
                answer.and_then(|answer| ended.map(|()| answer).map_err(map(during)))
            }
            Self::Plain(during, conn) => {
                let sql = match answer {
                    Ok(_) => "RELEASE SAVEPOINT windlass_step",
                    Err(_) => {
                        "ROLLBACK TO SAVEPOINT windlass_step; RELEASE SAVEPOINT windlass_step"
                    }
                };
                let ended = conn.execute(sql).await;
                answer.and_then(|answer| ended.map(|_| answer).map_err(map(during)))
            }
        }
    }
}
