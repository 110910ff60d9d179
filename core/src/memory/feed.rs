//! The feed of all events, and each job's own history.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::clock::after;
use crate::{Event, EventBody, EventFilter, EventPage, JobRecord, Position};

/// All events in order. Each is an entry of its own: nothing is to be saved here by sharing one.
#[derive(Debug, Default)]
pub(super) struct Feed {
    events: VecDeque<Arc<Event>>,
    last: Option<Position>,
    pruned: Option<Position>,
}

impl Feed {
    /// Where the last event stands, pruned or not.
    pub(super) fn last(&self) -> Option<Position> {
        self.last
    }

    fn push(&mut self, job: &JobRecord, at: Timestamp, body: EventBody) -> Arc<Event> {
        let position = Position { seq: self.last.map_or(0, |last| last.seq) + 1, job: job.id };
        let (kind, queue) = (job.kind.clone(), job.queue.clone());
        let event = Arc::new(Event { position, at, job: job.id, kind, queue, body });
        self.events.push_back(event.clone());
        self.last = Some(position);
        event
    }

    /// An event of a job that is gone after it.
    pub(super) fn deleted(&mut self, job: &JobRecord, at: Timestamp) {
        self.push(job, at, EventBody::Deleted);
    }

    /// Reads at most `limit` events, looking at no more than `stretch`.
    pub(super) fn read(
        &self,
        filter: &EventFilter,
        from: Option<Position>,
        limit: usize,
        stretch: usize,
    ) -> EventPage {
        let start = self.events.partition_point(|event| Some(event.position) <= from);
        let (mut events, mut next) = (Vec::new(), from);
        for event in self.events.range(start..).take(stretch) {
            if events.len() == limit {
                break;
            }
            next = Some(event.position);
            if filter.matches(event) {
                events.push(Event::clone(event));
            }
        }
        let gap = from.is_some() && from < self.pruned;
        EventPage::new(events, next, gap, next < self.last)
    }

    /// Drops at most `limit` events older than `keep`: how many, and whether there are more.
    pub(super) fn prune(&mut self, keep: Duration, now: Timestamp, limit: usize) -> (u64, bool) {
        let old = |event: &&Arc<Event>| after(event.at, keep) <= now;
        let mut dropped = 0;
        while dropped < limit
            && let Some(event) = self.events.front().filter(old)
        {
            self.pruned = Some(event.position);
            self.events.pop_front();
            dropped += 1;
        }
        (dropped as u64, self.events.front().filter(old).is_some())
    }
}

/// The events of one job, kept as long as the job.
#[derive(Debug, Default)]
pub(super) struct History {
    /// State changes; the oldest but the first go.
    states: VecDeque<Arc<Event>>,
    /// Everything else.
    others: Vec<Arc<Event>>,
    /// How many of these its handlers and the host added.
    notes: u32,
    trimmed: Option<Position>,
}

impl History {
    pub(super) fn notes(&self) -> u32 {
        self.notes
    }

    /// Adds an event to the history of its job and to the feed.
    pub(super) fn push(
        &mut self,
        feed: &mut Feed,
        job: &JobRecord,
        at: Timestamp,
        body: EventBody,
        max_states: usize,
    ) {
        let event = feed.push(job, at, body);
        match event.body {
            EventBody::State { .. } => self.push_state(event, max_states),
            EventBody::Note(_) => {
                self.notes += 1;
                self.others.push(event);
            }
            _ => self.others.push(event),
        }
    }

    fn push_state(&mut self, event: Arc<Event>, max: usize) {
        self.states.push_back(event);
        // The first says when and how it all began, the last where the job stands.
        while self.states.len() > max.max(2) {
            self.trimmed = self.states.remove(1).map(|event| event.position);
        }
    }

    pub(super) fn read(&self, from: Option<Position>, limit: usize) -> EventPage {
        let later = |event: &&Arc<Event>| Some(event.position) > from;
        let mut events: Vec<_> =
            self.states.iter().filter(later).chain(self.others.iter().filter(later)).collect();
        events.sort_unstable_by_key(|event| event.position);
        let more = events.len() > limit;
        let events: Vec<_> = events.into_iter().take(limit).map(|e| Event::clone(e)).collect();
        let next = events.last().map(|event| event.position).or(from);
        EventPage::new(events, next, from.is_some() && from < self.trimmed, more)
    }
}
