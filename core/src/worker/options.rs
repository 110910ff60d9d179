//! Options of a worker, with their defaults.

use std::time::Duration;

use crate::{Error, Result, Retention};

/// The longest rest of a client between two rounds of maintenance, however many others share the work: how late a rescue or the promotion
/// of a job that nobody here knew of may be. Only [`WorkerOptions::maintenance`] can make it longer.
pub const MAINTENANCE_MAX: Duration = Duration::from_secs(10);

/// The longest time of any option: ten years. What is longer counts as that, so that [`Duration::MAX`] stands for never.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);

/// How a worker behaves. Start from [`Default`] and change fields. Times of more than ten years count as ten years.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WorkerOptions {
    /// Its name for people. Default: host name and process id.
    pub name: Option<String>,
    /// How long the worker's lease lasts without a heartbeat: how soon others take up the jobs of a
    /// worker that died. Default 30 s.
    pub lease: Duration,
    /// Time between heartbeats, at most half of the lease. Default 10 s.
    pub heartbeat: Duration,
    /// Shortest time between two polls of empty queues. Default 100 ms.
    pub poll_min: Duration,
    /// Longest time between two polls of empty queues; the time doubles from the shortest up to this.
    /// Hints wake the worker earlier. Default 2 s.
    pub poll_max: Duration,
    /// The same while the backend's hints can be relied on ([`Queue::hears`](crate::Queue::hears)): polls are then there
    /// for hints that are lost all the same. Also the time between two readings of the queues' settings that no
    /// hint has asked for. What is less than `poll_max` counts as that. Default 30 s.
    pub idle_poll: Duration,
    /// How long a shutdown lets running jobs go on before it asks them to stop. Default 30 s.
    pub drain: Duration,
    /// How long a handler may go on after its cancellation token fired at its deadline or at the end of
    /// the drain; then it is aborted. Less than 10 s, after which others take a job past its
    /// deadline. Default 2 s.
    pub grace: Duration,
    /// How long the last settlements of a shutdown may take. Default 10 s.
    pub flush: Duration,
    /// How much work is claimed before there is a slot for it: as many jobs as have run within this time of late, up to 1,000 per queue,
    /// so that short jobs are claimed in good portions. A job that finds no slot for long after all, because those before it are
    /// long ones, is given back. Jobs of kinds with a limit of their own, and those for the blocking pool, are never claimed ahead. Zero: none
    /// is. Default 20 ms.
    pub ahead: Duration,
    /// Outcomes that wait to be settled; when full, nothing more is claimed. Default 4,096.
    pub settle_buffer: usize,
    /// Most outcomes in one settle call. Default 500.
    pub settle_batch: usize,
    /// How long to gather further outcomes before a settle call. While one call is in flight the next batch
    /// gathers anyway. Default zero.
    pub settle_gather: Duration,
    /// Threads for handlers registered by [`register_blocking`](super::Worker::register_blocking). Default 8.
    pub blocking_threads: usize,
    /// Longest time between two rounds of maintenance (promoting due jobs, rescuing lost ones); a job
    /// known to be due earlier makes it shorter. The workers of one client do it by turns, in the shortest of their times.
    /// Where the store has workers of other clients as well, each client does its share: it rests longer, at most
    /// [`MAINTENANCE_MAX`], so that all together do about one round in this time. Default 1 s.
    pub maintenance: Duration,
    /// Jobs of each kind of work per maintenance call. Default 1,000.
    pub maintenance_batch: u32,
    /// Least time between two looks into the quarantine lane, which hints ask for; where they can't be relied on, the time itself.
    /// Default 5 s.
    pub quarantine: Duration,
    /// Longest time between two rounds of pruning, where the store has no workers of other clients. Workers of one client with the same
    /// retention do it by turns. Each client does its share: where there are others it rests longer, at most ten times as long (and begins with
    /// a random part of that), so that all together do about one round in this time if all of them prune. Default 60 s.
    pub prune: Duration,
    /// Jobs per prune call. Default 1,000.
    pub prune_batch: u32,
    /// What is kept for how long; `None` leaves pruning to others. Default [`Retention::default`].
    pub retention: Option<Retention>,
    /// How long progress, log lines and events of running jobs gather before they are recorded.
    /// Default 250 ms.
    pub notes: Duration,
    /// Progress, log lines and events of one running job that wait to be recorded; what comes on top is dropped, and a line in the
    /// job's log says so. Default 1,000.
    pub notes_buffer: usize,
    /// How long a call to the backend may take before it counts as failed and is repeated. Default 15 s.
    pub call_timeout: Duration,
    /// Heartbeats run on a thread and runtime of their own. Switched off only for simulated time, which
    /// needs everything on one runtime.
    #[doc(hidden)]
    pub heartbeat_thread: bool,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            name: None,
            lease: Duration::from_secs(30),
            heartbeat: Duration::from_secs(10),
            poll_min: Duration::from_millis(100),
            poll_max: Duration::from_secs(2),
            idle_poll: Duration::from_secs(30),
            drain: Duration::from_secs(30),
            grace: Duration::from_secs(2),
            flush: Duration::from_secs(10),
            ahead: Duration::from_millis(20),
            settle_buffer: 4_096,
            settle_batch: 500,
            settle_gather: Duration::ZERO,
            blocking_threads: 8,
            maintenance: Duration::from_secs(1),
            maintenance_batch: 1_000,
            quarantine: Duration::from_secs(5),
            prune: Duration::from_secs(60),
            prune_batch: 1_000,
            retention: Some(Retention::default()),
            notes: Duration::from_millis(250),
            notes_buffer: 1_000,
            call_timeout: Duration::from_secs(15),
            heartbeat_thread: true,
        }
    }
}

