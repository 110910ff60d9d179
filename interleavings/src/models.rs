//! What threads do with each protocol. Each of these returns when every order has been gone through, and panics when one goes wrong.
#![allow(clippy::unwrap_used, reason = "a model fails by panicking")]

use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use loom::thread;
use windlass_core::WorkerId;

use crate::board::Board;
use crate::course::Course;
use crate::gather::Gather;
use crate::hub::Hub;
use crate::slots::Slots;
use crate::sync::{Instant, Mutex, Notify, Step, block_on, pass};
use crate::turns::Turns;
use crate::txn::{News, Tick};
use crate::under_way::{Entry, UnderWay};
use crate::{
    ClaimId, ClaimRequest, Kind, KindSlots, LogLevel, Note, QueueName, QueueSettings, QueueSlots,
    Wake, lock,
};

/// Without a timer: only news end the wait.
const EVER: Duration = Duration::MAX;
/// How often a thread may be put aside in mid-course, where all orders would be too many. `LOOM_MAX_PREEMPTIONS` says otherwise.
const BOUND: usize = 3;

fn explore(bound: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(bound);
    builder.check(model);
}

fn queue() -> QueueName {
    QueueName::new("q").unwrap()
}

fn kind() -> Kind {
    Kind::new("k").unwrap()
}

fn claim(kind: &str) -> ClaimRequest {
    let kinds = vec![KindSlots { kind: Kind::new(kind).unwrap(), limit: None }];
    ClaimRequest::new(WorkerId::new(), vec![QueueSlots { queue: queue(), limit: 1 }], kinds)
}

/// Where a process waits for news, and is told of them.
trait Desk: Default + Send + Sync + 'static {
    fn version(&self) -> u64;
    /// A claim of one kind found nothing.
    fn seen(&self, kind: &str, version: u64);
    /// Waits for ever, unless there are news.
    fn wait(&self);
    /// Brings news of a job in the queue.
    fn bring(&self);
}

impl Desk for Board {
    fn version(&self) -> u64 {
        self.version()
    }

    fn seen(&self, kind: &str, version: u64) {
        self.claimed(&claim(kind), &[], version, |_| true);
    }

    fn wait(&self) {
        assert_eq!(block_on(self.wait(&[queue()], EVER)), Wake::Hint);
    }

    fn bring(&self) {
        self.ready(["other", "q"]);
    }
}

impl Desk for Hub {
    fn version(&self) -> u64 {
        self.version()
    }

    fn seen(&self, kind: &str, version: u64) {
        self.claimed(&claim(kind), &[], version);
    }

    fn wait(&self) {
        assert_eq!(block_on(self.wait(&[queue()], EVER)), Wake::Hint);
    }

    fn bring(&self) {
        let queues = ["other", "q"].map(str::to_owned).into();
        self.committed(News { queues, events: true }, Tick::default());
    }
}

/// Who waits hears of news, however they are brought.
fn news_are_heard<D: Desk>(bring: fn(&D)) {
    explore(None, move || {
        let desk = Arc::new(D::default());
        let other = desk.clone();
        let waits = thread::spawn(move || other.wait());
        bring(&desk);
        waits.join().unwrap();
    });
}

/// News of jobs, and the end, on the board of Postgres and Redis.
pub fn news_are_heard_on_the_board() {
    news_are_heard(<Board as Desk>::bring);
    news_are_heard(Board::ready_anywhere);
    news_are_heard(Board::close);
}

/// News of jobs of this process and of another, and the end, at the hub of SQLite. The writer looks at what others do once somebody waits.
pub fn news_are_heard_at_the_hub() {
    news_are_heard(<Hub as Desk>::bring);
    news_are_heard(Hub::close);
    news_are_heard(|hub: &Hub| {
        block_on(hub.watched());
        assert!(hub.found(Tick { turn: 1, ..Tick::default() }));
    });
}

