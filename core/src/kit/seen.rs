//! Up to which news claims have seen queues empty.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use tokio::time::Instant;

use crate::{ClaimRequest, Lane, Lease, QueueName};

/// After so long, whoever claimed waits for news itself, or had no room for more and looks when it has. Who waits is told of news again and again
/// meanwhile, if claims of some set of kinds come no more: so it is short.
const LATELY: Duration = Duration::from_millis(200);
/// Queues that are told apart. Beyond them all is forgotten: what was seen counts as news once more.
const MOST: usize = 10_000;

/// Up to which news claims have seen queues empty.
///
/// A claim sees for its own kinds alone. While it is under way there may be news of one of them, which another claim, of other kinds, has looked at by
/// the time that its worker waits: so what claims of different kinds have seen is told apart for a while.
#[derive(Debug, Default)]
pub struct Seen(HashMap<String, Looks>);

/// Looks at a queue.
#[derive(Debug, Default)]
struct Looks {
    /// Up to which news anybody has looked.
    most: u64,
    /// The last of each set of kinds.
    lately: Vec<Look>,
}

#[derive(Debug)]
struct Look {
    kinds: Kinds,
    upto: u64,
    at: Instant,
}

/// A set of kinds, as its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kinds(u64);

impl Kinds {
    const ALL: Self = Self(0);

    /// Those of which a claim has found less than it asked for.
    fn left(request: &ClaimRequest, leases: &[Lease]) -> Option<Self> {
        let left = request.kinds.iter().filter(|slots| {
            let found = || leases.iter().filter(|lease| lease.kind == slots.kind).count();
            slots.limit.is_none_or(|limit| found() < limit as usize)
        });
        // In whichever order they stand.
        let hash = |slots: &crate::KindSlots| {
            let mut hasher = DefaultHasher::new();
            slots.kind.hash(&mut hasher);
            hasher.finish()
        };
        left.map(hash).reduce(u64::wrapping_add).map(Self)
    }
}

impl Seen {
    /// Notes what a claim that started at the news `upto` has left: of a queue that gave less than was asked for, nothing of the kinds that did. One
    /// in the quarantine lane has looked at nothing that others take. `swept` tells whether a queue was looked at from end to end.
    pub fn claimed(
        &mut self,
        request: &ClaimRequest,
        leases: &[Lease],
        upto: u64,
        swept: impl Fn(&QueueName) -> bool,
    ) {
        if request.lane != Lane::Normal {
            return;
        }
        let Some(kinds) = Kinds::left(request, leases) else { return };
        for slots in &request.queues {
            let found = leases.iter().filter(|lease| lease.queue == slots.queue).count();
            if found < slots.limit as usize && swept(&slots.queue) {
                self.note(&slots.queue, kinds, upto);
            }
        }
    }

    /// Notes that nothing at all was left in a queue for who looked at the news `upto`.
    pub fn all(&mut self, queue: &QueueName, upto: u64) {
        self.note(queue, Kinds::ALL, upto);
    }

    fn note(&mut self, queue: &QueueName, kinds: Kinds, mut upto: u64) {
        let now = Instant::now();
        if self.0.len() >= MOST && !self.0.contains_key(queue.as_str()) {
            self.0.clear();
        }
        let looks = match self.0.get_mut(queue.as_str()) {
            Some(known) => known,
            None => self.0.entry(queue.as_str().to_owned()).or_default(),
        };
        looks.most = looks.most.max(upto);
        looks.lately.retain(|look| {
            let same = look.kinds == kinds;
            if same {
                upto = upto.max(look.upto);
            }
            !same && now.duration_since(look.at) < LATELY
        });
        looks.lately.push(Look { kinds, upto, at: now });
    }

