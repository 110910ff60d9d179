//! What the workers of one client do for each other: maintenance, pruning, the settings of queues, looks for jobs without a handler, the polls of
//! those that serve the same queues, and heartbeats. Each round is done by one of them, whoever gets the turn, and all learn of it.

mod beats;
mod heart;
mod turns;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::backoff::{Pause, jittered};
use super::lock;
use super::options::WorkerOptions;
use super::shared::Shared;
use crate::{Kind, MAINTENANCE_MAX, QueueName, Result, Retention};
pub(crate) use beats::{Beats, alone, together};
pub(crate) use heart::Heart;
pub(crate) use turns::{Turn, Turns};

/// How long a worker may be at a round before a sibling does it as well. Only for rounds that do no harm twice: one that is held up, by a
/// connection that is dead for instance, shall not hold up the others.
pub(crate) const HELD_UP: Duration = Duration::from_secs(2);

/// How many times as long as it is told a client rests between two rounds of pruning at most, where others prune as well.
const PRUNE_MOST: u32 = 10;

/// Shared by the clones of a client.
#[derive(Debug, Default)]
pub(crate) struct Upkeep {
    state: Mutex<State>,
    pub(crate) maintenance: Turns,
    pub(crate) settings: Turns,
    pub(crate) strangers: Turns,
    pub(crate) beats: Beats,
}

#[derive(Debug)]
struct State {
    members: Vec<Weak<Shared>>,
    scopes: Vec<Weak<Scope>>,
    prunes: Vec<Weak<Prune>>,
    trouble: Pause,
    heart: Weak<Heart>,
    /// How many workers the store had at the last maintenance.
    workers: u64,
}

impl Default for State {
    fn default() -> Self {
        let (members, scopes, prunes) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            members,
            scopes,
            prunes,
            trouble: Pause::after_error(),
            heart: Weak::new(),
            workers: 0,
        }
    }
}

/// Pruning by one retention.
#[derive(Debug)]
pub(crate) struct Prune {
    pub(crate) retention: Retention,
    pub(crate) turns: Turns,
    begun: AtomicBool,
}

impl Prune {
    /// Whether it was not asked yet.
    pub(crate) fn begins(&self) -> bool {
        !self.begun.swap(true, Ordering::Relaxed)
    }
}

/// What a worker looks for, and how often: those that have it in common share their polls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Served {
    queues: BTreeSet<QueueName>,
    kinds: BTreeSet<Kind>,
    times: [Duration; 4],
}

impl Served {
    pub(crate) fn new<'a>(
        queues: impl IntoIterator<Item = QueueName>,
        kinds: impl IntoIterator<Item = &'a Kind>,
        options: &WorkerOptions,
    ) -> Self {
        let times = [options.poll_min, options.poll_max, options.idle_poll, options.quarantine];
        let kinds = kinds.into_iter().cloned().collect();
        Self { queues: queues.into_iter().collect(), kinds, times }
    }
}

/// The polls of workers that look for the same.
#[derive(Debug)]
pub(crate) struct Scope {
    served: Served,
    pub(crate) poll: Turns,
    pub(crate) quarantine: Turns,
    /// Time until the next poll, doubled by each that finds nothing.
    pause: Mutex<Duration>,
}

impl Scope {
    fn new(served: Served) -> Self {
        let pause = Mutex::new(served.times[0]);
        let scope = Self { served, poll: Turns::default(), quarantine: Turns::default(), pause };
        scope.poll.by(Instant::now() + jittered(scope.served.times[0]));
        scope.quarantine.by(Instant::now());
        scope
    }

    /// The longest time between two polls.
    fn longest(&self, hears: bool) -> Duration {
        let [_, poll_max, idle_poll, _] = self.served.times;
        if hears { idle_poll.max(poll_max) } else { poll_max }
    }

    /// A poll found nothing: how long until the next.
    pub(crate) fn found_nothing(&self, hears: bool) -> Duration {
        let mut pause = lock(&self.pause);
        let now = (*pause).min(self.longest(hears));
        *pause = now * 2;
        jittered(now)
    }

    /// A look at everything found nothing, though it was no poll: one is not needed for as long as after the last.
    pub(crate) fn looked(&self, hears: bool) {
        let pause = (*lock(&self.pause)).min(self.longest(hears));
        self.poll.put_off(Instant::now() + jittered(pause));
    }

    /// A look found something: polls are close together again.
    pub(crate) fn found(&self) {
        let least = self.served.times[0];
        *lock(&self.pause) = least;
        self.poll.by(Instant::now() + least);
    }

    /// Hints are not to be relied on now: the next poll comes no later than without them.
    pub(crate) fn not_heard(&self) {
        self.poll.by(Instant::now() + self.longest(false));
    }
}

impl Upkeep {
    /// The polls of workers that look for this.
    pub(crate) fn scope(&self, served: Served) -> Arc<Scope> {
        let mut state = lock(&self.state);
        state.scopes.retain(|scope| scope.strong_count() > 0);
        let known = state.scopes.iter().filter_map(Weak::upgrade).find(|s| s.served == served);
        known.unwrap_or_else(|| {
            let scope = Arc::new(Scope::new(served));
            state.scopes.push(Arc::downgrade(&scope));
            scope
        })
    }