/// A worker finds every job: what comes during a claim is news after it, provided that the version is `read_before` the look.
fn no_job_is_overlooked<D: Desk>(read_before: bool) {
    explore(Some(BOUND), move || {
        let desk = Arc::new(D::default());
        let jobs = Arc::new(Mutex::new(0));
        let (other, stored) = (desk.clone(), jobs.clone());
        let producer = thread::spawn(move || {
            for _ in 0..2 {
                *lock(&stored) += 1;
                other.bring();
            }
        });
        let mut found = 0;
        while found < 2 {
            let mut version = desk.version();
            let taken = std::mem::take(&mut *lock(&jobs));
            if !read_before {
                version = desk.version();
            }
            found += taken;
            if taken == 0 {
                desk.seen("k", version);
                desk.wait();
            }
        }
        producer.join().unwrap();
    });
}

/// With the board of Postgres and Redis.
pub fn no_job_is_overlooked_with_the_board(read_before: bool) {
    no_job_is_overlooked::<Board>(read_before);
}

/// With the hub of SQLite.
pub fn no_job_is_overlooked_with_the_hub() {
    no_job_is_overlooked::<Hub>(true);
}

/// A worker of another kind, which claims from the same queue meanwhile, makes nobody overlook a job.
fn no_job_is_overlooked_beside_another_kind<D: Desk>(other: &'static str) {
    explore(Some(BOUND), move || {
        let desk = Arc::new(D::default());
        let jobs = Arc::new(Mutex::new(0));
        // News of a job of the other kind lead both to their look.
        desk.bring();
        let (brings, stored) = (desk.clone(), jobs.clone());
        let producer = thread::spawn(move || {
            *lock(&stored) += 1;
            brings.bring();
        });
        let beside = desk.clone();
        let neighbour = thread::spawn(move || beside.seen(other, beside.version()));
        loop {
            let version = desk.version();
            if std::mem::take(&mut *lock(&jobs)) > 0 {
                break;
            }
            desk.seen("k", version);
            desk.wait();
        }
        producer.join().unwrap();
        neighbour.join().unwrap();
    });
}

/// With the board of Postgres and Redis.
pub fn no_job_is_overlooked_beside_another_kind_with_the_board() {
    no_job_is_overlooked_beside_another_kind::<Board>("other");
}

/// With the hub of SQLite.
pub fn no_job_is_overlooked_beside_another_kind_with_the_hub() {
    no_job_is_overlooked_beside_another_kind::<Hub>("other");
}

/// Were what one claim has seen seen for all kinds, a job would be overlooked.
pub fn a_job_is_overlooked_when_claims_see_for_others() {
    no_job_is_overlooked_beside_another_kind::<Board>("k");
}

/// Who looks for growth of the feed hears of the first that watches it, and that one of the growth.
pub fn watchers_are_served() {
    explore(Some(BOUND), || {
        let board = Arc::new(Board::default());
        let (looks, watches) = (board.clone(), board.clone());
        let looker = thread::spawn(move || {
            block_on(looks.watched());
            looks.grown();
        });
        let watcher = thread::spawn(move || block_on(watches.watch(0, EVER)));
        looker.join().unwrap();
        watcher.join().unwrap();
        assert!(!board.is_watched());
    });
}

fn slots(limit: u32) -> Slots {
    // With nothing claimed ahead, no clock decides anything.
    Slots::new(&[(queue(), limit)], [(kind(), None, false)], Duration::ZERO)
}

/// All slots are free again.
fn check_free(slots: &Slots, limit: u32) {
    let demand = slots.demand(0);
    assert_eq!(demand.queues.iter().map(|queue| queue.limit).sum::<u32>(), limit);
    assert!(!demand.short);
}

/// A slot that is given back goes to who waits for it, also when somebody else gives up at that moment.
pub fn slots_are_passed_on() {
    explore(Some(BOUND), || {
        let slots = slots(1);
        let [first, second, mut third] = [0; 3].map(|_| slots.enter(&queue(), &kind()));
        assert!(first.is_granted() && !second.is_granted() && !third.is_granted());
        let ends = thread::spawn(move || drop(first));
        let gives_up = thread::spawn(move || drop(second));
        block_on(third.granted());
        drop(third);
        ends.join().unwrap();
        gives_up.join().unwrap();
        check_free(&slots, 1);
    });
}

/// Who waits for room hears of it.
pub fn room_is_heard_of() {
    explore(None, || {
        let slots = Arc::new(slots(1));
        let place = slots.enter(&queue(), &kind());
        let ends = thread::spawn(move || drop(place));
        while !slots.has_room(0) {
            block_on(slots.freed());
        }
        ends.join().unwrap();
        check_free(&slots, 1);
    });
}

