//! How often to do what may be dear: looks from the head of an index, which walk all that others have left there.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The way there and back, for what is measured from here and not by the server.
const ROUND_TRIP: Duration = Duration::from_millis(10);
/// Of so many the shortest tells what one costs: a busy machine makes single ones look dear.
pub(crate) const SAMPLES: usize = 5;
/// Clocks are not finer than this: nothing that was done costs nothing.
const LEAST: Duration = Duration::from_micros(1);

/// What may be done at any time, and what share of the time the rest may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// What costs the server no more is done whenever it may bring something.
    pub(crate) cheap: Duration,
    /// What is dear takes at most one part in so many of the time.
    pub(crate) share: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self { cheap: Duration::from_micros(300), share: 10 }
    }
}

/// When something was done last, and what it cost.
#[derive(Debug)]
pub(crate) struct Pace {
    budget: Budget,
    done: Option<Instant>,
    costs: VecDeque<Duration>,
}

impl Pace {
    pub(crate) fn new(budget: Budget) -> Self {
        Self { budget, done: None, costs: VecDeque::new() }
    }

    /// What it costs; nothing until that is known.
    fn cost(&self) -> Duration {
        if self.costs.len() < SAMPLES {
            return Duration::ZERO;
        }
        self.costs.iter().min().copied().unwrap_or_default().max(LEAST)
    }

    /// Whether it may be done at any time.
    pub(crate) fn is_cheap(&self) -> bool {
        self.cost() <= self.budget.cheap
    }

    /// Whether it is time: not before `every`, nor before its share of the time allows it.
    pub(crate) fn is_due(&self, every: Duration) -> bool {
        let after = every.max(self.cost().saturating_mul(self.budget.share));
        self.done.is_none_or(|done| done.elapsed() >= after)
    }

    /// Whether it may be done now.
    pub(crate) fn allows(&self) -> bool {
        self.is_cheap() || self.is_due(Duration::ZERO)
    }

    /// Notes that it was done.
    pub(crate) fn note(&mut self, cost: Duration) {
        self.done = Some(Instant::now());
        self.learn(cost);
    }

    /// Notes what it cost to begin with it.
    pub(crate) fn learn(&mut self, cost: Duration) {
        self.costs.push_back(cost);
        if self.costs.len() > SAMPLES {
            self.costs.pop_front();
        }
    }
}

/// Before all times, and so that an hour less is still a number.
pub(crate) const HEAD: i64 = i64::MIN / 2;

/// A column of times in which what was dealt with is passed: looks begin where an earlier one found nothing left. What comes in below (a transaction
/// that was open for long, a row that somebody had locked, a clock that was set back) is found from the head, as often as that may be done.
#[derive(Debug)]
pub(crate) struct Passed(Mutex<(i64, Pace)>);

impl Passed {
    pub(crate) fn new(mut budget: Budget) -> Self {
        if !budget.cheap.is_zero() {
            budget.cheap += ROUND_TRIP;
        }
        Self(Mutex::new((HEAD, Pace::new(budget))))
    }

    fn lock(&self) -> MutexGuard<'_, (i64, Pace)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a look from [`HEAD`] costs little, as far as is known.
    pub(crate) fn is_cheap(&self) -> bool {
        self.lock().1.is_cheap()
    }

    /// From where to look now: from [`HEAD`], or from where all was dealt with.
    pub(crate) fn from(&self) -> i64 {
        let passed = self.lock();
        if passed.1.allows() { HEAD } else { passed.0 }
    }

    /// Notes a look: where it began, how long it took, and up to where nothing is left, if it went that far.
    pub(crate) fn looked(&self, from: i64, cost: Duration, upto: Option<i64>) {
        let mut passed = self.lock();
        if from == HEAD {
            passed.1.note(cost);
            passed.0 = upto.unwrap_or(passed.0);
        } else if let Some(upto) = upto {
            passed.0 = passed.0.max(upto);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_begin_where_nothing_was_left() {
        let passed = Passed::new(Budget::default());
        let dear = Duration::from_secs(60);
        for _ in 0..SAMPLES {
            assert_eq!(passed.from(), HEAD);
            passed.looked(HEAD, dear, Some(100));
        }
        assert_eq!(passed.from(), 100);
        passed.looked(100, dear, None);
        assert_eq!(passed.from(), 100, "something was left");
        passed.looked(100, dear, Some(200));
        passed.looked(100, dear, Some(150));
        assert_eq!(passed.from(), 200);
        passed.looked(HEAD, dear, None);
        assert_eq!(passed.from(), 200, "what is left below comes with the next look from the head");
        passed.looked(HEAD, dear, Some(50));
        assert_eq!(passed.from(), 50, "a clock that was set back");
        passed.looked(HEAD, ROUND_TRIP, Some(300));
        assert_eq!(passed.from(), HEAD, "cheap again");
    }

    #[test]
    fn what_is_dear_takes_its_share_and_what_is_cheap_is_always_allowed() {
        let budget = Budget::default();
        let mut pace = Pace::new(budget);
        assert!(pace.allows() && pace.is_due(Duration::MAX), "it was never done");
        let dear = Duration::from_secs(60);
        for _ in 1..SAMPLES {
            pace.note(dear);
            assert!(pace.allows(), "single ones may have met a busy machine");
        }
        pace.note(dear);
        assert!(!pace.allows() && !pace.is_due(Duration::ZERO));
        pace.note(budget.cheap);
        assert!(pace.allows() && !pace.is_due(dear));
        (0..SAMPLES).for_each(|_| pace.note(dear));
        assert!(!pace.allows());
        pace.done = Instant::now().checked_sub(dear * budget.share);
        assert!(pace.allows(), "its share of the time has passed");
    }
}
