//! How often to do what may be dear: looks from the head of an index, which walk all that others have left there.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What costs no more is done whenever it may bring something.
pub(crate) const CHEAP: Duration = Duration::from_micros(300);
/// Of so many the shortest tells what one costs: a busy machine makes single ones look dear.
pub(crate) const SAMPLES: usize = 5;
/// What is dear takes at most one part in so many of the time.
const SHARE: u32 = 10;

/// When something was done last, and what it cost.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    done: Option<Instant>,
    costs: VecDeque<Duration>,
}

impl Pace {
    /// What it costs; nothing until that is known.
    fn cost(&self) -> Duration {
        if self.costs.len() < SAMPLES {
            return Duration::ZERO;
        }
        self.costs.iter().min().copied().unwrap_or_default()
    }

    /// Whether it may be done at any time.
    pub(crate) fn is_cheap(&self) -> bool {
        self.cost() <= CHEAP
    }

    /// Whether it is time: not before `every`, nor before its share of the time allows it.
    pub(crate) fn is_due(&self, every: Duration) -> bool {
        let after = every.max(self.cost().saturating_mul(SHARE));
        self.done.is_none_or(|done| done.elapsed() >= after)
    }

    /// Whether it may be done now.
    pub(crate) fn allows(&self) -> bool {
        self.is_cheap() || self.is_due(Duration::ZERO)
    }

    /// Notes that it was done.
    pub(crate) fn note(&mut self, cost: Duration) {
        self.done = Some(Instant::now());
        self.costs.push_back(cost);
        if self.costs.len() > SAMPLES {
            self.costs.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dear_takes_its_share_and_what_is_cheap_is_always_allowed() {
        let mut pace = Pace::default();
        assert!(pace.allows() && pace.is_due(Duration::MAX), "it was never done");
        let dear = Duration::from_secs(60);
        for _ in 1..SAMPLES {
            pace.note(dear);
            assert!(pace.allows(), "single ones may have met a busy machine");
        }
        pace.note(dear);
        assert!(!pace.allows() && !pace.is_due(Duration::ZERO));
        pace.note(CHEAP);
        assert!(pace.allows() && !pace.is_due(dear));
        (0..SAMPLES).for_each(|_| pace.note(dear));
        assert!(!pace.allows());
        pace.done = Instant::now().checked_sub(dear * SHARE);
        assert!(pace.allows(), "its share of the time has passed");
    }
}