    /// Whether somebody who claims from a queue may not have looked at it since these news.
    pub fn misses(&self, queue: &QueueName, news: u64) -> bool {
        let Some(looks) = self.0.get(queue.as_str()) else { return news > 0 };
        let late = |look: &Look| look.upto < news && look.at.elapsed() < LATELY;
        looks.most < news || looks.lately.iter().any(late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, KindSlots, QueueSlots, WorkerId};

    fn queue() -> QueueName {
        QueueName::new("q").unwrap()
    }

    fn request(kinds: &[(&str, Option<u32>)]) -> ClaimRequest {
        let kind = |(kind, limit): &(&str, _)| KindSlots {
            kind: Kind::new(*kind).unwrap(),
            limit: *limit,
        };
        let queues = vec![QueueSlots { queue: queue(), limit: 9 }];
        ClaimRequest::new(WorkerId::new(), queues, kinds.iter().map(kind).collect())
    }

    fn claimed(seen: &mut Seen, request: &ClaimRequest, upto: u64) {
        seen.claimed(request, &[], upto, |_| true);
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_sees_for_its_own_kinds_alone() {
        let (mut seen, queue) = (Seen::default(), queue());
        let [a, b] = ["a", "b"].map(|kind| request(&[(kind, None)]));
        assert!(!seen.misses(&queue, 0) && seen.misses(&queue, 1));
        // The second of these began before the news that the first has looked at.
        claimed(&mut seen, &a, 2);
        claimed(&mut seen, &b, 1);
        assert!(seen.misses(&queue, 2));
        claimed(&mut seen, &b, 2);
        assert!(!seen.misses(&queue, 2));
        claimed(&mut seen, &a, 1);
        assert!(!seen.misses(&queue, 2), "the same had looked before");
        let (both, turned) =
            (request(&[("a", None), ("b", None)]), request(&[("b", None), ("a", None)]));
        claimed(&mut seen, &both, 2);
        claimed(&mut seen, &turned, 3);
        claimed(&mut seen, &a, 3);
        claimed(&mut seen, &b, 3);
        assert!(!seen.misses(&queue, 3), "the order of the kinds is nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_not_claimed_lately_is_waited_for_no_longer() {
        let (mut seen, queue) = (Seen::default(), queue());
        let [a, b] = ["a", "b"].map(|kind| request(&[(kind, None)]));
        claimed(&mut seen, &a, 1);
        claimed(&mut seen, &b, 2);
        assert!(seen.misses(&queue, 2));
        tokio::time::advance(LATELY).await;
        assert!(!seen.misses(&queue, 2));
        claimed(&mut seen, &b, 3);
        assert_eq!(seen.0["q"].lately.len(), 1, "it is forgotten");
    }

    /// Whoever serves ever more queues decides how many there are.
    #[tokio::test(start_paused = true)]
    #[cfg_attr(miri, ignore = "thousands of rounds")]
    async fn looks_at_ever_more_queues_take_no_more_room() {
        let mut seen = Seen::default();
        for n in 0..2 * MOST {
            seen.all(&QueueName::new(format!("queue-{n}")).unwrap(), 1);
        }
        assert!(seen.0.len() <= MOST);
        assert!(
            seen.misses(&QueueName::new("queue-0").unwrap(), 1),
            "once too often, never too seldom"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn claims_that_leave_something_out_see_for_nobody_else() {
        let (mut seen, queue) = (Seen::default(), queue());
        let whole = request(&[("a", None), ("b", None)]);
        claimed(&mut seen, &whole, 1);
        // Another worker has no room for one of the kinds.
        claimed(&mut seen, &request(&[("a", None), ("b", Some(0))]), 2);
        assert!(seen.misses(&queue, 2));
        claimed(&mut seen, &whole, 2);
        assert!(!seen.misses(&queue, 2));

        let mut crashed = whole.clone();
        crashed.lane = Lane::Quarantine;
        claimed(&mut seen, &crashed, 3);
        seen.claimed(&whole, &[], 3, |_| false);
        claimed(&mut seen, &request(&[("a", Some(0))]), 3);
        assert!(seen.misses(&queue, 3));
    }
}
