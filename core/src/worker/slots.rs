//! How many more jobs may be claimed: slots per queue and per kind.

use std::collections::BTreeMap;
use std::sync::Mutex;

use tokio::sync::{Notify, watch};

use super::lock;
use crate::{Kind, KindSlots, QueueName, QueueSettings, QueueSlots};

#[derive(Debug)]
struct Lane {
    name: QueueName,
    /// What the worker was built with.
    built: u32,
    /// What holds now.
    limit: u32,
    busy: u32,
}

#[derive(Debug, Default)]
struct KindLane {
    limit: Option<u32>,
    busy: u32,
    blocking: bool,
}

#[derive(Debug)]
struct State {
    queues: Vec<Lane>,
    kinds: BTreeMap<Kind, KindLane>,
    /// Which queue a claim names first, in turn.
    first: usize,
}

/// The slots of one worker. A slot is taken when a job is admitted and given back when its attempt is settled or lost.
#[derive(Debug)]
pub(crate) struct Slots {
    state: Mutex<State>,
    busy: watch::Sender<usize>,
    /// A slot was given back, or a limit was raised.
    pub(crate) freed: Notify,
}

/// What a claim may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Demand {
    pub(crate) queues: Vec<QueueSlots>,
    pub(crate) kinds: Vec<KindSlots>,
    /// Some queue or kind has no slot, so a freed one may let more be claimed.
    pub(crate) short: bool,
}

impl Demand {
    pub(crate) fn is_empty(&self) -> bool {
        self.queues.is_empty() || self.kinds.is_empty()
    }
}

impl Slots {
    /// `kinds`: each with its limit and whether it runs on the blocking pool.
    pub(crate) fn new(
        queues: &[(QueueName, u32)],
        kinds: impl IntoIterator<Item = (Kind, Option<u32>, bool)>,
    ) -> Self {
        let lane = |(name, n): &(QueueName, u32)| Lane {
            name: name.clone(),
            built: *n,
            limit: *n,
            busy: 0,
        };
        let kind = |(kind, limit, blocking)| (kind, KindLane { limit, busy: 0, blocking });
        Self {
            state: Mutex::new(State {
                queues: queues.iter().map(lane).collect(),
                kinds: kinds.into_iter().map(kind).collect(),
                first: 0,
            }),
            busy: watch::Sender::new(0),
            freed: Notify::new(),
        }
    }

    /// What is free now. `blocking` is the number of free threads for blocking handlers.
    pub(crate) fn demand(&self, blocking: u32) -> Demand {
        let mut state = lock(&self.state);
        let count = state.queues.len().max(1);
        state.first = (state.first + 1) % count;
        let mut short = false;
        let (before, after) = state.queues.split_at(state.first);
        let mut queues = Vec::with_capacity(count);
        for lane in after.iter().chain(before) {
            match lane.limit.saturating_sub(lane.busy) {
                0 => short = true,
                limit => queues.push(QueueSlots { queue: lane.name.clone(), limit }),
            }
        }
        let mut kinds = Vec::with_capacity(state.kinds.len());
        for (kind, lane) in &state.kinds {
            let own = lane.limit.map(|n| n.saturating_sub(lane.busy));
            let limit = match (own, lane.blocking) {
                (Some(n), true) => Some(n.min(blocking)),
                (None, true) => Some(blocking),
                (own, false) => own,
            };
            match limit {
                Some(0) => short = true,
                limit => kinds.push(KindSlots { kind: kind.clone(), limit }),
            }
        }
        Demand { queues, kinds, short }
    }

    pub(crate) fn take(&self, queue: &QueueName, kind: &Kind) {
        self.shift(queue, kind, |n| n.saturating_add(1));
        self.busy.send_modify(|n| *n += 1);
    }

    pub(crate) fn give_back(&self, queue: &QueueName, kind: &Kind) {
        self.shift(queue, kind, |n| n.saturating_sub(1));
        self.busy.send_modify(|n| *n = n.saturating_sub(1));
        self.freed.notify_one();
    }

    fn shift(&self, queue: &QueueName, kind: &Kind, by: impl Fn(u32) -> u32) {
        let mut state = lock(&self.state);
        if let Some(lane) = state.queues.iter_mut().find(|lane| lane.name == *queue) {
            lane.busy = by(lane.busy);
        }
        if let Some(lane) = state.kinds.get_mut(kind) {
            lane.busy = by(lane.busy);
        }
    }

    /// Takes over the queues' settings; a queue that is not named has none.
    pub(crate) fn resize(&self, settings: &[QueueSettings]) {
        let mut raised = false;
        for lane in &mut lock(&self.state).queues {
            let set = settings.iter().find(|s| s.name == lane.name).and_then(|s| s.concurrency);
            let limit = set.unwrap_or(lane.built);
            raised |= limit > lane.limit;
            lane.limit = limit;
        }
        if raised {
            self.freed.notify_one();
        }
    }

    pub(crate) fn queues(&self) -> Vec<QueueName> {
        lock(&self.state).queues.iter().map(|lane| lane.name.clone()).collect()
    }

    pub(crate) fn busy(&self) -> usize {
        *self.busy.borrow()
    }

    /// Waits until no slot is taken.
    pub(crate) async fn idle(&self) {
        // The sender lives in `self`, so the wait can't fail.
        let _ = self.busy.subscribe().wait_for(|n| *n == 0).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> QueueName {
        QueueName::new(text).unwrap()
    }

    fn asked(demand: &Demand, queue: &str) -> u32 {
        demand.queues.iter().find(|q| q.queue == name(queue)).map_or(0, |q| q.limit)
    }

    #[test]
    fn a_claim_asks_for_no_more_than_the_free_slots_of_queue_and_kind() {
        let kind = Kind::new("k").unwrap();
        let slots = Slots::new(&[(name("a"), 2), (name("b"), 1)], [(kind.clone(), Some(2), false)]);
        assert!(!slots.demand(0).short);
        slots.take(&name("b"), &kind);
        let demand = slots.demand(0);
        assert_eq!((asked(&demand, "a"), asked(&demand, "b")), (2, 0));
        assert_eq!(demand.kinds[0].limit, Some(1));
        assert!(demand.short);
        slots.take(&name("a"), &kind);
        assert!(slots.demand(0).is_empty());
        slots.give_back(&name("b"), &kind);
        assert_eq!(asked(&slots.demand(0), "b"), 1);
    }

    #[test]
    fn blocking_kinds_are_bounded_by_the_free_threads() {
        let kind = Kind::new("k").unwrap();
        let slots = Slots::new(&[(name("a"), 9)], [(kind, None, true)]);
        assert_eq!(slots.demand(3).kinds[0].limit, Some(3));
        assert!(slots.demand(0).is_empty());
    }

    #[test]
    fn settings_resize_a_queue_and_their_removal_restores_it() {
        let slots = Slots::new(&[(name("a"), 2)], [(Kind::new("k").unwrap(), None, false)]);
        let mut setting = QueueSettings::new(name("a"));
        setting.concurrency = Some(5);
        slots.resize(&[setting]);
        assert_eq!(asked(&slots.demand(0), "a"), 5);
        slots.resize(&[]);
        assert_eq!(asked(&slots.demand(0), "a"), 2);
    }
}
