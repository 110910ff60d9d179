//! [`OutboxStore`] on SQLite: jobs that commit with the host's rows and run elsewhere.

use std::time::Duration;

use sqlx::{Row as _, SqliteConnection};
use windlass_core::outbox::{
    OUTBOX_QUEUE, OutboxEntry, OutboxStats, OutboxStore, PutBack, RefusedEntry, TakenEntry,
};
use windlass_core::{JobId, QueueName, Result};

use crate::SqliteBackend;
use crate::calls::{Delivered, PutBacks, Take};
use crate::error::map;
use crate::ops::outbox;

impl OutboxStore for SqliteBackend {
    async fn post_in(&self, conn: &mut SqliteConnection, entries: &[OutboxEntry]) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        self.in_step("post_in", conn, async |txn| {
            outbox::post(txn, entries);
            Ok(())
        })
        .await
    }

    async fn take(&self, limit: u32, hold: Duration) -> Result<Vec<TakenEntry>> {
        let version = self.hub.version();
        let now = self.now("take").await?;
        let query = sqlx::query(include_str!("sql/outbox_any.sql")).bind(now);
        let rows = self.readers.fetch("take", query).await?;
        let any: bool =
            rows.first().map_or(Ok(false), |row| row.try_get(0)).map_err(map("take"))?;
        let taken = if any { self.writer.call(Take { limit, hold }).await? } else { Vec::new() };
        if taken.is_empty() {
            self.hub.seen(&QueueName::new(OUTBOX_QUEUE)?, version);
        }
        Ok(taken)
    }

    async fn delivered(&self, ids: &[JobId]) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        self.writer.call(Delivered { ids: ids.to_vec() }).await
    }

    async fn put_back(&self, entries: &[PutBack]) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        self.writer.call(PutBacks { entries: entries.to_vec() }).await
    }

    async fn outbox_stats(&self) -> Result<OutboxStats> {
        let during = "outbox_stats";
        let now = self.now(during).await?;
        let query = sqlx::query(include_str!("sql/outbox_stats.sql"));
        let rows = self.readers.fetch(during, query).await?;
        let Some(row) = rows.first() else { return Ok(OutboxStats::default()) };
        let count = |n: usize| row.try_get::<i64, _>(n).map_err(map(during));
        let oldest: Option<i64> = row.try_get(2).map_err(map(during))?;
        let oldest = oldest.map(|at| age(now, at));
        Ok(OutboxStats::new(count(0)?.unsigned_abs(), count(1)?.unsigned_abs(), oldest))
    }

    async fn refused(&self, limit: u32) -> Result<Vec<RefusedEntry>> {
        let during = "refused";
        let now = self.now(during).await?;
        let query = sqlx::query(include_str!("sql/outbox_refused.sql")).bind(limit);
        let rows = self.readers.fetch(during, query).await?;
        let entry = |row: &sqlx::sqlite::SqliteRow| {
            let id: Vec<u8> = row.try_get(0).map_err(map(during))?;
            let refusals = row.try_get(1).map_err(map(during))?;
            let error = row.try_get(2).map_err(map(during))?;
            let posted = row.try_get(3).map_err(map(during))?;
            Ok(RefusedEntry::new(JobId::from_slice(&id)?, refusals, error, age(now, posted)))
        };
        rows.iter().map(entry).collect()
    }
}

fn age(now: i64, at: i64) -> Duration {
    Duration::from_micros(u64::try_from(now.saturating_sub(at)).unwrap_or(0))
}
