//! What can happen, as values that proptest makes and shrinks.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// A choice among what exists by then.
pub type Index = u8;

/// How long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// No time.
    Zero,
    /// Until the next [`Op::Pass`].
    Soon,
    /// Longer than any run.
    Far,
}

/// A unique rule.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Which key.
    pub key: u8,
    /// Until started or finished, or for a span.
    pub until: u8,
    /// Keep, replace or reject.
    pub on_conflict: u8,
}

/// A job to insert.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Which kind.
    pub kind: u8,
    /// Which queue.
    pub queue: u8,
    /// Which priority.
    pub priority: i16,
    /// After how long it is due.
    pub start: Span,
    /// How long an attempt may take.
    pub timeout: Option<Span>,
    /// Attempts.
    pub max_attempts: u32,
    /// Its unique rule.
    pub unique: Option<Rule>,
    /// It takes the id of an earlier job.
    pub same_id: Option<Index>,
    /// Which of two tags, of a fact beside its args, and of two blobs it has: a bit for each.
    pub marks: u8,
}

/// Some of the jobs: all conditions must hold.
#[derive(Debug, Clone, Copy)]
pub struct Filter {
    /// In which states: a bit for each, in the order of the codes; none is any.
    pub states: u8,
    /// In which queue.
    pub queue: Option<u8>,
    /// Of which kind.
    pub kind: Option<u8>,
    /// With which tag.
    pub tag: Option<u8>,
    /// With which unique key.
    pub key: Option<u8>,
}

/// What is wrong with a key.
#[derive(Debug, Clone, Copy)]
pub enum Twist {
    /// Nothing.
    None,
    /// Its epoch is one less.
    Earlier,
    /// Its epoch is one more.
    Later,
    /// Its claim id is another claim's.
    Foreign,
}

/// How an attempt ends.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// With a result and follow-up jobs.
    Completed(Vec<Spec>),
    /// With an error and another attempt after a while.
    Retry(Span),
    /// For good.
    Discarded,
    /// By its handler.
    Cancelled,
    /// Later.
    Snoozed(Span),
    /// Given back.
    Released,
    /// Follow-ups where none may be.
    RetryWithFollowUp(Spec),
}

/// One settlement: of which claimed key, what is wrong with the key, how it ended, whether it carries a note.
pub type Settle = (Index, Twist, Outcome, bool);

/// A call in a transaction of the host's.
#[derive(Debug, Clone)]
pub enum Step {
    /// Jobs, all or none.
    Insert(Vec<Spec>),
    /// An attempt ends.
    Settle(Settle),
}

/// How a transaction of the host's ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It is committed.
    Commit,
    /// It is rolled back.
    Rollback,
    /// It is rolled back, done once more and committed.
    CommitLater,
}

/// A user's change.
#[derive(Debug, Clone, Copy)]
pub enum Meddling {
    /// Ends it.
    Cancel,
    /// Runs it again.
    Retry,
    /// The same, unless it succeeded.
    RetryUnlessCompleted,
    /// At another time.
    Reschedule(Span),
    /// Removes it.
    Delete,
}

