//! What may honestly differ between two backends, and nothing else:
//!
//! - **Times.** Both backends go by the same clock of the machine, and one is asked a little later than the other: times that lie no further apart than
//!   the longest of these calls took count as the same (with [`MARGIN`]). No other tolerance is needed, however busy the machine is.
//! - **Positions** of events. They are opaque; only the order of one job's events counts, and none across jobs.
//! - **The order of settlements** of one call beside their follow-ups: what shows it is settled call by call.
//! - **The order of sets**: jobs rescued, workers, and the keys that a heartbeat names.
//! - **The row of a worker that has left**: it may stay until the next maintenance, which then counts it. Whether its id, or that of an expired
//!   worker that maintenance removed, could be registered once more is not asked: no worker does it.
//! - **Kind and queue in one job's history** after a replacement: those of then, or those of now. In the feed of all jobs they are those of then.
//! - **Notes of a removed job** in the feed: they may go with it or stay.
//! - **Texts** of errors that name the backend or one of several full queues, why a settlement is refused, and the words in which a rescue says why.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use windlass_core::{
    AttemptError, AttemptOutcome, Changed, Claimed, Error, Event, EventBody, FailureKind,
    Heartbeat, Inserted, JobId, JobRecord, Maintained, Page, Payload, Pruned, Recorded, Result,
    Settled, Settlement, Stats, WorkerRecord,
};

/// Whether it could be seen in which order settlements are applied: by who has a unique key, by who is available first, or as one job stands twice and so
/// has its second turn later.
pub(super) fn shows_order(all: &[Settlement]) -> bool {
    let mut follow_ups = all.iter().flat_map(|settlement| &settlement.follow_ups).peekable();
    if follow_ups.peek().is_none() {
        return false;
    }
    let returns = |settlement: &Settlement| match settlement.outcome {
        AttemptOutcome::Released => true,
        AttemptOutcome::Retry { delay, .. } | AttemptOutcome::Snoozed { delay } => {
            delay.is_zero() && settlement.follow_ups.is_empty()
        }
        _ => false,
    };
    let jobs: BTreeSet<_> = all.iter().map(|settlement| settlement.key.job).collect();
    follow_ups.any(|job| job.unique.is_some()) || all.iter().any(returns) || jobs.len() < all.len()
}

/// For clocks that are read a little early, such as once per turn of a server's loop, and rounded.
pub const MARGIN: Duration = Duration::from_millis(50);

/// How far the same time may lie apart on two backends, after calls of which the longest pair took so long. What is told as a span lies between two
/// such times.
#[must_use]
pub fn slack(longest: Duration) -> Duration {
    longest.saturating_mul(2).saturating_add(MARGIN)
}

/// Takes over from the other side what may differ.
pub trait Align {
    /// What is left of the difference is real.
    fn align(&mut self, to: &Self, slack: Duration);

    /// Counts what the answer says: a comparison of answers that never say anything proves nothing.
    fn tell(&self, _: &mut Seen) {}

    /// Adds the args and results in it, of which `Debug` tells no more than the size.
    fn contents<'a>(&'a self, _: &mut Vec<&'a Payload>) {}
}

/// How often each sort of answer came.
pub type Seen = BTreeMap<&'static str, u64>;

/// Counts one sort of answer, if it came.
pub(super) fn saw(seen: &mut Seen, what: &'static str, came: bool) {
    *seen.entry(what).or_default() += u64::from(came);
}

fn time(mine: &mut Timestamp, to: Timestamp, slack: Duration) {
    if mine.duration_since(to).unsigned_abs() <= slack {
        *mine = to;
    }
}

fn failure(mine: &mut AttemptError, to: &AttemptError, slack: Duration) {
    time(&mut mine.at, to.at, slack);
    let rescued = matches!(mine.kind, FailureKind::Crash | FailureKind::Timeout);
    if rescued && mine.kind == to.kind {
        mine.message.clone_from(&to.message);
    }
}

fn span(mine: &mut Option<Duration>, to: Option<Duration>, slack: Duration) {
    if let (Some(mine), Some(to)) = (mine, to)
        && mine.abs_diff(to) <= slack
    {
        *mine = to;
    }
}

impl<T: Align> Align for Vec<T> {
    fn align(&mut self, to: &Self, slack: Duration) {
        self.iter_mut().zip(to).for_each(|(mine, to)| mine.align(to, slack));
    }

    fn tell(&self, seen: &mut Seen) {
        self.iter().for_each(|item| item.tell(seen));
    }

