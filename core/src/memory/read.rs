//! Reading: listings, histories, figures.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use jiff::Timestamp;

use super::clock::since;
use super::state::Inner;
use crate::limits::at_most;
use crate::{
    Count, Cursor, Error, EventFilter, EventPage, JobId, JobQuery, JobRecord, Kind, Order, Page,
    Position, QueueAge, QueueName, Result, State, Stats, StatsQuery, WorkerRecord,
};

impl Inner {
    pub(super) fn get(&self, id: JobId) -> Option<JobRecord> {
        self.jobs.get(&id).map(|row| row.job.clone())
    }

    pub(super) fn list(&self, query: &JobQuery) -> Result<Page<JobRecord>> {
        self.check_page(query.limit)?;
        let from = query.after.map(|cursor| cursor.0);
        let from = from.map_or(Bound::Unbounded, Bound::Excluded);
        let more = query.limit + 1;
        let matches = |job: &&JobRecord| query.filter.matches(job);
        let mut items: Vec<JobRecord> = match query.order {
            Order::OldestFirst => {
                let rows = self.jobs.range((from, Bound::Unbounded));
                rows.map(|(_, row)| &row.job).filter(matches).take(more).cloned().collect()
            }
            Order::NewestFirst => {
                let rows = self.jobs.range((Bound::Unbounded, from)).rev();
                rows.map(|(_, row)| &row.job).filter(matches).take(more).cloned().collect()
            }
        };
        let next = (items.len() > query.limit).then(|| Cursor(items[query.limit - 1].id));
        items.truncate(query.limit);
        Ok(Page { items, next })
    }

    fn check_page(&self, limit: usize) -> Result<()> {
        if limit == 0 {
            return Err(Error::invalid("page limit", "0 given; ask for at least 1 item"));
        }
        at_most("items in one page", limit, self.limits.batch, "read several pages")
    }

    pub(super) fn history(
        &self,
        id: JobId,
        from: Option<Position>,
        limit: usize,
    ) -> Result<EventPage> {
        self.check_page(limit)?;
        let nothing = || EventPage::new(Vec::new(), from, false, false);
        Ok(self.jobs.get(&id).map_or_else(nothing, |row| row.history.read(from, limit)))
    }

    pub(super) fn events(
        &self,
        filter: &EventFilter,
        from: Option<Position>,
        limit: usize,
    ) -> Result<EventPage> {
        self.check_page(limit)?;
        Ok(self.feed.read(filter, from, limit, self.limits.batch))
    }

    pub(super) fn workers(&self) -> Vec<WorkerRecord> {
        let running =
            |w: &WorkerRecord| self.index.running.get(&w.id).map_or(0, |j| j.len() as u64);
        let row = |w: &WorkerRecord| WorkerRecord { running: running(w), ..w.clone() };
        self.workers.values().map(row).collect()
    }

    pub(super) fn stats(&self, query: &StatsQuery, now: Timestamp) -> Stats {
        let wanted = |queue| query.queues.is_empty() || query.queues.contains(queue);
        let mut counts: BTreeMap<(&QueueName, &Kind, State), u64> = BTreeMap::new();
        let heads: BTreeSet<JobId> = self.index.heads().collect();
        let mut ages: BTreeMap<&QueueName, QueueAge> = BTreeMap::new();
        for job in self.jobs.values().map(|row| &row.job).filter(|job| wanted(&job.queue)) {
            *counts.entry((&job.queue, &job.kind, job.state)).or_default() += 1;
            let (available, running) = match job.state {
                State::Available if heads.contains(&job.id) => (Some(since(job.due_at, now)), None),
                State::Running => (None, job.started_at.map(|at| since(at, now))),
                _ => continue,
            };
            let age = ages.entry(&job.queue).or_insert_with(|| QueueAge {
                queue: job.queue.clone(),
                oldest_available: None,
                oldest_running: None,
            });
            age.oldest_available = age.oldest_available.max(available);
            age.oldest_running = age.oldest_running.max(running);
        }
        let counts = counts.into_iter().map(|((queue, kind, state), jobs)| Count {
            queue: queue.clone(),
            kind: kind.clone(),
            state,
            jobs,
        });
        Stats { counts: counts.collect(), ages: ages.into_values().collect() }
    }
}
