//! Retention.

use jiff::Timestamp;

use super::clock::after;
use super::locks::End;
use super::state::Inner;
use crate::{JobId, Pruned, Retention, State};

impl Inner {
    pub(super) fn prune(&mut self, retention: &Retention, limit: u32, now: Timestamp) -> Pruned {
        let limit = limit as usize;
        let ids = self.outdated(retention, limit.saturating_add(1), now);
        let jobs = ids.iter().take(limit);
        let jobs = jobs.filter(|id| self.remove(**id, End::Finished).is_some()).count() as u64;
        let (events, more_events) = match retention.events {
            Some(keep) => self.feed.prune(keep, now, limit),
            None => (0, false),
        };
        let blobs = self.blobs.condemned(now, self.limits.batch);
        Pruned { jobs, events, blobs, more: ids.len() > limit || more_events }
    }

    /// Final jobs past the retention of their state, oldest finish first.
    fn outdated(&self, retention: &Retention, limit: usize, now: Timestamp) -> Vec<JobId> {
        let mut jobs = Vec::new();
        for state in State::FINAL {
            let (Some(keep), Some(finished)) =
                (retention.of(state), self.index.finished.get(&state))
            else {
                continue;
            };
            let old = finished.iter().take_while(|(at, _)| after(*at, keep) <= now);
            jobs.extend(old.take(limit));
        }
        jobs.sort_unstable();
        jobs.into_iter().take(limit).map(|(_, id)| id).collect()
    }
}
