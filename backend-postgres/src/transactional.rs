//! [`Transactional`]: jobs and outcomes that commit together with the host's own writes.

mod step;

use sqlx::postgres::PgConnection;
use windlass_core::{Error, Inserted, NewJob, Result, Settled, Settlement, Transactional};

use self::step::Step;
use crate::PostgresBackend;
use crate::error::map;
use crate::ops::{insert, settle};
use crate::sql::query;
use crate::txn::{News, Txn};

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
        let mut step = self.step("settle_in", conn).await?;
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
        let mut step = self.step("insert_in", conn).await.map_err(lasting)?;
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

    pub(crate) async fn step<'c>(
        &self,
        during: &'static str,
        conn: &'c mut PgConnection,
    ) -> Result<Step<'c>> {
        Step::begin(during, conn, &self.sql, !self.session.pooled).await
    }

    async fn join<'c>(
        &'c self,
        during: &'static str,
        conn: &'c mut PgConnection,
    ) -> Result<Txn<'c>> {
        let persistent = !self.session.pooled;
        let limits = &self.options.limits;
        Txn::join(conn, &self.sql, limits, during, persistent).await.map_err(map(during))
    }

    /// Ends a step; who waits is told once the host has committed.
    pub(crate) async fn end<T>(
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
