//! How many more jobs may be claimed, and which of those that were may run: slots per queue and per kind.
//!
//! A slot is taken while a handler runs. A few jobs more than there are slots are claimed ahead and wait here, so that short jobs are not claimed in
//! small batches, each with a round trip of its own: as many as ran within a short time of late.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;

use super::lock;
use crate::{Kind, KindSlots, QueueName, QueueSettings, QueueSlots};

/// For how long ends of handlers are counted.
const WINDOW: Duration = Duration::from_millis(10);
/// Jobs of a queue that may wait for slots.
const AHEAD: u32 = 1_000;

#[derive(Debug)]
struct Lane {
    name: QueueName,
    /// What the worker was built with.
    built: u32,
    /// What holds now.
    limit: u32,
    /// Slots that are taken.
    busy: u32,
    /// Jobs that wait for one.
    queued: u32,
    /// How they are told; those that gave up meanwhile stand here still.
    waiting: VecDeque<oneshot::Sender<()>>,
    pace: Pace,
}

impl Lane {
    fn new(name: &QueueName, limit: u32) -> Self {
        Self {
            name: name.clone(),
            built: limit,
            limit,
            busy: 0,
            queued: 0,
            waiting: VecDeque::new(),
            pace: Pace::new(),
        }
    }

    /// Gives free slots to those who wait, in order.
    fn pass_on(&mut self) {
        while self.busy < self.limit
            && let Some(next) = self.waiting.pop_front()
        {
            // One that has given up has counted itself out.
            if next.send(()).is_ok() {
                self.busy += 1;
                self.queued = self.queued.saturating_sub(1);
            }
        }
    }

    /// Jobs that may be claimed now.
    fn room(&self, ahead: Duration) -> u32 {
        let most = self.pace.within(ahead);
        // Ahead it goes in good portions, not one by one.
        if self.busy >= self.limit && self.queued.saturating_mul(2) > most {
            return 0;
        }
        let taken = self.busy.saturating_add(self.queued);
        self.limit.saturating_add(most).saturating_sub(taken)
    }
}

/// How fast handlers end.
#[derive(Debug)]
struct Pace {
    since: Instant,
    ended: u32,
    /// By the second, in the last window that is over.
    rate: f64,
}

impl Pace {
    fn new() -> Self {
        Self { since: Instant::now(), ended: 0, rate: 0.0 }
    }

    fn note(&mut self) {
        self.ended = self.ended.saturating_add(1);
        let passed = self.since.elapsed();
        if passed >= WINDOW {
            self.rate = f64::from(self.ended) / passed.as_secs_f64();
            (self.since, self.ended) = (Instant::now(), 0);
        }
    }

    /// How many end within a time, as far as is known.
    fn within(&self, time: Duration) -> u32 {
        let passed = self.since.elapsed();
        let mut rate = self.rate;
        if passed >= 2 * WINDOW {
            // They have become slower, or none ends any more.
            rate = rate.min(f64::from(self.ended) / passed.as_secs_f64());
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
        let jobs = (rate * time.as_secs_f64()) as u32;
        jobs.min(AHEAD)
    }
}

#[derive(Debug, Default)]
struct KindLane {
    limit: Option<u32>,
    /// Jobs that wait for a slot or have one.
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

/// The slots of one worker.
#[derive(Debug)]
pub(crate) struct Slots {
    inner: Arc<Inner>,
    /// Jobs in hands: claimed, and neither settled nor lost.
    held: watch::Sender<usize>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    /// More may be claimed.
    freed: Notify,
    /// How much is claimed ahead.
    ahead: Duration,
}

/// The place of one job: it waits for a slot, has one, and gives it back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    inner: Arc<Inner>,
    lane: Option<usize>,
    kind: Kind,
    /// Tells of the slot; `None` once it is there.
    told: Option<oneshot::Receiver<()>>,
}

impl Place {
    /// Waits for the slot. May be dropped and called again.
    pub(crate) async fn granted(&mut self) {
        if let Some(told) = &mut self.told {
            // The sender goes with a message only.
            let _ = told.await;
            self.told = None;
        }
    }

