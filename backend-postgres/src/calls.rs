//! How the trait methods reach the database: as one statement that stands for itself, or as an operation in a transaction that is run again
//! when others were in its way.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::Connection as _;
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgConnection, PgRow};
use windlass_core::machine::Rescue;
use windlass_core::{
    BlobKey, Change, Changed, Cursor, Inserted, JobId, NewJob, Note, Pruned, QueueChange,
    QueueName, QueueSettings, Record, Recorded, Result, Retention, Selector, Settled, Settlement,
};

use crate::PostgresBackend;
use crate::error::{LONG_PATH, is_conflict, map, state};
use crate::ops;
use crate::ops::prune::Times;
use crate::session::{STATEMENT, timed_out};
use crate::sql::Query;
use crate::txn::{News, Txn};

/// The constraint that jobs of the same id violate.
const PRIMARY_KEY: &str = "jobs_pkey";
/// How often a transaction runs again when others were in its way.
const AGAIN: u32 = 12;

/// A piece of work in a transaction. It may run several times, so it changes nothing outside.
#[async_trait]
pub(crate) trait Operation: Send + Sync {
    type Output: Send;
    /// Its name in errors: the trait method.
    const NAME: &'static str;
    /// It waits for a lock of others no longer than the lock timeout.
    const BRIEF: bool;

    async fn run(&self, txn: &mut Txn<'_>) -> Result<Self::Output>;
}

/// Declares an operation: its fields are the arguments, its body runs in the transaction.
macro_rules! operation {
    (@) => { false };
    (@ brief) => { true };
    ($name:ident { $($field:ident: $type:ty),* $(,)? } as $during:literal $($brief:ident)? -> $output:ty, |$this:ident, $txn:ident| $body:expr) => {
        pub(crate) struct $name { $(pub(crate) $field: $type),* }

        #[async_trait]
        impl Operation for $name {
            type Output = $output;
            const NAME: &'static str = $during;
            const BRIEF: bool = operation!(@ $($brief)?);

            async fn run(&self, $txn: &mut Txn<'_>) -> Result<$output> {
                let $this = self;
                $body
            }
        }
    };
}

operation!(Insert { jobs: Vec<NewJob> } as "insert" -> Vec<Inserted>,
    |this, txn| ops::insert::insert(txn, &this.jobs).await);
operation!(Settle { settlements: Vec<Settlement>, wait: bool } as "settle" brief -> Vec<Settled>, |this, txn| {
    let all: Vec<&Settlement> = this.settlements.iter().collect();
    ops::settle::settle(txn, &all, this.wait).await
});
operation!(Records { records: Vec<Record> } as "record" brief -> Vec<Recorded>,
    |this, txn| ops::record::record(txn, &this.records).await);
operation!(RescueJobs { jobs: Vec<JobId>, why: Rescue } as "maintain" brief -> Vec<JobId>,
    |this, txn| ops::maintain::rescue_locked(txn, &this.jobs, this.why).await);
operation!(TrimTrails { jobs: Vec<JobId> } as "maintain" brief -> (),
    |this, txn| ops::apply::trim(txn, &this.jobs).await);
operation!(ChangeJobs { target: Selector, change: Change, after: Option<Cursor> } as "change" -> Changed,
    |this, txn| ops::change::change(txn, &this.target, &this.change, this.after.as_ref()).await);
operation!(Append { id: JobId, notes: Vec<Note> } as "append" -> (),
    |this, txn| ops::record::append(txn, this.id, &this.notes).await);
operation!(ConfigureQueue { name: QueueName, change: QueueChange } as "configure_queue" -> QueueSettings,
    |this, txn| ops::settings::configure(txn, &this.name, &this.change).await);
operation!(StageBlobs { keys: Vec<BlobKey>, ttl: Duration } as "stage_blobs" -> (),
    |this, txn| ops::prune::stage(txn, &this.keys, this.ttl).await);
operation!(Prune { retention: Retention, limit: u32, from: Times<i64> } as "prune" brief -> (Pruned, Times<Option<i64>>),
    |this, txn| ops::prune::prune(txn, &this.retention, this.limit, &this.from).await);
operation!(BlobsDeleted { keys: Vec<BlobKey> } as "blobs_deleted" -> (),
    |this, txn| ops::prune::deleted(txn, &this.keys).await);

/// How one try of an operation ended without success.
pub(crate) struct Failed {
    pub(crate) error: windlass_core::Error,
    /// Others were in the way: the whole of it is to be run again.
    again: bool,
    /// Others held a lock for too long.
    pub(crate) locked: bool,
}

impl PostgresBackend {
    /// Runs an operation in a transaction of its own, again when others were in its way, and tells who waits what it did.
    pub(crate) async fn call<O: Operation>(&self, operation: &O) -> Result<O::Output> {
        self.call_unless_locked(operation).await.map_err(|failed| failed.error)
    }

