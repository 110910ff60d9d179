//! Where claims begin to look.
//!
//! A job that was claimed leaves a dead entry in the ready index until vacuum removes it, and while some transaction anywhere keeps an old snapshot open
//! vacuum can't. A claim that starts at the head of the index then walks all that was claimed before. So each process remembers, by queue, lane, kind
//! and priority, how far it has got, and looks above that. Where it took nothing because others did, it looks above the turn that was the last one a
//! while before a look found nothing more. What comes in below (a transaction that drew its turn early and committed late, a claim
//! that was rolled back) is found by a sweep from the head: whenever a look brings less than asked for, and every so often. A sweep that is dear, because of
//! dead entries, is made seldom enough to cost a tenth of the time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use windlass_core::{Kind, Lane, QueueName};

use super::pace::{Budget, Pace};

/// A sweep at least so often while jobs keep coming.
const SWEEP_EVERY: Duration = Duration::from_millis(500);
/// How long a turn was the last one before looks begin above it: what is committed later than that waits for a sweep.
const SETTLED: Duration = Duration::from_secs(1);
/// Priorities remembered per kind; beyond that a kind starts anew.
const PRIORITIES: usize = 32;
/// Priorities of a queue above whose settled turns its kinds are looked for: each costs a range.
const COMMON: usize = 8;
/// Bits of a rank below the priority.
const TURN_BITS: u32 = 47;

/// How to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Above what is remembered.
    Above,
    /// From the head of the index.
    Sweep,
}

/// A stretch of ranks: above the first, up to the second.
pub(crate) type Range = (i64, i64);

/// How far jobs of a kind were passed.
#[derive(Debug, Default)]
struct Passed {
    /// The highest rank taken, by priority.
    taken: BTreeMap<i16, i64>,
    /// The turn up to which nothing was left, whatever the priority.
    turn: i64,
}

impl Passed {
    fn ranges(&self, common: &BTreeSet<i16>) -> Vec<Range> {
        let mut bounds = self.taken.clone();
        if self.turn > 0 {
            for priority in common.iter().copied().chain(self.taken.keys().copied()) {
                let settled = base(priority).saturating_add(self.turn);
                let bound = bounds.entry(priority).or_insert(settled);
                *bound = (*bound).max(settled);
            }
        }
        let mut ranges = Vec::with_capacity(bounds.len() + 1);
        let mut above = i64::MIN;
        for (priority, bound) in bounds {
            // Ranks of the priority lie above its base: turns begin at 1.
            ranges.push((above, base(priority)));
            above = bound;
        }
        ranges.push((above, i64::MAX));
        ranges
    }
}

fn base(priority: i16) -> i64 {
    i64::from(priority) << TURN_BITS
}

#[derive(Debug)]
struct Place {
    kinds: HashMap<Kind, Passed>,
    /// Priorities that were met, and the usual one.
    common: BTreeSet<i16>,
    /// The last turn at some moment.
    mark: Option<(Instant, i64)>,
    sweeps: Pace,
    /// The last look brought less than asked for.
    idle: bool,
}

impl Place {
    fn new(budget: Budget) -> Self {
        Self {
            kinds: HashMap::new(),
            common: BTreeSet::from([0]),
            mark: None,
            sweeps: Pace::new(budget),
            idle: false,
        }
    }
}

/// What is remembered.
#[derive(Debug)]
pub(crate) struct Bounds {
    budget: Budget,
    places: Mutex<HashMap<(QueueName, bool), Place>>,
}

/// A job that a look brought.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) kind: Kind,
    pub(crate) rank: i64,
}

/// What a look brought.
#[derive(Debug, Default)]
pub(crate) struct Brought<'a> {
    pub(crate) jobs: &'a [Seen],
    /// How long the server looked.
    pub(crate) cost: Duration,
    /// The last turn given out by then; `None` when the queue was not looked at.
    pub(crate) turn: Option<i64>,
}