/// An operation.
#[derive(Debug, Clone)]
pub enum Op {
    /// A new worker.
    Register(Span),
    /// A new worker with a lease that ends with the next [`Op::Outlast`].
    RegisterBriefly,
    /// A worker registers once more under its id.
    RegisterAgain(Index),
    /// A worker tells what it owns: some of the keys that were ever claimed, and all of its own or not.
    Heartbeat(Index, Vec<Index>, bool),
    /// A worker leaves.
    Deregister(Index),
    /// Jobs, all or none.
    Insert(Vec<Spec>),
    /// A worker claims: limits per queue, kinds with limits, and the lane.
    Claim {
        /// Which worker.
        worker: Index,
        /// How many of each queue.
        queues: Vec<(u8, u32)>,
        /// Which kinds, and how many of each.
        kinds: Vec<(u8, Option<u32>)>,
        /// Only jobs that crashed their workers.
        quarantine: bool,
    },
    /// An earlier claim is sent again.
    ClaimAgain(Index),
    /// Attempts end.
    Settle(Vec<Settle>),
    /// The last settlements are sent again.
    SettleAgain,
    /// A row of the host's and some calls, in one transaction; where there is no such thing, the calls, if they are to be committed.
    Transact(Vec<Step>, End),
    /// A running job reports progress.
    Record(Index, Twist),
    /// A note of the host's.
    Append(Index),
    /// One job is changed.
    Change(Index, Meddling),
    /// All jobs of a queue are changed.
    ChangeQueue(u8, Meddling),
    /// Some jobs are changed.
    ChangeSome(Filter, Meddling),
    /// One job is read.
    Get(Index),
    /// Some jobs are read, so many to a page, newest first or not.
    List(Filter, usize, bool),
    /// What the feed holds from its end on.
    Tail,
    /// The history of one job is read, so many events to a page.
    History(Index, usize),
    /// A blob is announced.
    Stage(u8, Span),
    /// A blob was deleted.
    BlobDeleted(u8),
    /// A queue is paused or resumed, its concurrency and depth set.
    Configure {
        /// Which queue.
        queue: u8,
        /// Pause or resume.
        paused: Option<bool>,
        /// Set or remove the concurrency.
        concurrency: Option<Option<u32>>,
        /// Set or remove the depth.
        max_depth: Option<Option<u64>>,
    },
    /// Time moves on for jobs and workers.
    Maintain,
    /// Final jobs go: all, or those past a short span.
    Prune(Span),
    /// Time passes, as long as every [`Span::Soon`].
    Pass,
    /// Time passes until each lease has run out that was given by [`Op::RegisterBriefly`].
    Outlast,
}

fn span() -> impl Strategy<Value = Span> {
    prop_oneof![Just(Span::Zero), Just(Span::Soon), Just(Span::Far)]
}

fn rule() -> impl Strategy<Value = Rule> {
    (0..3u8, 0..4u8, 0..3u8).prop_map(|(key, until, on_conflict)| Rule { key, until, on_conflict })
}

fn spec() -> impl Strategy<Value = Spec> {
    let start = prop_oneof![4 => Just(Span::Zero), 1 => Just(Span::Soon), 1 => Just(Span::Far)];
    let what = (0..3u8, 0..2u8, prop_oneof![Just(0i16), -5..5i16]);
    let timeout = option::weighted(0.3, prop_oneof![Just(Span::Soon), Just(Span::Far)]);
    let same_id = option::weighted(0.05, any::<Index>());
    let marks = prop_oneof![2 => Just(0u8), 1 => 0..32u8];
    (what, start, timeout, 1..4u32, option::weighted(0.4, rule()), same_id, marks).prop_map(
        |((kind, queue, priority), start, timeout, max_attempts, unique, same_id, marks)| Spec {
            kind,
            queue,
            priority,
            start,
            timeout,
            max_attempts,
            unique,
            same_id,
            marks,
        },
    )
}

fn twist() -> impl Strategy<Value = Twist> {
    prop_oneof![
        8 => Just(Twist::None),
        1 => Just(Twist::Earlier),
        1 => Just(Twist::Later),
        1 => Just(Twist::Foreign),
    ]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        4 => vec(spec(), 0..3).prop_map(Outcome::Completed),
        3 => span().prop_map(Outcome::Retry),
        1 => Just(Outcome::Discarded),
        1 => Just(Outcome::Cancelled),
        2 => span().prop_map(Outcome::Snoozed),
        2 => Just(Outcome::Released),
        1 => spec().prop_map(Outcome::RetryWithFollowUp),
    ]
}

fn settle() -> impl Strategy<Value = Settle> {
    (any::<Index>(), twist(), outcome(), proptest::bool::weighted(0.2))
}

fn transact() -> impl Strategy<Value = Op> {
    let step = prop_oneof![
        3 => vec(spec(), 1..4).prop_map(Step::Insert),
        2 => settle().prop_map(Step::Settle),
    ];
    let end = prop_oneof![
        3 => Just(End::Commit),
        2 => Just(End::Rollback),
        1 => Just(End::CommitLater),
    ];
    (vec(step, 1..4), end).prop_map(|(steps, end)| Op::Transact(steps, end))
}

fn meddling() -> impl Strategy<Value = Meddling> {
    prop_oneof![
        3 => Just(Meddling::Cancel),
        3 => Just(Meddling::Retry),
        1 => Just(Meddling::RetryUnlessCompleted),
        2 => span().prop_map(Meddling::Reschedule),
        1 => Just(Meddling::Delete),
    ]
}