/// Who waits for a slot gets one when there are more of them.
pub fn more_slots_are_heard_of() {
    explore(Some(BOUND), || {
        let slots = Arc::new(slots(1));
        let [first, mut second] = [0; 2].map(|_| slots.enter(&queue(), &kind()));
        let other = slots.clone();
        let resizes = thread::spawn(move || {
            let mut settings = QueueSettings::new(queue());
            settings.concurrency = Some(2);
            other.resize(&[settings]);
        });
        block_on(second.granted());
        drop((first, second));
        resizes.join().unwrap();
        check_free(&slots, 2);
    });
}

type Tens = Arc<Gather<u32, u32>>;

/// A server that takes its time.
async fn times_ten(step: Arc<Step>, items: Vec<u32>) -> Vec<u32> {
    step.pass();
    tokio::task::yield_now().await;
    items.into_iter().map(|item| item * 10).collect()
}

fn call(gather: &Tens, step: &Arc<Step>, item: u32) -> Option<u32> {
    let step = step.clone();
    block_on(gather.call(item, move |items| times_ten(step.clone(), items)))
}

/// Each caller gets the answer to its own item.
pub fn callers_are_answered(at_once: u32) {
    explore(Some(BOUND), move || {
        let gather: Tens = Arc::new(Gather::new(at_once, 1));
        let step = Arc::new(Step::default());
        let (other, steps) = (gather.clone(), step.clone());
        let second = thread::spawn(move || call(&other, &steps, 2));
        assert_eq!(call(&gather, &step, 1), Some(10));
        assert_eq!(second.join().unwrap(), Some(20));
    });
}

/// A caller who goes away after its first step leaves the other unharmed.
pub fn callers_may_go_away() {
    explore(Some(BOUND), || {
        let gather: Tens = Arc::new(Gather::new(1, 2));
        let step = Arc::new(Step::default());
        let (other, steps) = (gather.clone(), step.clone());
        let goes = thread::spawn(move || {
            let send = move |items| times_ten(steps.clone(), items);
            let mut calling = Box::pin(other.call(2, send));
            let _ = calling.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        });
        assert_eq!(call(&gather, &step, 1), Some(10));
        goes.join().unwrap();
        assert_eq!(call(&gather, &step, 3), Some(30), "nobody is counted who has gone");
    });
}

/// A claim that is sent again waits for the one that is under way, and no longer.
pub fn claims_wait_for_each_other() {
    explore(None, || {
        let (claims, id) = (Arc::new(UnderWay::default()), ClaimId::new());
        let jobs = Arc::new(Mutex::new(1));
        let (entry, first) = (Entry::new(claims.clone(), id), jobs.clone());
        let under_way = thread::spawn(move || {
            let _entry = entry;
            *lock(&first) -= 1;
        });
        block_on(claims.clear(id));
        assert_eq!(*lock(&jobs), 0, "what the first one took is found");
        under_way.join().unwrap();
    });
}

/// An attempt with the store that it runs in.
struct Attempt {
    course: Course,
    wake: Arc<Notify>,
    job: Mutex<Job>,
}

#[derive(Default)]
struct Job {
    completed: bool,
    notes: usize,
}

impl Attempt {
    /// With one note that waits.
    fn new() -> Arc<Self> {
        let wake = Arc::<Notify>::default();
        let course = Course::new(wake.clone(), 10);
        course.push(Note::Log { level: LogLevel::Info, message: String::new() });
        Arc::new(Self { course, wake, job: Mutex::default() })
    }

    /// What gathers notes does in one round, with a store that answers or doesn't. Answers whether there were any.
    fn flush(&self, answers: bool) -> bool {
        let Some((sending, notes)) = self.course.send() else { return false };
        if answers {
            let mut job = lock(&self.job);
            if !job.completed {
                job.notes += notes.len();
            }
            drop(job);
            sending.arrived();
        }
        true
    }

    fn commit(&self, notes: usize) {
        let mut job = lock(&self.job);
        job.notes += notes;
        job.completed = true;
    }
}

