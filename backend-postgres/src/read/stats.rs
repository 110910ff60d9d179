//! Figures: how many jobs, and how old.

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use windlass_core::kit::{duration, unreadable};
use windlass_core::{Count, Kind, QueueAge, QueueName, Result, State, Stats, StatsQuery};

use super::{names, passed_over};
use crate::PostgresBackend;
use crate::error::map;
use crate::sql::query;

pub(crate) async fn stats(backend: &PostgresBackend, wanted: &StatsQuery) -> Result<Stats> {
    let statement = query(&backend.sql.stats).bind(names(&wanted.queues));
    let mut stats = Stats::default();
    for row in backend.session.fetch("stats", statement).await? {
        let what = "a figure can't be read and is left out";
        match row.try_get::<Option<&str>, _>(1).map_err(map("stats"))? {
            Some(kind) => stats.counts.extend(passed_over(what, count(&row, kind))),
            None => stats.ages.extend(passed_over(what, age(&row))),
        }
    }
    stats.counts.sort_by(|a, b| (&a.queue, &a.kind, a.state).cmp(&(&b.queue, &b.kind, b.state)));
    stats.ages.sort_by(|a, b| a.queue.cmp(&b.queue));
    Ok(stats)
}

fn queue(row: &PgRow) -> Result<QueueName> {
    QueueName::new(row.try_get::<&str, _>(0).map_err(map("stats"))?)
}

fn count(row: &PgRow, kind: &str) -> Result<Count> {
    let (queue, kind) = (queue(row)?, Kind::new(kind)?);
    let state: i16 = row.try_get(2).map_err(map("stats"))?;
    let state = State::from_code(i64::from(state));
    let state = state.ok_or_else(|| unreadable("a count", "unknown state"))?;
    let jobs: i64 = row.try_get(3).map_err(map("stats"))?;
    Ok(Count { queue, kind, state, jobs: u64::try_from(jobs).unwrap_or(0) })
}

fn age(row: &PgRow) -> Result<QueueAge> {
    let queue = queue(row)?;
    let age = |n: usize| {
        let age: Option<i64> = row.try_get(n).map_err(map("stats"))?;
        Ok::<_, windlass_core::Error>(age.map(duration))
    };
    Ok(QueueAge { queue, oldest_available: age(4)?, oldest_running: age(5)? })
}