    /// [`call`](Self::call) that tells when others held a lock for too long.
    pub(crate) async fn call_unless_locked<O: Operation>(
        &self,
        operation: &O,
    ) -> Result<O::Output, Failed> {
        let mut tries = 0;
        loop {
            let failed = match self.once(operation).await {
                Ok((output, news)) => {
                    self.hub.committed(&news);
                    return Ok(output);
                }
                Err(failed) => failed,
            };
            tries += 1;
            if !failed.again || tries >= AGAIN {
                return Err(failed);
            }
            pause(tries).await;
        }
    }

    async fn once<O: Operation>(&self, operation: &O) -> Result<(O::Output, News), Failed> {
        let fail = |error| Failed { error, again: false, locked: false };
        let mut conn = self.session.acquire(O::NAME).await.map_err(fail)?;
        let held = conn.conn().map_err(|error| fail(map(O::NAME)(error)))?;
        let work = self.transact(operation, held);
        let done = tokio::time::timeout(self.session.statement_timeout, work).await;
        if let Ok(done) = &done {
            conn.ended(done.is_ok());
        }
        done.unwrap_or_else(|_| Err(fail(map(O::NAME)(timed_out(STATEMENT)))))
    }

    async fn transact<O: Operation>(
        &self,
        operation: &O,
        conn: &mut PgConnection,
    ) -> Result<(O::Output, News), Failed> {
        let driver = |error: sqlx::Error| Failed {
            again: is_conflict(&error),
            locked: false,
            error: map(O::NAME)(error),
        };
        let begin = &self.session.begin;
        let begin = if O::BRIEF { &begin.brief } else { &begin.patient };
        let mut transaction = conn.begin_with(begin.clone()).await.map_err(driver)?;
        let persistent = !self.session.pooled;
        let limits = &self.options.limits;
        let mut txn = Txn::join(&mut transaction, &self.sql, limits, O::NAME, persistent)
            .await
            .map_err(driver)?;
        let output = async {
            let output = operation.run(&mut txn).await?;
            txn.flush().await?;
            Ok(output)
        };
        let output = output.await;
        let (news, again, locked) =
            (std::mem::take(&mut txn.news), txn.is_conflict(), txn.is_locked());
        match output {
            Ok(output) => {
                transaction.commit().await.map_err(driver)?;
                Ok((output, news))
            }
            Err(error) => {
                // The first error is the one to tell.
                let _ = transaction.rollback().await;
                Err(Failed { error, again, locked })
            }
        }
    }

    /// Runs a statement that stands for itself, again when others were in its way.
    pub(crate) async fn short(
        &self,
        during: &'static str,
        build: impl Fn() -> Query + Send + Sync,
    ) -> Result<Vec<PgRow>> {
        self.try_short(build).await.map_err(map(during))
    }

    /// [`short`](Self::short) with the driver's own error.
    pub(crate) async fn try_short(
        &self,
        build: impl Fn() -> Query + Send + Sync,
    ) -> sqlx::Result<Vec<PgRow>> {
        let mut tries = 0;
        loop {
            match self.session.try_fetch(build()).await {
                Err(error) if is_conflict(&error) && tries < AGAIN => tries += 1,
                done => return done,
            }
            pause(tries).await;
        }
    }
}

/// Waits a little longer each time, by chance, so that those who were in each other's way part.
async fn pause(tries: u32) {
    let most = 1_u64 << tries.min(7);
    tokio::time::sleep(Duration::from_millis(fastrand::u64(0..=most))).await;
}

/// Whether a short path found what only the long one can handle.
pub(crate) fn needs_long_path(error: &sqlx::Error) -> bool {
    state(error).as_deref() == Some(LONG_PATH)
}

/// Whether a plain insert found what only the long path can handle: also that a job stands there under the same id.
pub(crate) fn is_not_plain(error: &sqlx::Error) -> bool {
    let stored = |error: &dyn DatabaseError| {
        error.is_unique_violation() && error.constraint() == Some(PRIMARY_KEY)
    };
    needs_long_path(error) || error.as_database_error().is_some_and(stored)
}