/// The host's transaction completes the job while notes are gathered: each is written once. To take them before that is told would be `early`.
pub fn the_host_writes_notes_once(early: bool) {
    explore(None, move || {
        let attempt = Attempt::new();
        let other = attempt.clone();
        let flush = thread::spawn(move || other.flush(true));
        let taken = early.then(|| attempt.course.begin_complete_in().notes());
        let completing = attempt.course.begin_complete_in();
        // In the worker, this wait is bounded.
        block_on(attempt.course.landed());
        attempt.commit(taken.unwrap_or_else(|| completing.notes()).len());
        completing.applied();
        flush.join().unwrap();
        attempt.flush(true);
        assert_eq!(lock(&attempt.job).notes, 1, "written once");
    });
}

/// However a record fails that is under way meanwhile, the host's transaction writes what was in it; and where that is rolled back, the settlement does.
pub fn the_host_loses_no_notes() {
    explore(None, || {
        let attempt = Attempt::new();
        let other = attempt.clone();
        let flush = thread::spawn(move || other.flush(false));
        let completing = attempt.course.begin_complete_in();
        assert_eq!(completing.notes().len(), 1);
        completing.applied();
        flush.join().unwrap();
        assert_eq!(attempt.course.take().len(), 1);
    });
}

/// Notes that were passed over for a completion which then fails are gathered after it.
pub fn notes_are_gathered_after_a_completion_that_fails() {
    explore(None, || {
        let attempt = Attempt::new();
        let other = attempt.clone();
        let gathers = thread::spawn(move || {
            loop {
                block_on(other.wake.notified());
                if other.flush(true) {
                    break;
                }
            }
        });
        drop(attempt.course.begin_complete_in());
        gathers.join().unwrap();
        assert_eq!(lock(&attempt.job).notes, 1);
    });
}

/// A job that the host's transaction has completed is not lost, whenever a heartbeat is told that it does not run any more.
pub fn a_job_that_the_host_completes_is_not_lost() {
    explore(None, || {
        let attempt = Attempt::new();
        let other = attempt.clone();
        let heartbeat = thread::spawn(move || {
            let runs = !lock(&other.job).completed;
            assert!(runs || other.course.lose_if_running().is_none(), "no loss");
        });
        let completing = attempt.course.begin_complete_in();
        attempt.commit(0);
        completing.applied();
        heartbeat.join().unwrap();
        assert!(attempt.course.begin_settling());
    });
}

const SECOND: Duration = Duration::from_secs(1);
/// Longer than the models' time goes on.
const PATIENCE: Duration = Duration::from_secs(1_000);

/// Who waits for a round gets it when it is asked for, though none was before; and when it is left undone, the other does.
pub fn a_round_that_is_asked_for_is_somebodys() {
    explore(Some(BOUND), || {
        let turns = Arc::new(Turns::default());
        let waiting = [0; 2].map(|_| {
            let turns = turns.clone();
            thread::spawn(move || drop(block_on(turns.take(PATIENCE))))
        });
        turns.by(Instant::now());
        waiting.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// The next round is somebody's once its time has come.
pub fn a_round_that_becomes_due_is_somebodys() {
    explore(Some(BOUND), || {
        let turns = Arc::new(Turns::default());
        turns.by(Instant::now());
        let turn = block_on(turns.take(PATIENCE));
        let other = turns.clone();
        let waits = thread::spawn(move || drop(block_on(other.take(PATIENCE))));
        turn.done(Instant::now() + SECOND);
        pass(SECOND);
        waits.join().unwrap();
    });
}

/// A round that is asked for while one is under way comes after it, and long before the one that would be next.
pub fn a_round_that_is_asked_for_in_mid_round_comes_after_it() {
    explore(Some(BOUND), || {
        let turns = Arc::new(Turns::default());
        turns.by(Instant::now());
        let turn = block_on(turns.take(PATIENCE));
        let (asks, waits) = (turns.clone(), turns.clone());
        let asks = thread::spawn(move || asks.by(Instant::now()));
        let waits = thread::spawn(move || drop(block_on(waits.take(PATIENCE))));
        turn.done(Instant::now() + PATIENCE);
        asks.join().unwrap();
        pass(SECOND);
        waits.join().unwrap();
    });
}