    /// Pruning by a retention; the first turn comes at the latest after one interval of the worker that asks.
    pub(crate) fn prune(&self, retention: &Retention, interval: Duration) -> Arc<Prune> {
        let mut state = lock(&self.state);
        state.prunes.retain(|prune| prune.strong_count() > 0);
        let known =
            state.prunes.iter().filter_map(Weak::upgrade).find(|p| p.retention == *retention);
        let prune = known.unwrap_or_else(|| {
            let retention = retention.clone();
            let prune = Prune { retention, turns: Turns::default(), begun: AtomicBool::default() };
            let prune = Arc::new(prune);
            state.prunes.push(Arc::downgrade(&prune));
            prune
        });
        prune.turns.by(Instant::now() + jittered(interval));
        prune
    }

    /// The thread for heartbeats.
    pub(crate) fn heart(&self) -> Result<Arc<Heart>> {
        let mut state = lock(&self.state);
        if let Some(heart) = state.heart.upgrade() {
            return Ok(heart);
        }
        let heart = Heart::start()?;
        state.heart = Arc::downgrade(&heart);
        Ok(heart)
    }

    /// A worker begins: it looks at everything at once.
    pub(crate) fn join(&self, member: &Arc<Shared>) {
        {
            let mut state = lock(&self.state);
            state.members.retain(|known| known.strong_count() > 0);
            state.members.push(Arc::downgrade(member));
        }
        let now = Instant::now();
        self.maintenance.by(now);
        self.settings.by(now);
    }

    /// Whether there is but one of them.
    pub(crate) fn is_alone(&self) -> bool {
        lock(&self.state).members.len() < 2
    }

    /// The workers that have not ended.
    pub(crate) fn members(&self) -> Vec<Arc<Shared>> {
        let members: Vec<_> = lock(&self.state).members.iter().filter_map(Weak::upgrade).collect();
        members.into_iter().filter(|member| !member.halt.is_cancelled()).collect()
    }

    /// All queues that some of them serve.
    pub(crate) fn queues(&self) -> Vec<QueueName> {
        let queues: BTreeSet<_> =
            self.members().iter().flat_map(|member| member.slots.queues()).collect();
        queues.into_iter().collect()
    }

    /// The shortest of their times.
    pub(crate) fn shortest(
        &self,
        of: impl Fn(&WorkerOptions) -> Option<Duration>,
    ) -> Option<Duration> {
        self.members().iter().filter_map(|member| of(&member.options)).min()
    }

    /// A job is known to be due then: maintenance is to run no later.
    pub(crate) fn due_at(&self, at: Instant) {
        self.maintenance.by(at);
    }

    /// Maintenance went well. How long until the next round, when the store has so many workers: all clients together do
    /// about one in each interval.
    pub(crate) fn maintained(&self, workers: u64) -> Duration {
        {
            let mut state = lock(&self.state);
            state.trouble.reset();
            state.workers = workers;
        }
        let interval = self.shortest(|options| Some(options.maintenance));
        let interval = interval.unwrap_or(MAINTENANCE_MAX);
        jittered(spread(interval, workers, self.with_lease(), MAINTENANCE_MAX))
    }

    /// How long until the next round of pruning: all clients together do about one in each interval, if all of them prune, by how many
    /// workers the store had at the last maintenance.
    pub(crate) fn pruned(&self, interval: Duration) -> Duration {
        let workers = lock(&self.state).workers;
        jittered(spread(interval, workers, self.with_lease(), interval.saturating_mul(PRUNE_MOST)))
    }

    /// Workers of this client that have a lease.
    fn with_lease(&self) -> u64 {
        let members = self.members();
        members.iter().filter(|member| member.registry.worker().is_some()).count() as u64
    }

    /// Maintenance failed. How long until it is repeated.
    pub(crate) fn not_maintained(&self) -> Duration {
        lock(&self.state).trouble.next()
    }
}

/// The share of a client with `own` of so many workers; no longer than `most`, unless the interval is.
fn spread(interval: Duration, workers: u64, own: u64, most: Duration) -> Duration {
    #[allow(clippy::cast_precision_loss, reason = "a share, not a count")]
    let share = (workers as f64 / own.max(1) as f64).max(1.0);
    let longest = interval.max(most);
    Duration::try_from_secs_f64(interval.as_secs_f64() * share).unwrap_or(longest).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_of_a_store_share_the_rounds() {
        let second = Duration::from_secs(1);
        let rest = |interval, workers, own| spread(interval, workers, own, MAINTENANCE_MAX);
        assert_eq!(rest(second, 10, 10), second, "one client");
        assert_eq!(rest(second, 3, 10), second, "some have no lease yet");
        assert_eq!(rest(second, 0, 0), second);
        assert_eq!(rest(second, 40, 10), 4 * second);
        assert_eq!(rest(second, 5_000, 1), MAINTENANCE_MAX);
        assert_eq!(rest(60 * second, 40, 10), 60 * second, "whoever wants it seldom gets it so");
        assert_eq!(rest(Duration::MAX, 40, 10), Duration::MAX);
        let upkeep = Upkeep::default();
        lock(&upkeep.state).workers = 5_000;
        let pruned = upkeep.pruned(60 * second);
        assert!((480 * second..=600 * second).contains(&pruned), "{pruned:?}");
        upkeep.pruned(Duration::MAX);
    }
}
