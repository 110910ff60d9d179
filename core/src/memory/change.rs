//! Changes by users, and the settings of queues.

use std::collections::BTreeSet;
use std::ops::Bound;

use jiff::Timestamp;

use super::locks::End;
use super::state::{Inner, Step};
use crate::limits::at_most;
use crate::machine::Rescue;
use crate::{
    AttemptError, Cause, Change, Changed, Cursor, EventBody, FailureKind, JobFilter, JobId,
    QueueChange, QueueName, QueueSettings, Result, Selector, State, machine,
};

impl Inner {
    pub(super) fn change(
        &mut self,
        target: &Selector,
        change: &Change,
        from: Option<&Cursor>,
        now: Timestamp,
    ) -> Result<Changed> {
        if let Change::Reschedule { start } = change {
            self.limits.check_delay("delay in seconds", start.delay(now))?;
        }
        let (ids, next) = self.select(target, from)?;
        let (mut count, mut rescued) = (0, BTreeSet::new());
        for id in ids {
            // A job that this call rescues is not changed by it.
            if !rescued.contains(&id) && self.change_one(id, change, &mut rescued, now) {
                count += 1;
            }
        }
        Ok(Changed { count, next })
    }

    /// The jobs that one call looks at, lowest id first, and where the next call goes on.
    fn select(
        &self,
        target: &Selector,
        from: Option<&Cursor>,
    ) -> Result<(Vec<JobId>, Option<Cursor>)> {
        let batch = self.limits.batch;
        let from = from.map_or(Bound::Unbounded, |cursor| Bound::Excluded(cursor.0));
        match target {
            Selector::Ids(ids) => {
                at_most("ids in one change", ids.len(), batch, "change in several calls")?;
                let ids: BTreeSet<_> = ids.iter().copied().collect();
                Ok((ids.range((from, Bound::Unbounded)).copied().collect(), None))
            }
            Selector::Filter(filter) => Ok(self.select_by(filter, from, batch)),
        }
    }

    fn select_by(
        &self,
        filter: &JobFilter,
        from: Bound<JobId>,
        batch: usize,
    ) -> (Vec<JobId>, Option<Cursor>) {
        let mut rows = self.jobs.range((from, Bound::Unbounded));
        let (mut ids, mut last) = (Vec::new(), None);
        for (id, row) in rows.by_ref().take(batch) {
            last = Some(Cursor(*id));
            if filter.matches(&row.job) {
                ids.push(*id);
            }
        }
        let next = last.filter(|_| rows.next().is_some());
        (ids, next)
    }

    fn change_one(
        &mut self,
        id: JobId,
        change: &Change,
        rescued: &mut BTreeSet<JobId>,
        now: Timestamp,
    ) -> bool {
        if *change == Change::Delete {
            return self.delete(id, now);
        }
        let Some(facts) = self.facts(id) else { return false };
        let Some(to) = machine::changed(&facts, change, now) else { return false };
        let reason = match change {
            Change::Cancel { reason } => reason.clone(),
            Change::Retry | Change::RetryUnlessCompleted
                if facts.state.is_final() && !self.revive(id, rescued, now) =>
            {
                return false;
            }
            _ => None,
        };
        if to.to == State::Running {
            self.request_cancel(id, reason, now);
            return true;
        }
        let error = reason.map(|reason| AttemptError {
            attempt: facts.attempt,
            at: now,
            kind: FailureKind::Cancelled,
            message: self.limits.cut_error(&reason),
        });
        self.apply(id, &to, Step { error, ..Step::by(Cause::Changed) }, now);
        true
    }

    /// Prepares a final job to run again; not when another job holds its unique key by now. A holder that is lost is rescued first: it may be given up by
    /// that.
    fn revive(&mut self, id: JobId, rescued: &mut BTreeSet<JobId>, now: Timestamp) -> bool {
        let key = self.jobs.get(&id).and_then(|row| row.job.unique_key.clone());
        let other = |store: &Self| {
            let holder = key.as_ref().and_then(|key| store.locks.holder(key, now));
            holder.filter(|holder| *holder != id)
        };
        if let Some(holder) = other(self).filter(|holder| self.is_lost(*holder, now)) {
            self.rescue_one(holder, Rescue::WorkerLost, now);
            rescued.insert(holder);
        }
        if other(self).is_some() {
            return false;
        }
        let Some(row) = self.jobs.get_mut(&id) else { return false };
        row.job.result = None;
        self.blobs.release(&std::mem::take(&mut row.result_blobs));
        true
    }

    fn request_cancel(&mut self, id: JobId, reason: Option<String>, now: Timestamp) {
        if let Some(row) = self.jobs.get_mut(&id) {
            row.job.cancel_requested = true;
            self.hints.touch(&row.job.queue); // its worker need not wait for a heartbeat
        }
        let reason = reason.map(|reason| self.limits.cut_error(&reason));
        self.log(id, EventBody::CancelRequested { reason }, now);
    }

    fn delete(&mut self, id: JobId, now: Timestamp) -> bool {
        if self.facts(id).is_none_or(|facts| facts.state == State::Running) {
            return false;
        }
        if let Some(row) = self.remove(id, End::Deleted) {
            self.feed.deleted(&row.job, now);
        }
        true
    }

    pub(super) fn configure_queue(
        &mut self,
        name: &QueueName,
        change: &QueueChange,
    ) -> QueueSettings {
        let settings = change.apply(self.settings(name));
        self.queues.insert(name.clone(), settings.clone());
        self.hints.touch(name);
        settings
    }

    pub(super) fn settings(&self, name: &QueueName) -> QueueSettings {
        self.queues.get(name).cloned().unwrap_or_else(|| QueueSettings::new(name.clone()))
    }
}
