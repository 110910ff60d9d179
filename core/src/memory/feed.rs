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
        let (mut events, mut next, mut looked) = (Vec::new(), from, 0);
        for event in self.events.range(start..).take(stretch) {
            if events.len() == limit {
                break;
            }
            looked += 1;
            next = Some(event.position);
            if filter.matches(event) {
                events.push(Event::clone(event));
            }
        }
        let more = start + looked < self.events.len();
        if !more {
            // Also where everything was pruned, lest the reader look for it again and again.
            next = next.max(self.last);
        }
        EventPage::new(events, next, from.is_some() && from < self.pruned, more)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{JobId, Kind, Payload, QueueName};

    fn job() -> JobRecord {
        let (kind, queue) = (Kind::new("k").unwrap(), QueueName::new("q").unwrap());
        let args = Payload::json(&()).unwrap();
        JobRecord::new(JobId::new(), kind, queue, args, Timestamp::UNIX_EPOCH)
    }

    fn feed_of(events: usize) -> Feed {
        let mut feed = Feed::default();
        for _ in 0..events {
            feed.deleted(&job(), Timestamp::UNIX_EPOCH);
        }
        feed
    }

    fn read(feed: &Feed, from: Option<Position>, limit: usize) -> EventPage {
        feed.read(&EventFilter::default(), from, limit, 3)
    }

    #[test]
    fn pages_join_and_say_whether_there_is_more() {
        let feed = feed_of(5);
        let first = read(&feed, None, 10);
        assert_eq!((first.events.len(), first.more), (3, true), "no more than the stretch");
        let second = read(&feed, first.next, 10);
        assert_eq!((second.events.len(), second.more), (2, false));
        assert_eq!(second.next, feed.last());
        let none = EventFilter { jobs: vec![JobId::new()], ..EventFilter::default() };
        let skipped = feed.read(&none, None, 10, 3);
        assert!(skipped.events.is_empty() && skipped.more && skipped.next == first.next);
    }

    #[test]
    fn a_reader_is_told_of_what_was_pruned_and_goes_on_behind_it() {
        let mut feed = feed_of(5);
        let early = read(&feed, None, 1).next;
        let day = Duration::from_secs(86_400);
        let later = after(Timestamp::UNIX_EPOCH, day);
        assert_eq!(feed.prune(day, Timestamp::UNIX_EPOCH, 9), (0, false), "not yet");
        assert_eq!(feed.prune(day, later, 2), (2, true));
        assert!(read(&feed, early, 9).gap);
        assert!(!read(&feed, None, 9).gap, "from the oldest kept");
        assert_eq!(feed.prune(day, later, 9), (3, false));
        for from in [None, early] {
            let page = read(&feed, from, 9);
            assert_eq!((page.next, page.more), (feed.last(), false), "nothing to wait for");
        }
    }

    #[test]
    fn a_long_history_keeps_its_first_change_and_its_last() {
        let (mut feed, mut history, job) = (Feed::default(), History::default(), job());
        for attempt in 0..9 {
            let (from, to) = (None, crate::State::Available);
            let cause = crate::Cause::Settled;
            let body = EventBody::State { from, to, attempt, cause, worker: None, error: None };
            history.push(&mut feed, &job, Timestamp::UNIX_EPOCH, body, 3);
        }
        let kept =
            |page: &EventPage| page.events.iter().map(|e| e.position.seq).collect::<Vec<_>>();
        let page = history.read(None, 9);
        assert_eq!((kept(&page), page.gap, page.more), (vec![1, 8, 9], false, false));
        let rest = history.read(history.read(None, 1).next, 9);
        assert_eq!((kept(&rest), rest.gap), (vec![8, 9], true));
    }
}
