//! How many more jobs may be claimed, and which of those that were may run: slots per queue and per kind.
//!
//! A slot is taken while a handler runs. A few jobs more than there are slots are claimed ahead and wait here, so that short jobs are not claimed in
//! small batches, each with a round trip of its own: as many as ran within a short time of late.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::lock;
use crate::sync::{Mutex, Notify, oneshot};
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
    /// Which of the queues. Small, as the whole: it is a part of each job's task.
    lane: Option<u32>,
    kind: Kind,
    /// Tells of the slot; `None` once it is there.
    told: Option<oneshot::Receiver<()>>,
    /// The kind has no slot for it, and no line for those that wait.
    surplus: bool,
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

    /// Whether it is more of its kind than was asked for. A claim that came twice, and whose answer was lost, brings twice as many.
    pub(crate) fn is_surplus(&self) -> bool {
        self.surplus
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = lock(&self.inner.state);
        if let Some(kind) = state.kinds.get_mut(&self.kind) {
            kind.busy = kind.busy.saturating_sub(1);
        }
        let mut room = true;
        if let Some(lane) = self.lane.and_then(|place| state.queues.get_mut(place as usize)) {
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
        let mut surplus = false;
        if let Some(lane) = state.kinds.get_mut(kind) {
            surplus = lane.free() == Some(0);
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
        let lane = place.and_then(|place| u32::try_from(place).ok());
        Place { inner: self.inner.clone(), lane, kind: kind.clone(), told, surplus }
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
mod tests;
