//! Connections for heartbeats. They come from another thread and runtime than the rest and must never wait behind it, so each worker has a connection of
//! its own; those whose heartbeats go in one call use that of one of them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::Value;
use tokio::time::{Instant, timeout_at};
use windlass_core::{Beat, Error, Result, WorkerId};

use crate::error::{NAME, translate};
use crate::link::{Link, Patience};
use crate::route::Route;
use crate::script::{Args, Script};

/// How long a call may take: a third of the lease, within these bounds.
const BOUNDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// The lease of a worker that is not known here.
const UNKNOWN: Duration = Duration::from_secs(30);

/// The connections, by worker.
pub(crate) struct Aside {
    route: Arc<Route>,
    kept: Mutex<HashMap<WorkerId, Kept>>,
}

struct Kept {
    link: Arc<Link>,
    lease: Duration,
    used: Instant,
}

impl Aside {
    pub(crate) fn new(route: Arc<Route>) -> Self {
        Self { route, kept: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<WorkerId, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a worker and its lease known.
    pub(crate) fn know(&self, worker: WorkerId, lease: Duration) {
        self.entry(worker, Some(lease));
    }

    /// Notes that the heartbeats of these go in one call, on the connection of `first`. The others need none, and stay known.
    pub(crate) fn share(&self, beats: &[Beat], first: WorkerId) {
        let mut kept = self.lock();
        for beat in beats.iter().filter(|beat| beat.worker != first) {
            if let Some(known) = kept.get_mut(&beat.worker) {
                known.used = Instant::now();
                known.link = self.link(known.lease);
            }
        }
    }

    /// Lets go of a worker's connection.
    pub(crate) fn forget(&self, worker: WorkerId) {
        self.lock().remove(&worker);
    }

    /// Drops all connections.
    pub(crate) fn close(&self) {
        self.lock().clear();
    }

    /// The worker's connection and how long a call may take. Connections of workers whose lease has passed without a call go.
    fn entry(&self, worker: WorkerId, lease: Option<Duration>) -> (Arc<Link>, Duration) {
        let mut kept = self.lock();
        kept.retain(|id, kept| *id == worker || kept.used.elapsed() < kept.lease.max(BOUNDS.1));
        let fresh = || Kept {
            link: self.link(lease.unwrap_or(UNKNOWN)),
            lease: UNKNOWN,
            used: Instant::now(),
        };
        let known = kept.entry(worker).or_insert_with(fresh);
        known.used = Instant::now();
        known.lease = lease.unwrap_or(known.lease);
        (known.link.clone(), bound(known.lease))
    }

    fn link(&self, lease: Duration) -> Arc<Link> {
        let bound = bound(lease);
        Link::new(self.route.clone(), Patience { connect: bound, response: bound })
    }

    /// Runs a script on the worker's connection. When that fails, for whatever reason, it runs once more on a fresh one: repeating it does no harm.
    pub(crate) async fn call(
        &self,
        during: &'static str,
        worker: WorkerId,
        script: &Script,
        namespace: &str,
        args: Args,
    ) -> Result<Value> {
        let (link, bound) = self.entry(worker, None);
        let deadline = Instant::now() + bound;
        let half = Instant::now() + bound / 2;
        if let Ok(Ok(answer)) = timeout_at(half, script.run(&*link, namespace, &args)).await {
            return Ok(answer);
        }
        let fresh = self.link(bound * 3);
        if let Some(kept) = self.lock().get_mut(&worker) {
            kept.link = fresh.clone();
        }
        match timeout_at(deadline, script.run(&*fresh, namespace, &args)).await {
            Ok(done) => done.map_err(|error| translate(during, error)),
            Err(_) => Err(Error::Unavailable {
                backend: NAME,
                during,
                source: "the server did not answer in time".into(),
            }),
        }
    }
}

fn bound(lease: Duration) -> Duration {
    (lease / 3).clamp(BOUNDS.0, BOUNDS.1)
}

impl fmt::Debug for Aside {
    /// Tells nothing of how to connect: that holds a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aside").field("workers", &self.lock().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RedisOptions;

    #[tokio::test(start_paused = true)]
    async fn workers_whose_heartbeats_go_in_one_call_all_stay_known() {
        let options = RedisOptions::from_url("redis://127.0.0.1:1").unwrap();
        let aside = Aside::new(Arc::new(Route::new(&options, "{test}".to_owned())));
        let lease = Duration::from_secs(6);
        let workers = [WorkerId::new(), WorkerId::new()];
        let beats = workers.map(|worker| Beat::new(worker, Vec::new()));
        workers.iter().for_each(|worker| aside.know(*worker, lease));
        for _ in 0..4 {
            tokio::time::advance(lease / 2).await;
            aside.share(&beats, workers[0]);
            aside.entry(workers[0], None);
        }
        assert_eq!(workers.map(|worker| aside.entry(worker, None).1), [lease / 3; 2]);
        tokio::time::advance(lease).await;
        aside.entry(workers[0], None);
        assert!(!aside.lock().contains_key(&workers[1]), "nothing came of it for a lease");
    }
}