    /// Whether the slot is there already.
    pub(crate) fn is_granted(&self) -> bool {
        self.told.is_none()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = lock(&self.inner.state);
        if let Some(kind) = state.kinds.get_mut(&self.kind) {
            kind.busy = kind.busy.saturating_sub(1);
        }
        let mut room = true;
        if let Some(lane) = self.lane.and_then(|place| state.queues.get_mut(place)) {
            let waits = self.told.as_mut().is_some_and(|told| {
                told.close();
                told.try_recv().is_err()
            });
            if waits {
                lane.queued = lane.queued.saturating_sub(1);
            } else {
                lane.busy = lane.busy.saturating_sub(1);
                lane.pace.note();
                lane.pass_on();
            }
            room = lane.room(self.inner.ahead) > 0;
        }
        drop(state);
        if room {
            self.inner.freed.notify_one();
        }
    }
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
    /// `kinds`: each with its limit and whether it runs on the blocking pool. `ahead`: how much is claimed ahead.
    pub(crate) fn new(
        queues: &[(QueueName, u32)],
        kinds: impl IntoIterator<Item = (Kind, Option<u32>, bool)>,
        ahead: Duration,
    ) -> Self {
        let kind = |(kind, limit, blocking)| (kind, KindLane { limit, busy: 0, blocking });
        let state = State {
            queues: queues.iter().map(|(name, limit)| Lane::new(name, *limit)).collect(),
            kinds: kinds.into_iter().map(kind).collect(),
            turn: 0,
        };
        let inner = Inner { state: Mutex::new(state), freed: Notify::new(), ahead };
        Self { inner: Arc::new(inner), held: watch::Sender::new(0) }
    }

    /// Begins another look: another queue comes first.
    pub(crate) fn turn(&self) {
        let mut state = lock(&self.inner.state);
        state.turn = state.turn.wrapping_add(1);
    }