impl WorkerOptions {
    /// # Errors
    /// [`Error::Config`] naming the option and what it may be.
    pub(crate) fn check(&self) -> Result<()> {
        let positive = [
            ("lease", self.lease),
            ("heartbeat", self.heartbeat),
            ("poll_min", self.poll_min),
            ("maintenance", self.maintenance),
            ("quarantine", self.quarantine),
            ("prune", self.prune),
            ("call_timeout", self.call_timeout),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, d)| d.is_zero()) {
            return wrong(format!("worker option `{name}` is zero: give it a duration"));
        }
        if self.heartbeat > self.lease / 2 {
            return wrong(format!(
                "worker option `heartbeat` is {:?}, more than half of the lease of {:?}: one lost \
                 heartbeat would end the lease",
                self.heartbeat, self.lease
            ));
        }
        if self.poll_max < self.poll_min {
            return wrong("worker option `poll_max` is less than `poll_min`".to_owned());
        }
        if self.grace >= crate::DEADLINE_GRACE {
            return wrong(format!(
                "worker option `grace` is {:?}: it must be less than {:?}, when others take the job",
                self.grace,
                crate::DEADLINE_GRACE
            ));
        }
        let counts = [
            ("settle_buffer", self.settle_buffer),
            ("settle_batch", self.settle_batch),
            ("notes_buffer", self.notes_buffer),
            ("blocking_threads", self.blocking_threads),
            ("maintenance_batch", self.maintenance_batch as usize),
            ("prune_batch", self.prune_batch as usize),
        ];
        match counts.iter().find(|(_, n)| *n == 0) {
            Some((name, _)) => wrong(format!("worker option `{name}` is 0: it needs at least 1")),
            None => Ok(()),
        }
    }

    /// Takes [`LONGEST`] for what is longer, so that points in time can be reckoned from it.
    pub(crate) fn bound(&mut self) {
        let times = [
            &mut self.lease,
            &mut self.heartbeat,
            &mut self.poll_min,
            &mut self.poll_max,
            &mut self.idle_poll,
            &mut self.drain,
            &mut self.grace,
            &mut self.flush,
            &mut self.ahead,
            &mut self.settle_gather,
            &mut self.maintenance,
            &mut self.quarantine,
            &mut self.prune,
            &mut self.notes,
            &mut self.call_timeout,
        ];
        times.into_iter().for_each(|time| *time = LONGEST.min(*time));
    }

    /// The longest time between two polls, while hints work.
    pub(crate) fn longest_poll(&self) -> Duration {
        self.idle_poll.max(self.poll_max)
    }

    /// How long before the lease runs out the worker counts it as lost.
    pub(crate) fn margin(&self, lease: Duration) -> Duration {
        (lease / 10).min(Duration::from_secs(2))
    }
}

fn wrong(text: String) -> Result<()> {
    Err(Error::Config(text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_pass_and_each_wrong_option_is_named() {
        assert!(WorkerOptions::default().check().is_ok());
        type Case = (&'static str, fn(&mut WorkerOptions));
        let cases: [Case; 6] = [
            ("lease", |o| o.lease = Duration::ZERO),
            ("heartbeat", |o| o.heartbeat = o.lease),
            ("poll_max", |o| o.poll_max = Duration::ZERO),
            ("grace", |o| o.grace = crate::DEADLINE_GRACE),
            ("settle_buffer", |o| o.settle_buffer = 0),
            ("notes_buffer", |o| o.notes_buffer = 0),
        ];
        for (name, change) in cases {
            let mut options = WorkerOptions::default();
            change(&mut options);
            let error = options.check().unwrap_err().to_string();
            assert!(error.contains(&format!("`{name}`")), "{error}");
        }
    }
}
