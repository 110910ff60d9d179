//! Listings: pages of jobs by keyset.

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;
use windlass_core::{Cursor, JobFilter, JobId, JobQuery, JobRecord, Order, Page, Result, State};

use super::{check_limit, names, passed_over};
use crate::PostgresBackend;
use crate::error::map;
use crate::records::record;
use crate::sql::{query, size};

pub(crate) async fn list(backend: &PostgresBackend, wanted: &JobQuery) -> Result<Page<JobRecord>> {
    check_limit(backend, wanted.limit)?;
    let (sql, start) = match wanted.order {
        Order::NewestFirst => (&backend.sql.list_newest, Uuid::max()),
        Order::OldestFirst => (&backend.sql.list_oldest, Uuid::nil()),
    };
    let (filter, ways) = (&wanted.filter, Ways::to(&wanted.filter));
    let statement = query(sql)
        .bind(wanted.after.map_or(start, |cursor| *cursor.0.as_uuid()))
        .bind(size(wanted.limit) + 1)
        .bind(codes(&filter.states))
        .bind(names(&filter.queues))
        .bind(texts(filter.kinds.iter().map(|kind| kind.as_str())))
        .bind(texts(filter.tags.iter().map(|tag| tag.as_str())))
        .bind(ways.unique)
        .bind(ways.waiting)
        .bind(ways.some_waiting)
        .bind(ways.finished)
        .bind(ways.failed);
    let rows = backend.session.fetch("list", statement).await?;
    let more = rows.len() > wanted.limit;
    let id = |row: &PgRow| row.try_get(0).map(JobId::from_uuid).map_err(map("list"));
    let mut rows = rows.iter().map(|row| Ok((id(row)?, row))).collect::<Result<Vec<_>>>()?;
    match wanted.order {
        Order::NewestFirst => rows.sort_unstable_by_key(|(id, _)| std::cmp::Reverse(*id)),
        Order::OldestFirst => rows.sort_unstable_by_key(|(id, _)| *id),
    }
    rows.truncate(wanted.limit);
    let next = rows.last().filter(|_| more).map(|(id, _)| Cursor(*id));
    // One job that can't be read must not hide the others; `get` says what is wrong with it.
    let readable = |(_, row): &(JobId, &PgRow)| {
        passed_over("a job can't be read and is left out of a listing", record("list", row))
    };
    Ok(Page { items: rows.iter().filter_map(readable).collect(), next })
}

fn texts<'a>(items: impl Iterator<Item = &'a str>) -> Vec<String> {
    items.map(str::to_owned).collect()
}

fn codes(states: &[State]) -> Vec<i16> {
    states.iter().map(|state| i16::from(state.code())).collect()
}

/// By which indexes the jobs of a filter are reached.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ways {
    /// By their unique key, in both tables.
    unique: Option<String>,
    /// Along all jobs that wait or run.
    waiting: bool,
    /// Along the running and the retryable ones: few, however many wait.
    some_waiting: Vec<i16>,
    /// Along all final jobs.
    finished: bool,
    /// Along the cancelled and the discarded ones: few, however many are completed.
    failed: Vec<i16>,
}

impl Ways {
    fn to(filter: &JobFilter) -> Self {
        if let Some(key) = &filter.unique_key {
            return Self { unique: Some(key.as_str().to_owned()), ..Self::default() };
        }
        let (mut waiting, mut finished) = (Vec::new(), Vec::new());
        for state in State::ALL {
            if filter.states.is_empty() || filter.states.contains(&state) {
                if state.is_final() { finished.push(state) } else { waiting.push(state) }
            }
        }
        let few =
            |states: &[State], few: [State; 2]| states.iter().all(|state| few.contains(state));
        let (few_waiting, few_finished) = (
            few(&waiting, [State::Running, State::Retryable]),
            few(&finished, [State::Cancelled, State::Discarded]),
        );
        Self {
            unique: None,
            waiting: !few_waiting,
            some_waiting: if few_waiting { codes(&waiting) } else { Vec::new() },
            finished: !few_finished,
            failed: if few_finished { codes(&finished) } else { Vec::new() },
        }
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::UniqueKey;

    use super::*;

    #[test]
    fn a_filter_is_reached_by_the_shortest_way() {
        let ways = |states: &[State]| Ways::to(&JobFilter::default().states(states.to_vec()));
        let none = Ways::default;
        assert_eq!(ways(&[]), Ways { waiting: true, finished: true, ..none() });
        assert_eq!(ways(&[State::Scheduled]), Ways { waiting: true, ..none() });
        assert_eq!(ways(&[State::Running]), Ways { some_waiting: vec![3], ..none() });
        assert_eq!(ways(&[State::Discarded]), Ways { failed: vec![7], ..none() });
        let both = Ways { some_waiting: vec![3, 4], failed: vec![6], ..none() };
        assert_eq!(ways(&[State::Cancelled, State::Retryable, State::Running]), both);
        let mixed = Ways { waiting: true, finished: true, ..none() };
        assert_eq!(ways(&[State::Running, State::Available, State::Completed]), mixed);
        let keyed = JobFilter::default().unique_key(UniqueKey::new("a").unwrap());
        assert_eq!(Ways::to(&keyed), Ways { unique: Some("a".into()), ..none() });
    }
}
