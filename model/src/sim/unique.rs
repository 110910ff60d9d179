//! Who holds unique keys, worked out from what happened to the jobs and not from any lock.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use windlass_core::{Cause, JobId, State, Unique, UniqueKey, UniqueUntil};

#[derive(Debug)]
struct Claimant {
    until: UniqueUntil,
    /// When it took the key.
    since: Timestamp,
    state: State,
    /// It was claimed since it took the key.
    started: bool,
}

impl Claimant {
    fn holds(&self, now: Timestamp) -> bool {
        match self.until {
            UniqueUntil::Started => !self.started && !self.state.is_final(),
            UniqueUntil::Finished => !self.state.is_final(),
            UniqueUntil::For(window) => {
                let passed = Duration::try_from(now.duration_since(self.since));
                passed.unwrap_or_default() < window
            }
        }
    }
}

/// Jobs with unique keys.
#[derive(Debug, Default)]
pub(super) struct UniqueKeys {
    jobs: BTreeMap<UniqueKey, BTreeMap<JobId, Claimant>>,
}

impl UniqueKeys {
    /// Follows a change of state. `Err` names the job that held the key already.
    pub(super) fn follow(
        &mut self,
        job: JobId,
        unique: &Unique,
        change: (Option<State>, State, Cause),
        now: Timestamp,
    ) -> Result<(), JobId> {
        let (from, to, cause) = change;
        let jobs = self.jobs.entry(unique.key.clone()).or_default();
        let takes = match from {
            None => true,
            Some(from) => from.is_final() && !matches!(unique.until, UniqueUntil::For(_)),
        };
        if takes {
            let holder = jobs.iter().find(|(id, other)| **id != job && other.holds(now));
            if let Some((holder, _)) = holder {
                return Err(*holder);
            }
            let claimant = Claimant { until: unique.until, since: now, state: to, started: false };
            jobs.insert(job, claimant);
        }
        if let Some(claimant) = jobs.get_mut(&job) {
            claimant.state = to;
            claimant.started |= cause == Cause::Claimed;
        }
        Ok(())
    }
}
