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

impl KindLane {
    /// Slots of its own that are free; `None` for any number.
    fn free(&self) -> Option<u32> {
        self.limit.map(|n| n.saturating_sub(self.busy))
    }
}

#[derive(Debug)]
struct State {
    queues: Vec<Lane>,
    kinds: BTreeMap<Kind, KindLane>,
    /// Counts looks: which queue is named first, and which blocking kinds have the threads that are left over.
    turn: usize,
}

impl State {
    /// Divides the free threads among the blocking kinds that have slots, one by one and beginning with another kind at
    /// each turn: together they get no more than there are.
    fn threads(&self, mut free: u32) -> BTreeMap<&Kind, u32> {
        let blocking = self.kinds.iter().filter(|(_, lane)| lane.blocking);
        let mut open: Vec<_> = blocking
            .map(|(kind, lane)| (kind, 0, lane.free().unwrap_or(u32::MAX)))
            .filter(|(_, _, most)| *most > 0)
            .collect();
        let count = open.len().max(1);
        open.rotate_left(self.turn % count);
        while free > 0 && open.iter().any(|(_, given, most)| given < most) {
            for (_, given, most) in &mut open {
                if free > 0 && given < most {
                    *given += 1;
                    free -= 1;
                }
            }
        }
        open.into_iter().map(|(kind, given, _)| (kind, given)).collect()
    }
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
    /// The free threads were divided, so one kind may get those that another has no jobs for.
    pub(crate) divided: bool,
    /// Blocking kinds for which no thread was left: they come first in one of the next looks.
    pub(crate) left_out: usize,
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
                turn: 0,
            }),
            busy: watch::Sender::new(0),
            freed: Notify::new(),
        }
    }

    /// Begins another look: another queue comes first.
    pub(crate) fn turn(&self) {
        let mut state = lock(&self.state);
        state.turn = state.turn.wrapping_add(1);
    }

    /// What is free now. `blocking` is the number of free threads for blocking handlers.
    pub(crate) fn demand(&self, blocking: u32) -> Demand {
        let state = lock(&self.state);
        let mut short = false;
        let (before, after) = state.queues.split_at(state.turn % state.queues.len().max(1));
        let mut queues = Vec::with_capacity(state.queues.len());
        for lane in after.iter().chain(before) {
            match lane.limit.saturating_sub(lane.busy) {
                0 => short = true,
                limit => queues.push(QueueSlots { queue: lane.name.clone(), limit }),
            }
        }
        let threads = state.threads(blocking);
        let mut kinds = Vec::with_capacity(state.kinds.len());
        for (kind, lane) in &state.kinds {
            let limit = if lane.blocking {
                Some(threads.get(kind).copied().unwrap_or(0))
            } else {
                lane.free()
            };
            match limit {
                Some(0) => short = true,
                limit => kinds.push(KindSlots { kind: kind.clone(), limit }),
            }
        }
        let left_out = match blocking {
            0 => 0,
            _ => threads.values().filter(|given| **given == 0).count(),
        };
        Demand { queues, kinds, short, divided: threads.len() > 1, left_out }
    }

    /// Whether anything could be claimed.
    pub(crate) fn has_room(&self, blocking: u32) -> bool {
        let state = lock(&self.state);
        let kind = |lane: &KindLane| lane.free() != Some(0) && (!lane.blocking || blocking > 0);
        state.queues.iter().any(|lane| lane.busy < lane.limit) && state.kinds.values().any(kind)
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
    fn blocking_kinds_share_the_free_threads_in_turn() {
        let kinds = ["k", "l", "m"].map(|text| Kind::new(text).unwrap());
        let limits = [None, Some(1), None];
        let each = kinds.iter().cloned().zip(limits).map(|(kind, limit)| (kind, limit, true));
        let slots = Slots::new(&[(name("a"), 9)], each);
        let given = |demand: &Demand| -> Vec<u32> {
            let of = |kind: &Kind| demand.kinds.iter().find(|slots| slots.kind == *kind);
            kinds.iter().map(|kind| of(kind).map_or(0, |slots| slots.limit.unwrap())).collect()
        };
        assert_eq!(given(&slots.demand(8)), [4, 1, 3]);
        let firsts: Vec<_> = (0..3)
            .map(|_| {
                slots.turn();
                given(&slots.demand(1)).iter().position(|n| *n == 1).unwrap()
            })
            .collect();
        assert_eq!(firsts, [1, 2, 0]);
        assert!(slots.has_room(1) && !slots.has_room(0) && slots.demand(0).is_empty());
    }

    #[test]
    fn queues_come_first_in_turn() {
        let kind = (Kind::new("k").unwrap(), None, false);
        let slots = Slots::new(&[(name("a"), 1), (name("b"), 1)], [kind]);
        let first = || slots.demand(0).queues[0].queue.clone();
        assert_eq!((first(), first()), (name("a"), name("a")));
        slots.turn();
        assert_eq!(first(), name("b"));
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
