//! [`OutboxStore`] on Postgres: jobs that commit with the host's rows and run elsewhere.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};
use uuid::Uuid;
use windlass_core::kit::micros;
use windlass_core::outbox::{
    OUTBOX_QUEUE, OutboxEntry, OutboxStats, OutboxStore, PutBack, RefusedEntry, TAKE_BYTES,
    TakenEntry,
};
use windlass_core::{JobId, QueueName, Result};

use crate::PostgresBackend;
use crate::error::map;
use crate::ops::plain::STATEMENT_BYTES;
use crate::sql::{query, size};
use crate::txn::{News, uuids};

/// A sweep from the start at least so often.
const SWEEP_EVERY: Duration = Duration::from_millis(500);
/// A sweep that takes no longer is made whenever it may bring something.
const CHEAP: Duration = Duration::from_millis(10);
/// A dear sweep takes at most one part in so many of the time.
const SHARE: u32 = 10;

/// A place in the line: when an entry became free, and its id.
type At = (i64, Uuid);

/// How far takes have got. What was delivered leaves dead entries in the index, which can't be removed while some transaction keeps an old
/// snapshot open: so takes look above what they took, and now and then from the start, for what was committed late.
#[derive(Debug, Default)]
pub(crate) struct Progress(Mutex<Got>);

#[derive(Debug, Default)]
struct Got {
    /// The last entry taken.
    above: Option<At>,
    swept: Option<Instant>,
    cost: Duration,
}

impl Got {
    fn sweep_is_due(&self, every: Duration) -> bool {
        let after = every.max(self.cost.saturating_mul(SHARE));
        self.swept.is_none_or(|swept| swept.elapsed() >= after)
    }
}

impl Progress {
    fn lock(&self) -> std::sync::MutexGuard<'_, Got> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Behind which place to look; `None` from the start.
    fn first(&self) -> Option<At> {
        let got = self.lock();
        if got.sweep_is_due(SWEEP_EVERY) { None } else { got.above }
    }

    /// Whether a look above that brought nothing is worth a sweep.
    fn sweep_now(&self) -> bool {
        let got = self.lock();
        got.cost <= CHEAP || got.sweep_is_due(Duration::ZERO)
    }

    /// Notes how a look went: up to which place it took entries.
    fn looked(&self, above: Option<At>, upto: Option<At>, cost: Duration) {
        let mut got = self.lock();
        if above.is_none() {
            got.swept = Some(Instant::now());
            got.cost = cost;
            // Behind what a sweep took there may be more, below what was remembered.
            got.above = upto.or(got.above);
        } else {
            got.above = got.above.max(upto);
        }
    }
}

impl PostgresBackend {
    async fn take_above(
        &self,
        above: Option<At>,
        limit: u32,
        hold: Duration,
    ) -> Result<Vec<TakenEntry>> {
        let started = Instant::now();
        let build = || {
            let statement = query(&self.sql.outbox_take).bind(micros(hold)).bind(i64::from(limit));
            let (free_at, id) = above.unwrap_or((i64::MIN, Uuid::nil()));
            statement.bind(size(TAKE_BYTES)).bind(free_at).bind(id)
        };
        let rows = self.short("take", build).await?;
        let mut taken = Vec::with_capacity(rows.len());
        let mut upto = None;
        for row in &rows {
            let id: Uuid = row.try_get(0).map_err(map("take"))?;
            let body: Vec<u8> = row.try_get(3).map_err(map("take"))?;
            let refusals: i32 = row.try_get(2).map_err(map("take"))?;
            upto = upto.max(Some((row.try_get(4).map_err(map("take"))?, id)));
            taken.push(TakenEntry::new(
                OutboxEntry::new(JobId::from_uuid(id), body.into()),
                age(row, 1, "take")?.unwrap_or_default(),
                refusals.unsigned_abs(),
            ));
        }
        self.outbox.looked(above, upto, started.elapsed());
        taken.sort_by_key(|taken| taken.entry.id);
        Ok(taken)
    }

    async fn post(&self, conn: &mut PgConnection, entries: &[OutboxEntry]) -> Result<()> {
        for chunk in chunks(entries) {
            let (ids, bodies): (Vec<Uuid>, Vec<&[u8]>) =
                chunk.iter().map(|entry| (*entry.id.as_uuid(), &*entry.body)).unzip();
            let sql = &self.sql.outbox_post;
            let statement = sqlx::query(sql.clone()).bind(ids).bind(bodies);
            let statement = statement.persistent(!self.session.pooled);
            statement.execute(&mut *conn).await.map_err(map("post_in"))?;
        }
        Ok(())
    }
}

/// Stretches of entries that fit into one statement each.
fn chunks(entries: &[OutboxEntry]) -> impl Iterator<Item = &[OutboxEntry]> {
    let mut rest = entries;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |entry: &&OutboxEntry| {
            bytes += entry.body.len();
            bytes <= STATEMENT_BYTES
        };
        let n = rest.iter().take_while(fits).count().max(1).min(rest.len());
        let (chunk, after) = rest.split_at(n);
        rest = after;
        (!chunk.is_empty()).then_some(chunk)
    })
}