    /// What is free now. `blocking` is the number of free threads for blocking handlers.
    pub(crate) fn demand(&self, blocking: u32) -> Demand {
        let state = lock(&self.inner.state);
        let mut short = false;
        let (before, after) = state.queues.split_at(state.turn % state.queues.len().max(1));
        let mut queues = Vec::with_capacity(state.queues.len());
        for lane in after.iter().chain(before) {
            match lane.room(self.inner.ahead) {
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
        let state = lock(&self.inner.state);
        let kind = |lane: &KindLane| lane.free() != Some(0) && (!lane.blocking || blocking > 0);
        let queue = |lane: &Lane| lane.room(self.inner.ahead) > 0;
        state.queues.iter().any(queue) && state.kinds.values().any(kind)
    }

    /// Takes a slot for a job of a queue and kind, or a place in the line for one.
    pub(crate) fn enter(&self, queue: &QueueName, kind: &Kind) -> Place {
        let mut state = lock(&self.inner.state);
        if let Some(lane) = state.kinds.get_mut(kind) {
            lane.busy = lane.busy.saturating_add(1);
        }
        let place = state.queues.iter().position(|lane| lane.name == *queue);
        let mut told = None;
        if let Some(lane) = place.and_then(|place| state.queues.get_mut(place)) {
            if lane.busy < lane.limit {
                lane.busy += 1;
            } else {
                let (tell, wait) = oneshot::channel();
                lane.queued += 1;
                lane.waiting.push_back(tell);
                told = Some(wait);
            }
        }
        Place { inner: self.inner.clone(), lane: place, kind: kind.clone(), told }
    }

    /// Waits until more may be claimed.
    pub(crate) async fn freed(&self) {
        self.inner.freed.notified().await;
    }

    /// Has [`freed`](Self::freed) look again.
    pub(crate) fn look_again(&self) {
        self.inner.freed.notify_one();
    }

    /// Counts a job that was claimed.
    pub(crate) fn hold(&self) {
        self.held.send_modify(|n| *n += 1);
    }

    /// Counts one that was settled or lost.
    pub(crate) fn let_go(&self) {
        self.held.send_modify(|n| *n = n.saturating_sub(1));
    }

    /// Takes over the queues' settings; a queue that is not named has none.
    pub(crate) fn resize(&self, settings: &[QueueSettings]) {
        let mut raised = false;
        for lane in &mut lock(&self.inner.state).queues {
            let set = settings.iter().find(|s| s.name == lane.name).and_then(|s| s.concurrency);
            let limit = set.unwrap_or(lane.built);
            raised |= limit > lane.limit;
            lane.limit = limit;
            lane.pass_on();
        }
        if raised {
            self.look_again();
        }
    }

    pub(crate) fn queues(&self) -> Vec<QueueName> {
        lock(&self.inner.state).queues.iter().map(|lane| lane.name.clone()).collect()
    }

    /// Jobs in hands.
    pub(crate) fn held(&self) -> usize {
        *self.held.borrow()
    }

    /// Waits until no job is in hands.
    pub(crate) async fn idle(&self) {
        // The sender lives in `self`, so the wait can't fail.
        let _ = self.held.subscribe().wait_for(|n| *n == 0).await;
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

    fn slots(queues: &[(QueueName, u32)], kinds: Vec<(Kind, Option<u32>, bool)>) -> Slots {
        Slots::new(queues, kinds, Duration::from_millis(20))
    }

    #[test]
    fn a_claim_asks_for_no_more_than_the_free_slots_of_queue_and_kind() {
        let kind = Kind::new("k").unwrap();
        let queues = [(name("a"), 2), (name("b"), 1)];
        let slots = slots(&queues, vec![(kind.clone(), Some(2), false)]);
        assert!(!slots.demand(0).short);
        let b = slots.enter(&name("b"), &kind);
        let demand = slots.demand(0);
        assert_eq!((asked(&demand, "a"), asked(&demand, "b")), (2, 0));
        assert_eq!(demand.kinds[0].limit, Some(1));
        assert!(demand.short);
        let _a = slots.enter(&name("a"), &kind);
        assert!(slots.demand(0).is_empty());
        drop(b);
        assert_eq!(asked(&slots.demand(0), "b"), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn slots_are_passed_on_in_order_and_not_to_those_who_gave_up() {
        let (kind, a) = (Kind::new("k").unwrap(), name("a"));
        let slots = slots(&[(a.clone(), 1)], vec![(kind.clone(), None, false)]);
        let [first, mut second, third, mut fourth] = [(); 4].map(|()| slots.enter(&a, &kind));
        assert!(first.is_granted() && !second.is_granted());
        drop(third);
        drop(first);
        second.granted().await;
        let early = tokio::time::timeout(Duration::from_secs(1), fourth.granted()).await;
        assert!(early.is_err(), "one at a time");
        drop(second);
        fourth.granted().await;
        // A slot that was passed on and not taken notice of is passed on again.
        let [fifth, mut sixth] = [(); 2].map(|()| slots.enter(&a, &kind));
        drop(fourth);
        drop(fifth);
        sixth.granted().await;
        drop(sixth);
        assert_eq!(asked(&slots.demand(0), "a"), 1, "nothing is counted still");
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_as_ran_of_late_are_claimed_ahead_in_good_portions() {
        let (kind, a) = (Kind::new("k").unwrap(), name("a"));
        let slots = slots(&[(a.clone(), 2)], vec![(kind.clone(), None, false)]);
        let run = async |jobs: u32, time: Duration| {
            for _ in 0..jobs {
                let place = slots.enter(&a, &kind);
                tokio::time::sleep(time / jobs).await;
                drop(place);
            }
        };
        run(100, Duration::from_secs(10)).await;
        assert_eq!(asked(&slots.demand(0), "a"), 2, "long ones are not claimed ahead");
        run(1_000, Duration::from_secs(2)).await;
        assert_eq!(asked(&slots.demand(0), "a"), 2 + 10);
        let mut places: Vec<_> = (0..2 + 10).map(|_| slots.enter(&a, &kind)).collect();
        for waiting in (6..=10).rev() {
            assert!(!slots.has_room(0), "{waiting}");
            places.remove(0);
        }
        assert_eq!(asked(&slots.demand(0), "a"), 5);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(asked(&slots.demand(0), "a"), 0, "nothing ends any more");
        drop(places);
        assert_eq!(asked(&slots.demand(0), "a"), 2);
        // However many.
        for _ in 0..100 {
            drop((0..100).map(|_| slots.enter(&a, &kind)).collect::<Vec<_>>());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(asked(&slots.demand(0), "a"), 2 + AHEAD);
        assert_eq!(
            asked(&Slots::new(&[(a, 2)], [(kind, None, false)], Duration::ZERO).demand(0), "a"),
            2
        );
    }

    #[test]
    fn blocking_kinds_are_bounded_by_the_free_threads() {
        let kind = Kind::new("k").unwrap();
        let slots = slots(&[(name("a"), 9)], vec![(kind, None, true)]);
        assert_eq!(slots.demand(3).kinds[0].limit, Some(3));
        assert!(slots.demand(0).is_empty());
    }

    #[test]
    fn blocking_kinds_share_the_free_threads_in_turn() {
        let kinds = ["k", "l", "m"].map(|text| Kind::new(text).unwrap());
        let limits = [None, Some(1), None];
        let each = kinds.iter().cloned().zip(limits).map(|(kind, limit)| (kind, limit, true));
        let slots = slots(&[(name("a"), 9)], each.collect());
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
        let slots = slots(&[(name("a"), 1), (name("b"), 1)], vec![kind]);
        let first = || slots.demand(0).queues[0].queue.clone();
        assert_eq!((first(), first()), (name("a"), name("a")));
        slots.turn();
        assert_eq!(first(), name("b"));
    }

    #[test]
    fn settings_resize_a_queue_and_their_removal_restores_it() {
        let slots = slots(&[(name("a"), 2)], vec![(Kind::new("k").unwrap(), None, false)]);
        let mut setting = QueueSettings::new(name("a"));
        setting.concurrency = Some(5);
        slots.resize(&[setting]);
        assert_eq!(asked(&slots.demand(0), "a"), 5);
        slots.resize(&[]);
        assert_eq!(asked(&slots.demand(0), "a"), 2);
    }
}
