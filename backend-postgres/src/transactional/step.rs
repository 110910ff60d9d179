//! One call on the host's connection: applied whole, or taken back without touching what the host wrote, also when its future is dropped.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _, Row as _};
use windlass_core::{Error, Result};

use crate::error::{map, state};
use crate::sql::{Statements, query};

/// Savepoints stand in transactions only.
const NO_TRANSACTION: &str = "25P01";

/// A transaction of the driver's, which it rolls back when the future is dropped.
pub(crate) struct Step<'c> {
    during: &'static str,
    transaction: sqlx::Transaction<'c, sqlx::Postgres>,
    /// There was no transaction: it is one of the library's own, and no savepoint in the host's.
    own: bool,
}

impl<'c> Step<'c> {
    pub(super) async fn begin(
        during: &'static str,
        conn: &'c mut PgConnection,
        sql: &Statements,
        persistent: bool,
    ) -> Result<Self> {
        if conn.is_in_transaction() {
            // After a failure in a transaction the driver would answer a savepoint that is refused by ending the transaction, and what the
            // host does next would commit by itself. So that is found out before.
            let statement = query(&sql.isolation).persistent(persistent);
            let row = statement.fetch_one(&mut *conn).await.map_err(map(during))?;
            check_isolation(row.try_get(0).map_err(map(during))?)?;
            let transaction = Kept::new(conn.begin()).await.map_err(map(during))?;
            return Ok(Self { during, transaction, own: false });
        }
        // Whether the host is in a transaction that it began by hand shows only by trying.
        match conn.execute("SAVEPOINT windlass_step; RELEASE SAVEPOINT windlass_step").await {
            // Nobody could take back what a dropped call leaves in it.
            Ok(_) => Err(Error::invalid(
                "transaction",
                "it was begun by a statement of which the driver knows nothing: begin it by `begin` or `begin_with` of the connection or the pool",
            )),
            Err(error) if state(&error).as_deref() == Some(NO_TRANSACTION) => {
                let begin = "BEGIN ISOLATION LEVEL READ COMMITTED";
                let transaction = conn.begin_with(begin).await.map_err(map(during))?;
                Ok(Self { during, transaction, own: true })
            }
            Err(error) => Err(map(during)(error)),
        }
    }

    pub(super) fn is_own(&self) -> bool {
        self.own
    }

    pub(crate) fn conn(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }

    pub(super) async fn end<T>(self, answer: Result<T>) -> Result<T> {
        let ended = match answer {
            Ok(_) => self.transaction.commit().await,
            Err(_) => self.transaction.rollback().await,
        };
        // The first error is the one to tell.
        answer.and_then(|answer| ended.map(|()| answer).map_err(map(self.during)))
    }
}

/// An older snapshot hides what became of jobs and keys since: a job could be stored twice.
fn check_isolation(level: &str) -> Result<()> {
    if level == "read committed" {
        return Ok(());
    }
    Err(Error::invalid(
        "isolation of the transaction",
        "jobs are added and completed in `READ COMMITTED` transactions only",
    ))
}

/// A future that is leaked, and not dropped, when it is given up before its end. The driver answers a savepoint that is given up before the reply by ending the
/// host's transaction, and the host's own commit then does nothing and succeeds. Left alone, it is a savepoint in which nothing
/// happened; what is leaked is the little that the future holds.
struct Kept<F>(Option<Pin<Box<F>>>);

impl<F> Kept<F> {
    fn new(future: F) -> Self {
        Self(Some(Box::pin(future)))
    }
}

impl<F: Future> Future for Kept<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Some(future) = self.0.as_mut() else { return Poll::Pending };
        let polled = future.as_mut().poll(cx);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl<F> Drop for Kept<F> {
    fn drop(&mut self) {
        std::mem::forget(self.0.take());
    }
}