impl OutboxStore for PostgresBackend {
    async fn post_in(&self, conn: &mut PgConnection, entries: &[OutboxEntry]) -> Result<()> {
        self.hub.check_open()?;
        if entries.is_empty() {
            return Ok(());
        }
        let mut step = self.step("post_in", conn).await?;
        let news = News { queues: [OUTBOX_QUEUE.to_owned()].into(), events: false };
        let done = self.post(step.conn(), entries).await.map(|()| ((), news));
        self.end("post_in", step, done).await
    }

    async fn take(&self, limit: u32, hold: Duration) -> Result<Vec<TakenEntry>> {
        self.hub.check_open()?;
        let version = self.hub.version();
        let above = self.outbox.first();
        let mut taken = self.take_above(above, limit, hold).await?;
        if taken.is_empty() && above.is_some() && self.outbox.sweep_now() {
            taken = self.take_above(None, limit, hold).await?;
        }
        if taken.is_empty() {
            self.hub.seen(&QueueName::new(OUTBOX_QUEUE)?, version);
        }
        Ok(taken)
    }

    async fn delivered(&self, ids: &[JobId]) -> Result<()> {
        if !ids.is_empty() {
            let build = || query(&self.sql.outbox_delivered).bind(uuids(ids));
            self.short("delivered", build).await?;
        }
        Ok(())
    }

    async fn put_back(&self, entries: &[PutBack]) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let build = || {
            let ids: Vec<Uuid> = entries.iter().map(|back| *back.id.as_uuid()).collect();
            let delays: Vec<i64> = entries.iter().map(|back| micros(back.delay)).collect();
            // Texts of errors may hold what the server's texts can't.
            let text = |back: &PutBack| back.refusal.as_ref().map(|text| text.replace('\0', " "));
            let refusals: Vec<Option<String>> = entries.iter().map(text).collect();
            query(&self.sql.outbox_put_back).bind(ids).bind(delays).bind(refusals)
        };
        self.short("put_back", build).await?;
        Ok(())
    }

    async fn outbox_stats(&self) -> Result<OutboxStats> {
        let during = "outbox_stats";
        let rows = self.short(during, || query(&self.sql.outbox_stats)).await?;
        let Some(row) = rows.first() else { return Ok(OutboxStats::default()) };
        let count = |n: usize| row.try_get::<i64, _>(n).map_err(map(during));
        let oldest = age(row, 2, during)?;
        Ok(OutboxStats::new(count(0)?.unsigned_abs(), count(1)?.unsigned_abs(), oldest))
    }

    async fn refused(&self, limit: u32) -> Result<Vec<RefusedEntry>> {
        let during = "refused";
        let build = || query(&self.sql.outbox_refused).bind(i64::from(limit));
        let entry = |row: &PgRow| {
            let id: Uuid = row.try_get(0).map_err(map(during))?;
            let refusals: i32 = row.try_get(1).map_err(map(during))?;
            let error = row.try_get(2).map_err(map(during))?;
            let waited = age(row, 3, during)?.unwrap_or_default();
            Ok(RefusedEntry::new(JobId::from_uuid(id), refusals.unsigned_abs(), error, waited))
        };
        self.short(during, build).await?.iter().map(entry).collect()
    }
}

/// A column of microseconds.
fn age(row: &PgRow, column: usize, during: &'static str) -> Result<Option<Duration>> {
    let micros: Option<i64> = row.try_get(column).map_err(map(during))?;
    Ok(micros.map(|micros| Duration::from_micros(u64::try_from(micros).unwrap_or(0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_hold_no_more_than_they_may() {
        let entry = |bytes: usize| OutboxEntry::new(JobId::new(), vec![0; bytes].into());
        let sizes = |entries: &[OutboxEntry]| chunks(entries).map(<[_]>::len).collect::<Vec<_>>();
        assert!(sizes(&[]).is_empty());
        assert_eq!(sizes(&[entry(1), entry(2)]), [2]);
        let half = STATEMENT_BYTES / 2;
        assert_eq!(
            sizes(&[entry(half), entry(half), entry(1), entry(STATEMENT_BYTES * 2), entry(0)]),
            [2, 1, 1, 1]
        );
    }

    #[test]
    fn looks_go_on_above_and_from_the_start_now_and_then() {
        let progress = Progress::default();
        assert_eq!(progress.first(), None, "nothing is known");
        let at = |free_at| Some((free_at, Uuid::nil()));
        progress.looked(None, at(10), Duration::ZERO);
        assert_eq!(progress.first(), at(10));
        progress.looked(at(10), at(20), Duration::ZERO);
        progress.looked(at(20), None, Duration::ZERO);
        assert_eq!(progress.first(), at(20));
        assert!(progress.sweep_now(), "cheap");
        progress.looked(None, at(5), Duration::from_secs(9));
        assert_eq!(progress.first(), at(5), "behind what a sweep took there may be more");
        assert!(!progress.sweep_now(), "dear");
    }
}