    fn contents<'a>(&'a self, into: &mut Vec<&'a Payload>) {
        self.iter().for_each(|item| item.contents(into));
    }
}

impl<T: Align> Align for Option<T> {
    fn align(&mut self, to: &Self, slack: Duration) {
        if let (Some(mine), Some(to)) = (self, to) {
            mine.align(to, slack);
        }
    }

    fn contents<'a>(&'a self, into: &mut Vec<&'a Payload>) {
        self.iter().for_each(|item| item.contents(into));
    }
}

impl Align for Page<JobRecord> {
    fn align(&mut self, to: &Self, slack: Duration) {
        self.items.align(&to.items, slack);
    }

    fn tell(&self, seen: &mut Seen) {
        saw(seen, "a page with more after it", self.next.is_some());
    }

    fn contents<'a>(&'a self, into: &mut Vec<&'a Payload>) {
        self.items.contents(into);
    }
}

impl Align for Pruned {
    fn align(&mut self, _: &Self, _: Duration) {
        self.blobs.sort_unstable();
    }

    fn tell(&self, seen: &mut Seen) {
        saw(seen, "jobs pruned", self.jobs > 0);
        saw(seen, "blobs to delete", !self.blobs.is_empty());
    }
}

impl Align for Inserted {
    fn align(&mut self, _: &Self, _: Duration) {}

    fn tell(&self, seen: &mut Seen) {
        let what = match self {
            Self::New(_) => "inserted",
            Self::Duplicate { .. } => "a duplicate",
            Self::Replaced { .. } => "replaced",
            Self::Rejected { .. } => "rejected",
        };
        saw(seen, what, true);
    }
}

impl Align for Recorded {
    fn align(&mut self, _: &Self, _: Duration) {}

    fn tell(&self, seen: &mut Seen) {
        saw(seen, "recorded", *self == Self::Applied);
        saw(seen, "a stale record refused", *self == Self::Lost);
    }
}

impl Align for Changed {
    fn align(&mut self, _: &Self, _: Duration) {}

    fn tell(&self, seen: &mut Seen) {
        saw(seen, "changed", self.count > 0);
    }
}

impl Align for JobRecord {
    fn align(&mut self, to: &Self, slack: Duration) {
        time(&mut self.created_at, to.created_at, slack);
        time(&mut self.due_at, to.due_at, slack);
        for (mine, to) in
            [(&mut self.started_at, to.started_at), (&mut self.finished_at, to.finished_at)]
        {
            if let (Some(mine), Some(to)) = (mine, to) {
                time(mine, to, slack);
            }
        }
        for (mine, to) in self.errors.iter_mut().zip(&to.errors) {
            failure(mine, to, slack);
        }
    }

    fn contents<'a>(&'a self, into: &mut Vec<&'a Payload>) {
        into.push(&self.args);
        into.extend(&self.result);
    }
}

impl Align for Claimed {
    fn align(&mut self, to: &Self, slack: Duration) {
        for (mine, to) in self.leases.iter_mut().zip(&to.leases) {
            time(&mut mine.created_at, to.created_at, slack);
            time(&mut mine.due_at, to.due_at, slack);
        }
    }

    fn tell(&self, seen: &mut Seen) {
        saw(seen, "claimed", !self.leases.is_empty());
    }

    fn contents<'a>(&'a self, into: &mut Vec<&'a Payload>) {
        into.extend(self.leases.iter().map(|lease| &lease.args));
    }
}

impl Align for Maintained {
    fn align(&mut self, to: &Self, slack: Duration) {
        // Which job is rescued first is nobody's promise.
        if sorted(&self.rescued) == sorted(&to.rescued) {
            self.rescued.clone_from(&to.rescued);
        }
        span(&mut self.next_due, to.next_due, slack);
    }

    fn tell(&self, seen: &mut Seen) {
        saw(seen, "promoted", self.promoted > 0);
        saw(seen, "rescued", !self.rescued.is_empty());
    }
}

fn sorted<T: Ord + Clone>(items: &[T]) -> Vec<T> {
    let mut items = items.to_vec();
    items.sort_unstable();
    items
}

impl Align for Heartbeat {
    fn align(&mut self, _: &Self, _: Duration) {
        if let Self::Alive { lost, cancel, orphaned } = self {
            lost.sort_unstable();
            cancel.sort_unstable();
            orphaned.sort_unstable();
        }
    }

    fn tell(&self, seen: &mut Seen) {
        match self {
            Self::Alive { lost, cancel, orphaned } => {
                saw(seen, "a lost key", !lost.is_empty());
                saw(seen, "a cancelled key", !cancel.is_empty());
                saw(seen, "an orphaned key", !orphaned.is_empty());
            }
            _ => saw(seen, "an expired worker", true),
        }
    }
}