impl Bounds {
    pub(crate) fn new(budget: Budget) -> Self {
        Self { budget, places: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(QueueName, bool), Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the next look at a queue should begin.
    pub(crate) fn first(&self, queue: &QueueName, lane: Lane) -> Look {
        let mut places = self.lock();
        let place = places.entry(key(queue, lane)).or_insert_with(|| Place::new(self.budget));
        if place.idle && place.sweeps.is_cheap() || place.sweeps.is_due(SWEEP_EVERY) {
            Look::Sweep
        } else {
            Look::Above
        }
    }

    /// Whether a look above that brought too little is worth a sweep.
    pub(crate) fn sweep_now(&self, queue: &QueueName, lane: Lane) -> bool {
        self.lock().get(&key(queue, lane)).is_none_or(|place| place.sweeps.allows())
    }

    /// How to find out whether a queue among several has anything; `None` when a claim does no more than that, since a sweep
    /// is due and dear.
    pub(crate) fn glance(&self, queue: &QueueName, lane: Lane) -> Option<Look> {
        let places = self.lock();
        let Some(place) = places.get(&key(queue, lane)) else { return Some(Look::Sweep) };
        match (place.sweeps.is_cheap(), place.sweeps.allows()) {
            (true, _) => Some(Look::Sweep),
            (false, true) => None,
            (false, false) => Some(Look::Above),
        }
    }

    /// Where to look for jobs of a kind.
    pub(crate) fn ranges(
        &self,
        queue: &QueueName,
        lane: Lane,
        kind: &Kind,
        look: Look,
    ) -> Vec<Range> {
        let places = self.lock();
        let known = places.get(&key(queue, lane)).filter(|_| look == Look::Above);
        match known.and_then(|place| Some((place.kinds.get(kind)?, &place.common))) {
            Some((passed, common)) => passed.ranges(common),
            None => vec![(i64::MIN, i64::MAX)],
        }
    }

    /// Notes what a look for some kinds brought: `full` when there may be more of what it looked for, by kind.
    pub(crate) fn looked<'k>(
        &self,
        queue: &QueueName,
        lane: Lane,
        look: Look,
        kinds: impl Iterator<Item = &'k Kind>,
        brought: &Brought<'_>,
        full: impl Fn(&Kind) -> bool,
    ) {
        let mut places = self.lock();
        let place = places.entry(key(queue, lane)).or_insert_with(|| Place::new(self.budget));
        let mut highest: HashMap<&Kind, BTreeMap<i16, i64>> = HashMap::new();
        for Seen { kind, rank } in brought.jobs {
            let priority = i16::try_from(*rank >> TURN_BITS).unwrap_or(i16::MAX);
            let bound = highest.entry(kind).or_default().entry(priority).or_insert(*rank);
            *bound = (*bound).max(*rank);
            if place.common.len() < COMMON {
                place.common.insert(priority);
            }
        }
        for (kind, found) in highest {
            let passed = place.kinds.entry(kind.clone()).or_default();
            if look == Look::Sweep && full(kind) {
                // Behind what it brought there may be more, below what was remembered.
                if let Some(last) = found.keys().next_back() {
                    passed.taken.retain(|priority, _| priority < last);
                }
                passed.taken.extend(found);
                passed.turn = 0;
            } else {
                for (priority, rank) in found {
                    let bound = passed.taken.entry(priority).or_insert(rank);
                    *bound = (*bound).max(rank);
                }
            }
            if passed.taken.len() > PRIORITIES {
                passed.taken.clear();
            }
        }
        if let Some(turn) = brought.turn {
            let now = Instant::now();
            let (since, settled) = *place.mark.get_or_insert((now, turn));
            if now.duration_since(since) >= SETTLED {
                for kind in kinds.filter(|kind| !full(kind)) {
                    let passed = place.kinds.entry(kind.clone()).or_default();
                    passed.turn = passed.turn.max(settled);
                }
                place.mark = Some((now, turn));
            }
        }
        if look == Look::Sweep {
            place.sweeps.note(brought.cost);
        }
    }

    /// Notes that a glance found something, after so long a time. What lies behind was not looked at.
    pub(crate) fn glimpsed(&self, queue: &QueueName, lane: Lane, look: Look, cost: Duration) {
        let mut places = self.lock();
        let place = places.entry(key(queue, lane)).or_insert_with(|| Place::new(self.budget));
        if look == Look::Sweep {
            place.sweeps.learn(cost);
        }
    }

    /// Notes whether a claim got less than it asked for.
    pub(crate) fn ended(&self, queue: &QueueName, lane: Lane, short: bool) {
        if let Some(place) = self.lock().get_mut(&key(queue, lane)) {
            place.idle = short;
        }
    }
}

fn key(queue: &QueueName, lane: Lane) -> (QueueName, bool) {
    (queue.clone(), lane == Lane::Quarantine)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::pace::SAMPLES;

    const CHEAP: Duration = Duration::from_micros(300);

    fn rank(priority: i16, turn: i64) -> i64 {
        (i64::from(priority) << TURN_BITS) + turn
    }

    fn seen(kind: &Kind, ranks: &[i64]) -> Vec<Seen> {
        ranks.iter().map(|rank| Seen { kind: kind.clone(), rank: *rank }).collect()
    }

    fn covers(ranges: &[Range], rank: i64) -> bool {
        ranges.iter().any(|(above, upto)| rank > *above && rank <= *upto)
    }

    #[test]
    fn only_what_was_passed_is_left_out() {
        let (bounds, queue, kind) =
            (Bounds::new(Budget::default()), QueueName::new("q").unwrap(), Kind::new("k").unwrap());
        let ranges = |look| bounds.ranges(&queue, Lane::Normal, &kind, look);
        assert_eq!(ranges(Look::Above), [(i64::MIN, i64::MAX)]);
        let found = seen(&kind, &[rank(0, 5), rank(0, 9), rank(-3, 20), rank(7, 1)]);
        let brought = Brought { jobs: &found, cost: CHEAP, turn: Some(20) };
        let kinds = std::iter::once(&kind);
        bounds.looked(&queue, Lane::Normal, Look::Above, kinds, &brought, |_| true);
        let above = ranges(Look::Above);
        for passed in [rank(0, 1), rank(0, 9), rank(-3, 20), rank(-3, 1), rank(7, 1)] {
            assert!(!covers(&above, passed), "{passed}");
        }
        for open in
            [rank(0, 10), rank(-3, 21), rank(-4, 1), rank(1, 1), rank(7, 2), rank(i16::MIN, 1)]
        {
            assert!(covers(&above, open), "{open}");
        }
        assert_eq!(ranges(Look::Sweep), [(i64::MIN, i64::MAX)]);
    }

    #[test]
    fn a_full_sweep_opens_what_lies_behind_it() {
        let (bounds, queue, kind) =
            (Bounds::new(Budget::default()), QueueName::new("q").unwrap(), Kind::new("k").unwrap());
        let looked = |look, ranks: &[i64], full: bool| {
            let jobs = seen(&kind, ranks);
            let brought = Brought { jobs: &jobs, cost: CHEAP, turn: Some(100) };
            let kinds = std::iter::once(&kind);
            bounds.looked(&queue, Lane::Normal, look, kinds, &brought, |_| full);
        };
        looked(Look::Above, &[rank(0, 100), rank(5, 100)], true);
        // Jobs that came in below: the sweep takes two of them and there may be more.
        looked(Look::Sweep, &[rank(0, 3), rank(0, 4)], true);
        let ranges = bounds.ranges(&queue, Lane::Normal, &kind, Look::Above);
        assert!(covers(&ranges, rank(0, 5)) && covers(&ranges, rank(5, 1)));
        looked(Look::Sweep, &[rank(0, 5)], false);
        looked(Look::Above, &[rank(0, 200)], false);
        assert!(!covers(&bounds.ranges(&queue, Lane::Normal, &kind, Look::Above), rank(0, 150)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dear_sweep_is_made_seldom() {
        let (bounds, queue) = (Bounds::new(Budget::default()), QueueName::new("q").unwrap());
        assert_eq!(bounds.first(&queue, Lane::Normal), Look::Sweep, "nothing is known");
        assert_eq!(bounds.glance(&queue, Lane::Normal), Some(Look::Sweep));
        let sweep = |cost| {
            let nothing = Brought { cost, ..Brought::default() };
            let kinds = std::iter::empty();
            bounds.looked(&queue, Lane::Normal, Look::Sweep, kinds, &nothing, |_| false);
        };
        let dear = Duration::from_secs(60);
        sweep(dear);
        bounds.ended(&queue, Lane::Normal, true);
        assert!(bounds.sweep_now(&queue, Lane::Normal), "one alone may have met a busy machine");
        (1..SAMPLES).for_each(|_| sweep(dear));
        assert_eq!(bounds.first(&queue, Lane::Normal), Look::Above);
        assert_eq!(bounds.glance(&queue, Lane::Normal), Some(Look::Above));
        assert!(!bounds.sweep_now(&queue, Lane::Normal));
        (0..SAMPLES).for_each(|_| sweep(CHEAP * 2));
        tokio::time::advance(CHEAP * 20).await;
        assert!(bounds.sweep_now(&queue, Lane::Normal), "its share of the time has passed");
        assert_eq!(bounds.glance(&queue, Lane::Normal), None, "one claim sweeps and takes");
        sweep(Duration::ZERO);
        assert!(bounds.sweep_now(&queue, Lane::Normal));
        assert_eq!(bounds.glance(&queue, Lane::Normal), Some(Look::Sweep));
        assert_eq!(bounds.first(&queue, Lane::Normal), Look::Sweep, "cheap, and nothing to do");
        bounds.ended(&queue, Lane::Normal, false);
        assert_eq!(bounds.first(&queue, Lane::Normal), Look::Above, "jobs keep coming");
        assert_eq!(bounds.first(&queue, Lane::Quarantine), Look::Sweep, "lanes are apart");
    }

    /// A job that is committed late waits for a sweep, and no longer than a second where one costs up to a tenth of that.
    #[tokio::test(start_paused = true)]
    async fn a_sweep_comes_in_its_time_while_jobs_keep_coming() {
        let queue = QueueName::new("q").unwrap();
        for millis in [0, 1, 20, 50, 99] {
            let cost = Duration::from_millis(millis);
            let bounds = Bounds::new(Budget::default());
            for _ in 0..SAMPLES {
                let brought = Brought { cost, ..Brought::default() };
                let kinds = std::iter::empty();
                bounds.looked(&queue, Lane::Normal, Look::Sweep, kinds, &brought, |_| false);
            }
            bounds.ended(&queue, Lane::Normal, false);
            let due = Duration::from_millis(500).max(cost * 10);
            assert!(due < Duration::from_secs(1));
            tokio::time::advance(due - Duration::from_millis(1)).await;
            assert_eq!(bounds.first(&queue, Lane::Normal), Look::Above, "{cost:?}");
            tokio::time::advance(Duration::from_millis(1)).await;
            assert_eq!(bounds.first(&queue, Lane::Normal), Look::Sweep, "{cost:?}");
        }
    }

    #[test]
    fn glances_that_find_something_tell_what_a_sweep_costs() {
        let (bounds, queue) = (Bounds::new(Budget::default()), QueueName::new("q").unwrap());
        let dear = Duration::from_secs(60);
        for _ in 0..SAMPLES {
            assert_eq!(bounds.glance(&queue, Lane::Normal), Some(Look::Sweep));
            bounds.glimpsed(&queue, Lane::Normal, Look::Above, dear);
            bounds.glimpsed(&queue, Lane::Normal, Look::Sweep, dear);
        }
        // None has been made, so one may be made at once.
        assert_eq!(bounds.glance(&queue, Lane::Normal), None);
        assert!(bounds.sweep_now(&queue, Lane::Normal));
    }

    /// Where others took everything, there is nothing of one's own to look above.
    #[test]
    fn what_was_settled_when_nothing_was_left_is_passed() {
        let (bounds, queue, kind) =
            (Bounds::new(Budget::default()), QueueName::new("q").unwrap(), Kind::new("k").unwrap());
        let looked = |look, ranks: &[i64], turn, full: bool| {
            let jobs = seen(&kind, ranks);
            let brought = Brought { jobs: &jobs, cost: CHEAP, turn };
            let kinds = std::iter::once(&kind);
            bounds.looked(&queue, Lane::Normal, look, kinds, &brought, |_| full);
        };
        let ranges = || bounds.ranges(&queue, Lane::Normal, &kind, Look::Above);
        let age = || {
            let mut places = bounds.lock();
            let mark = places.get_mut(&key(&queue, Lane::Normal)).unwrap().mark.as_mut().unwrap();
            mark.0 = mark.0.checked_sub(SETTLED).unwrap();
        };
        looked(Look::Sweep, &[rank(5, 7)], Some(100), false);
        assert!(covers(&ranges(), rank(0, 1)), "others may be about to commit");
        age();
        looked(Look::Above, &[], None, false);
        assert!(covers(&ranges(), rank(0, 1)), "the queue was paused");
        looked(Look::Above, &[], Some(200), true);
        assert!(covers(&ranges(), rank(0, 1)), "there may be more");
        age();
        looked(Look::Above, &[], Some(300), false);
        for priority in [0, 5] {
            let covers = |turn| covers(&ranges(), rank(priority, turn));
            assert!(!covers(1) && !covers(200) && covers(201), "{priority}");
        }
        assert!(covers(&ranges(), rank(3, 1)), "priorities that were never met are looked at");
        looked(Look::Sweep, &[rank(0, 4)], Some(400), true);
        assert!(covers(&ranges(), rank(0, 5)), "behind a full sweep there may be more");
    }
}
