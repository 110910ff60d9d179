//! [`Transactional`]: jobs and outcomes that commit together with the host's own writes.

use sqlx::{Connection as _, SqliteConnection};
use windlass_core::{Inserted, NewJob, Result, Settled, Settlement, Transactional};

use crate::SqliteBackend;
use crate::error::{code, in_file, map};
use crate::ops::{insert, settle};
use crate::txn::Txn;

/// SQLite's code for "cannot start a transaction within a transaction", among other things.
const GENERIC: i32 = 1;

impl Transactional for SqliteBackend {
    type Conn = SqliteConnection;

    async fn insert_in(
        &self,
        conn: &mut SqliteConnection,
        jobs: &[NewJob],
    ) -> Result<Vec<Inserted>> {
        self.options.limits.check_insert(jobs)?;
        self.in_step("insert_in", conn, async |txn| insert::insert(txn, jobs).await).await
    }

    async fn settle_in(
        &self,
        conn: &mut SqliteConnection,
        settlement: &Settlement,
    ) -> Result<Settled> {
        let settled = self.in_step("settle_in", conn, async |txn| {
            settle::settle(txn, std::slice::from_ref(settlement)).await
        });
        Ok(settled.await?.into_iter().next().unwrap_or(Settled::Lost))
    }
}

impl SqliteBackend {
    /// Runs an operation on the host's connection: applied whole, or taken back.
    pub(crate) async fn in_step<T>(
        &self,
        during: &'static str,
        conn: &mut SqliteConnection,
        operation: impl AsyncFnOnce(&mut Txn<'_>) -> Result<T>,
    ) -> Result<T> {
        let of_file = |error| in_file(error, &self.options.path);
        let mut step = Step::begin(during, conn).await.map_err(of_file)?;
        let answer = async {
            let mut txn = self.join(during, step.conn()).await?;
            let answer = operation(&mut txn).await?;
            txn.finish().await.map_err(map(during))?;
            Ok(answer)
        };
        let answer = answer.await;
        step.end(answer).await.map_err(of_file)
    }

    async fn join<'c>(
        &'c self,
        during: &'static str,
        conn: &'c mut SqliteConnection,
    ) -> Result<Txn<'c>> {
        let tick = Txn::join(conn).await.map_err(map(during))?;
        let mut txn = Txn::new(conn, tick, &self.clock, &self.options.limits);
        txn.during = during;
        Ok(txn)
    }
}

/// One call on the host's connection: applied whole, or taken back without touching what the host wrote.
enum Step<'c> {
    /// The driver knows of the host's transaction, or there was none: a transaction of the driver's, which it
    /// rolls back when the future is dropped.
    Driver(&'static str, sqlx::Transaction<'c, sqlx::Sqlite>),
    /// The host began its transaction by a statement of its own.
    Plain(&'static str, &'c mut SqliteConnection),
}

impl<'c> Step<'c> {
    async fn begin(during: &'static str, conn: &'c mut SqliteConnection) -> Result<Self> {
        if conn.is_in_transaction() {
            let nested = conn.begin().await.map_err(map(during))?;
            return Ok(Self::Driver(during, nested));
        }
        // Whether the host is in a transaction that it began by hand shows only by trying.
        match sqlx::query("BEGIN IMMEDIATE").execute(&mut *conn).await {
            Ok(_) => {
                sqlx::query("ROLLBACK").execute(&mut *conn).await.map_err(map(during))?;
                let own = conn.begin_with("BEGIN IMMEDIATE").await.map_err(map(during))?;
                Ok(Self::Driver(during, own))
            }
            Err(error) if code(&error) == Some(GENERIC) => {
                let savepoint = sqlx::query("SAVEPOINT windlass_step");
                savepoint.execute(&mut *conn).await.map_err(map(during))?;
                Ok(Self::Plain(during, conn))
            }
            Err(error) => Err(map(during)(error)),
        }
    }

    fn conn(&mut self) -> &mut SqliteConnection {
        match self {
            Self::Driver(_, transaction) => transaction,
            Self::Plain(_, conn) => conn,
        }
    }

    /// Keeps what the operation wrote, or takes it back. Where SQLite has taken the whole transaction back by itself, as when the disk is
    /// full, nothing is left for the latter, and what is told is why.
    async fn end<T>(self, answer: Result<T>) -> Result<T> {
        match self {
            Self::Driver(during, transaction) if answer.is_ok() => {
                transaction.commit().await.map_err(map(during))?;
            }
            Self::Driver(_, transaction) => {
                let _ = transaction.rollback().await;
            }
            Self::Plain(during, conn) => {
                if answer.is_err() {
                    let undo = sqlx::query("ROLLBACK TO windlass_step");
                    if undo.execute(&mut *conn).await.is_err() {
                        return answer;
                    }
                }
                let release = sqlx::query("RELEASE windlass_step");
                release.execute(conn).await.map_err(map(during))?;
            }
        }
        answer
    }
}