impl Align for WorkerRecord {
    fn align(&mut self, to: &Self, slack: Duration) {
        time(&mut self.started_at, to.started_at, slack);
        time(&mut self.expires_at, to.expires_at, slack);
    }
}

impl Align for Stats {
    fn align(&mut self, to: &Self, slack: Duration) {
        for (mine, to) in self.ages.iter_mut().zip(&to.ages) {
            span(&mut mine.oldest_available, to.oldest_available, slack);
            span(&mut mine.oldest_running, to.oldest_running, slack);
        }
    }
}

impl Align for Event {
    fn align(&mut self, to: &Self, slack: Duration) {
        self.position = to.position;
        time(&mut self.at, to.at, slack);
        if let (
            EventBody::State { error: Some(mine), .. },
            EventBody::State { error: Some(to), .. },
        ) = (&mut self.body, &to.body)
        {
            failure(mine, to, slack);
        }
    }
}

impl Align for Settled {
    fn align(&mut self, to: &Self, _: Duration) {
        if let (Self::Refused { reason: mine }, Self::Refused { reason: to }) = (self, to) {
            mine.clone_from(to);
        }
    }

    fn tell(&self, seen: &mut Seen) {
        let what = match self {
            Self::Applied { .. } => "settled",
            Self::Already { .. } => "settled before",
            Self::Lost => "a stale settlement refused",
            Self::Refused { .. } => "a settlement refused",
            _ => "another settlement",
        };
        saw(seen, what, true);
    }
}

/// Nothing in it may differ.
macro_rules! exact {
    ($($type:ty),*) => {$(
        impl Align for $type {
            fn align(&mut self, _: &Self, _: Duration) {}
        }
    )*};
}
exact!((), bool, windlass_core::WorkerLease, windlass_core::QueueSettings);

/// The events of each job in order.
pub fn by_job(events: Vec<Event>) -> Vec<Event> {
    let mut jobs: BTreeMap<JobId, Vec<Event>> = BTreeMap::new();
    for event in events {
        jobs.entry(event.job).or_default().push(event);
    }
    jobs.into_values().flatten().collect()
}

/// An error without what only its backend can say.
fn said(error: &Error) -> String {
    match error {
        Error::Unavailable { during, .. } => format!("unavailable during {during}"),
        Error::Backend { during, .. } => format!("failed during {during}"),
        Error::QueueFull { .. } => "a queue is full".to_owned(),
        other => other.to_string(),
    }
}

/// Counts what an answer says.
pub(super) fn tell<T: Align>(answer: &Result<T>, seen: &mut Seen) {
    match answer {
        Ok(answer) => answer.tell(seen),
        Err(Error::QueueFull { .. }) => saw(seen, "a full queue", true),
        Err(Error::WorkerExpired { .. }) => saw(seen, "a worker without a lease", true),
        Err(_) => saw(seen, "another error", true),
    }
}

/// An answer for a reader, with all that is in it.
fn shown<T: Align + std::fmt::Debug>(answer: &T) -> String {
    let mut contents = Vec::new();
    answer.contents(&mut contents);
    let contents = contents.into_iter().map(|payload| String::from_utf8_lossy(&payload.bytes));
    let contents: Vec<_> = contents.collect();
    let and = if contents.is_empty() { String::new() } else { format!("\nwith {contents:?}") };
    format!("{answer:#?}{and}")
}

/// Compares the answers of the memory backend and of the real one, whose times may lie so far apart.
///
/// # Errors
/// Both, when they differ.
pub fn same<T: Align + std::fmt::Debug + Clone + PartialEq>(
    what: &str,
    memory: &Result<T>,
    real: &Result<T>,
    slack: Duration,
) -> std::result::Result<(), String> {
    let (memory, real) = match (memory, real) {
        (Ok(memory), Ok(real)) => {
            let mut memory = memory.clone();
            let mut real = real.clone();
            real.align(&memory, slack);
            let as_it_was = memory.clone();
            memory.align(&as_it_was, slack);
            if memory == real {
                return Ok(());
            }
            (shown(&memory), shown(&real))
        }
        (Err(memory), Err(real)) if said(memory) == said(real) => return Ok(()),
        (Err(memory), Err(real)) => (said(memory), said(real)),
        (memory, real) => (format!("{memory:#?}"), format!("{real:#?}")),
    };
    Err(format!("{what}: the memory backend says\n{memory}\nand the real one\n{real}"))
}