fn claim() -> impl Strategy<Value = Op> {
    let queues = vec((0..2u8, 0..4u32), 1..3);
    let limit = option::weighted(0.3, 0..3u32);
    let kinds = vec((0..3u8, limit), 1..4);
    (any::<Index>(), queues, kinds, proptest::bool::weighted(0.15)).prop_map(
        |(worker, queues, kinds, quarantine)| Op::Claim { worker, queues, kinds, quarantine },
    )
}

fn filter() -> impl Strategy<Value = Filter> {
    let some = |most: u8| option::weighted(0.3, 0..most);
    (prop_oneof![Just(0u8), any::<u8>()], some(2), some(3), some(2), some(3))
        .prop_map(|(states, queue, kind, tag, key)| Filter { states, queue, kind, tag, key })
}

fn configure() -> impl Strategy<Value = Op> {
    let limit = option::of(option::of(0..4u32));
    let depth = option::of(option::of(0..6u64));
    (0..2u8, option::of(any::<bool>()), limit, depth).prop_map(
        |(queue, paused, concurrency, max_depth)| Op::Configure {
            queue,
            paused,
            concurrency,
            max_depth,
        },
    )
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => prop_oneof![1 => Just(Span::Soon), 4 => Just(Span::Far)].prop_map(Op::Register),
        1 => any::<Index>().prop_map(Op::RegisterAgain),
        4 => (any::<Index>(), vec(any::<Index>(), 0..4), any::<bool>())
            .prop_map(|(worker, keys, own)| Op::Heartbeat(worker, keys, own)),
        1 => any::<Index>().prop_map(Op::Deregister),
        16 => vec(spec(), 1..4).prop_map(Op::Insert),
        16 => claim(),
        2 => any::<Index>().prop_map(Op::ClaimAgain),
        14 => vec(settle(), 1..4).prop_map(Op::Settle),
        2 => Just(Op::SettleAgain),
        5 => transact(),
        2 => (any::<Index>(), twist()).prop_map(|(key, twist)| Op::Record(key, twist)),
        1 => any::<Index>().prop_map(Op::Append),
        6 => (any::<Index>(), meddling()).prop_map(|(job, change)| Op::Change(job, change)),
        1 => (0..2u8, meddling()).prop_map(|(queue, change)| Op::ChangeQueue(queue, change)),
        1 => (filter(), meddling()).prop_map(|(some, change)| Op::ChangeSome(some, change)),
        2 => any::<Index>().prop_map(Op::Get),
        2 => (filter(), 1..5usize, any::<bool>()).prop_map(|(f, most, newest)| Op::List(f, most, newest)),
        1 => Just(Op::Tail),
        1 => (any::<Index>(), 1..5usize).prop_map(|(job, most)| Op::History(job, most)),
        1 => (0..3u8, span()).prop_map(|(blob, span)| Op::Stage(blob, span)),
        1 => (0..3u8).prop_map(Op::BlobDeleted),
        2 => configure(),
        6 => Just(Op::Maintain),
        2 => span().prop_map(Op::Prune),
        3 => Just(Op::Pass),
    ]
}

/// Sequences of operations. Most begin with a worker that stays: without one nothing is claimed.
pub fn ops() -> impl Strategy<Value = Vec<Op>> {
    (proptest::bool::weighted(0.8), vec(op(), 1..60)).prop_map(|(staffed, mut ops)| {
        if staffed {
            ops.insert(0, Op::Register(Span::Far));
        }
        ops
    })
}

/// Sequences in which a lease runs out while jobs are claimed under it. They take their time where that can't be moved.
pub fn leases() -> impl Strategy<Value = Vec<Op>> {
    let brief = Op::Claim {
        worker: 1,
        queues: vec![(0, 3), (1, 3)],
        kinds: vec![(0, None), (1, None), (2, None)],
        quarantine: false,
    };
    (vec(spec(), 2..5), vec(op(), 0..6), vec(op(), 4..24)).prop_map(move |(specs, held, late)| {
        let mut ops = vec![Op::Register(Span::Far), Op::RegisterBriefly, Op::Insert(specs)];
        ops.push(brief.clone());
        ops.extend(held);
        ops.push(Op::Outlast);
        ops.extend(late);
        // What nobody has looked at by then is rescued at last.
        ops.push(Op::Maintain);
        ops
    })
}
