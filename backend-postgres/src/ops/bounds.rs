//! Where claims begin to look.
//!
//! A job that was claimed leaves a dead entry in the ready index until vacuum removes it, and while some transaction anywhere keeps an old snapshot open
//! vacuum can't. A claim that starts at the head of the index then walks all that was claimed before. So each process remembers, by queue, lane, kind
//! and priority, how far it has got, and looks above that. What comes in below (a transaction that drew its turn early and committed late, a claim
//! that was rolled back) is found by a sweep from the head: whenever a look brings less than asked for, and every so often. A sweep that is dear, because of
//! dead entries, is made seldom enough to cost a tenth of the time.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use windlass_core::{Kind, Lane, QueueName};

/// A sweep at least so often while jobs keep coming.
const SWEEP_EVERY: Duration = Duration::from_millis(500);
/// A sweep that takes no longer is made whenever it may bring something.
const CHEAP: Duration = Duration::from_millis(10);
/// Of so many sweeps the shortest tells what one costs: a busy machine makes single ones look dear.
const SAMPLES: usize = 5;
/// A dear sweep takes at most one part in so many of the time.
const SHARE: u32 = 10;
/// Priorities remembered per kind; beyond that a kind starts anew.
const PRIORITIES: usize = 32;
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

#[derive(Debug, Default)]
struct Place {
    kinds: HashMap<Kind, BTreeMap<i16, i64>>,
    swept: Option<Instant>,
    /// How long the last sweeps took.
    costs: VecDeque<Duration>,
    /// The last look brought less than asked for.
    idle: bool,
}

impl Place {
    /// What a sweep costs; nothing until that is known.
    fn cost(&self) -> Duration {
        if self.costs.len() < SAMPLES {
            return Duration::ZERO;
        }
        self.costs.iter().min().copied().unwrap_or_default()
    }

    /// Whether a sweep is due: not before `every`, nor before its share of the time allows it.
    fn is_due(&self, every: Duration) -> bool {
        let after = every.max(self.cost().saturating_mul(SHARE));
        self.swept.is_none_or(|swept| swept.elapsed() >= after)
    }
}

/// What is remembered.
#[derive(Debug, Default)]
pub(crate) struct Bounds(Mutex<HashMap<(QueueName, bool), Place>>);

/// A job that a look brought.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) kind: Kind,
    pub(crate) rank: i64,
}

impl Bounds {
    fn lock(&self) -> MutexGuard<'_, HashMap<(QueueName, bool), Place>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the next look at a queue should begin.
    pub(crate) fn first(&self, queue: &QueueName, lane: Lane) -> Look {
        let mut places = self.lock();
        let place = places.entry(key(queue, lane)).or_default();
        if place.idle && place.cost() <= CHEAP || place.is_due(SWEEP_EVERY) {
            Look::Sweep
        } else {
            Look::Above
        }
    }

    /// Whether a look above that brought too little is worth a sweep.
    pub(crate) fn sweep_now(&self, queue: &QueueName, lane: Lane) -> bool {
        let places = self.lock();
        let place = places.get(&key(queue, lane));
        place.is_none_or(|place| place.cost() <= CHEAP || place.is_due(Duration::ZERO))
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
        let known = places.get(&key(queue, lane)).and_then(|place| place.kinds.get(kind));
        let Some(known) = known.filter(|_| look == Look::Above) else {
            return vec![(i64::MIN, i64::MAX)];
        };
        let mut ranges = Vec::with_capacity(known.len() + 1);
        let mut above = i64::MIN;
        for (priority, bound) in known {
            // Ranks of the priority lie above its base: turns begin at 1.
            ranges.push((above, i64::from(*priority) << TURN_BITS));
            above = *bound;
        }
        ranges.push((above, i64::MAX));
        ranges
    }

    /// Notes what a look brought: `full` when there may be more of what it looked for, by kind.
    pub(crate) fn looked(
        &self,
        queue: &QueueName,
        lane: Lane,
        look: Look,
        (seen, cost): (&[Seen], Duration),
        full: impl Fn(&Kind) -> bool,
    ) {
        let mut places = self.lock();
        let place = places.entry(key(queue, lane)).or_default();
        let mut highest: HashMap<&Kind, BTreeMap<i16, i64>> = HashMap::new();
        for Seen { kind, rank } in seen {
            let priority = i16::try_from(*rank >> TURN_BITS).unwrap_or(i16::MAX);
            let bound = highest.entry(kind).or_default().entry(priority).or_insert(*rank);
            *bound = (*bound).max(*rank);
        }
        for (kind, found) in highest {
            let bounds = place.kinds.entry(kind.clone()).or_default();
            if look == Look::Sweep && full(kind) {
                // Behind what it brought there may be more, below what was remembered.
                if let Some(last) = found.keys().next_back() {
                    bounds.retain(|priority, _| priority < last);
                }
                bounds.extend(found);
            } else {
                for (priority, rank) in found {
                    let bound = bounds.entry(priority).or_insert(rank);
                    *bound = (*bound).max(rank);
                }
            }
            if bounds.len() > PRIORITIES {
                bounds.clear();
            }
        }
        if look == Look::Sweep {
            place.swept = Some(Instant::now());
            place.costs.push_back(cost);
            if place.costs.len() > SAMPLES {
                place.costs.pop_front();
            }
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
            (Bounds::default(), QueueName::new("q").unwrap(), Kind::new("k").unwrap());
        let ranges = |look| bounds.ranges(&queue, Lane::Normal, &kind, look);
        assert_eq!(ranges(Look::Above), [(i64::MIN, i64::MAX)]);
        let found = seen(&kind, &[rank(0, 5), rank(0, 9), rank(-3, 20), rank(7, 1)]);
        bounds.looked(&queue, Lane::Normal, Look::Above, (&found, CHEAP), |_| true);
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
            (Bounds::default(), QueueName::new("q").unwrap(), Kind::new("k").unwrap());
        let looked = |look, ranks: &[i64], full: bool| {
            bounds.looked(&queue, Lane::Normal, look, (&seen(&kind, ranks), CHEAP), |_| full);
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

    #[test]
    fn a_dear_sweep_is_made_seldom() {
        let (bounds, queue) = (Bounds::default(), QueueName::new("q").unwrap());
        assert_eq!(bounds.first(&queue, Lane::Normal), Look::Sweep, "nothing is known");
        let sweep = |cost| bounds.looked(&queue, Lane::Normal, Look::Sweep, (&[], cost), |_| false);
        let dear = Duration::from_secs(60);
        sweep(dear);
        bounds.ended(&queue, Lane::Normal, true);
        assert!(bounds.sweep_now(&queue, Lane::Normal), "one alone may have met a busy machine");
        (1..SAMPLES).for_each(|_| sweep(dear));
        assert_eq!(bounds.first(&queue, Lane::Normal), Look::Above);
        assert!(!bounds.sweep_now(&queue, Lane::Normal));
        sweep(Duration::ZERO);
        assert!(bounds.sweep_now(&queue, Lane::Normal));
        assert_eq!(bounds.first(&queue, Lane::Normal), Look::Sweep, "cheap, and nothing to do");
        bounds.ended(&queue, Lane::Normal, false);
        assert_eq!(bounds.first(&queue, Lane::Normal), Look::Above, "jobs keep coming");
        assert_eq!(bounds.first(&queue, Lane::Quarantine), Look::Sweep, "lanes are apart");
    }
}
