//! What may honestly differ between two backends, and nothing else:
//!
//! - **Times.** Each backend has its own clock and is asked a little later than the other: times within [`SLACK`] count as the
//!   same, and so do spans up to then.
//! - **Positions** of events. They are opaque; only the order of one job's events counts, and none across jobs.
//! - **The order of sets**: jobs rescued, workers, and the keys that a heartbeat names.
//! - **The row of a worker that has left**: it may stay until the next maintenance, which then counts it. Whether its id, or that of an expired
//!   worker that maintenance removed, could be registered once more is not asked: no worker does it.
//! - **A unique key whose holder's worker has left**: whether it is free before the holder is rescued. Maintenance comes first, so
//!   that nobody is asked.
//! - **Kind and queue in one job's history** after a replacement: those of then, or those of now. In the feed of all jobs they are those of then.
//! - **Notes of a removed job** in the feed: they may go with it or stay.
//! - **Texts** of errors that name the backend or one of several full queues, why a settlement is refused, and the words in which a rescue says why.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use windlass_core::{
    AttemptError, Changed, Claimed, Error, Event, EventBody, FailureKind, Heartbeat, Inserted,
    JobId, JobRecord, Maintained, Page, Pruned, Recorded, Result, Settled, Stats, WorkerRecord,
};

/// Far above the time between the same call on two backends, on a busy machine as well, and far below every span that is long.
pub const SLACK: Duration = Duration::from_secs(25);

/// Takes over from the other side what may differ.
pub trait Align {
    /// What is left of the difference is real.
    fn align(&mut self, to: &Self);

    /// Counts what the answer says: a comparison of answers that never say anything proves nothing.
    fn tell(&self, _: &mut Seen) {}
}

/// How often each sort of answer came.
pub type Seen = BTreeMap<&'static str, u64>;

/// Counts one sort of answer, if it came.
fn saw(seen: &mut Seen, what: &'static str, came: bool) {
    *seen.entry(what).or_default() += u64::from(came);
}

fn time(mine: &mut Timestamp, to: Timestamp) {
    if mine.duration_since(to).unsigned_abs() <= SLACK {
        *mine = to;
    }
}

fn failure(mine: &mut AttemptError, to: &AttemptError) {
    time(&mut mine.at, to.at);
    let rescued = matches!(mine.kind, FailureKind::Crash | FailureKind::Timeout);
    if rescued && mine.kind == to.kind {
        mine.message.clone_from(&to.message);
    }
}

fn span(mine: &mut Option<Duration>, to: Option<Duration>) {
    if let (Some(mine), Some(to)) = (mine, to)
        && mine.abs_diff(to) <= SLACK
    {
        *mine = to;
    }
}

fn pairs<T: Align>(mine: &mut [T], to: &[T]) {
    for (mine, to) in mine.iter_mut().zip(to) {
        mine.align(to);
    }
}

impl<T: Align> Align for Vec<T> {
    fn align(&mut self, to: &Self) {
        pairs(self, to);
    }

    fn tell(&self, seen: &mut Seen) {
        self.iter().for_each(|item| item.tell(seen));
    }
}

impl<T: Align> Align for Option<T> {
    fn align(&mut self, to: &Self) {
        if let (Some(mine), Some(to)) = (self, to) {
            mine.align(to);
        }
    }
}

impl Align for Page<JobRecord> {
    fn align(&mut self, to: &Self) {
        self.items.align(&to.items);
    }

    fn tell(&self, seen: &mut Seen) {
        saw(seen, "a page with more after it", self.next.is_some());
    }
}

impl Align for Pruned {
    fn align(&mut self, _: &Self) {
        self.blobs.sort_unstable();
    }

    fn tell(&self, seen: &mut Seen) {
        saw(seen, "jobs pruned", self.jobs > 0);
        saw(seen, "blobs to delete", !self.blobs.is_empty());
    }
}

impl Align for Inserted {
    fn align(&mut self, _: &Self) {}

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
    fn align(&mut self, _: &Self) {}

    fn tell(&self, seen: &mut Seen) {
        saw(seen, "recorded", *self == Self::Applied);
        saw(seen, "a stale record refused", *self == Self::Lost);
    }
}

impl Align for Changed {
    fn align(&mut self, _: &Self) {}

    fn tell(&self, seen: &mut Seen) {
        saw(seen, "changed", self.count > 0);
    }
}

impl Align for JobRecord {
    fn align(&mut self, to: &Self) {
        time(&mut self.created_at, to.created_at);
        time(&mut self.due_at, to.due_at);
        for (mine, to) in
            [(&mut self.started_at, to.started_at), (&mut self.finished_at, to.finished_at)]
        {
            if let (Some(mine), Some(to)) = (mine, to) {
                time(mine, to);
            }
        }
        for (mine, to) in self.errors.iter_mut().zip(&to.errors) {
            failure(mine, to);
        }
    }
}

impl Align for Claimed {
    fn align(&mut self, to: &Self) {
        for (mine, to) in self.leases.iter_mut().zip(&to.leases) {
            time(&mut mine.created_at, to.created_at);
            time(&mut mine.due_at, to.due_at);
        }
    }

    fn tell(&self, seen: &mut Seen) {
        saw(seen, "claimed", !self.leases.is_empty());
    }
}

impl Align for Maintained {
    fn align(&mut self, to: &Self) {
        // Which job is rescued first is nobody's promise.
        if sorted(&self.rescued) == sorted(&to.rescued) {
            self.rescued.clone_from(&to.rescued);
        }
        span(&mut self.next_due, to.next_due);
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
    fn align(&mut self, _: &Self) {
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
    fn align(&mut self, to: &Self) {
        time(&mut self.started_at, to.started_at);
        time(&mut self.expires_at, to.expires_at);
    }
}

impl Align for Stats {
    fn align(&mut self, to: &Self) {
        for (mine, to) in self.ages.iter_mut().zip(&to.ages) {
            span(&mut mine.oldest_available, to.oldest_available);
            span(&mut mine.oldest_running, to.oldest_running);
        }
    }
}

impl Align for Event {
    fn align(&mut self, to: &Self) {
        self.position = to.position;
        time(&mut self.at, to.at);
        if let (
            EventBody::State { error: Some(mine), .. },
            EventBody::State { error: Some(to), .. },
        ) = (&mut self.body, &to.body)
        {
            failure(mine, to);
        }
    }
}

impl Align for Settled {
    fn align(&mut self, to: &Self) {
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
            fn align(&mut self, _: &Self) {}
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

/// Compares the answers of the memory backend and of the real one.
///
/// # Errors
/// Both, when they differ.
pub fn same<T: Align + std::fmt::Debug + Clone>(
    what: &str,
    memory: &Result<T>,
    real: &Result<T>,
) -> std::result::Result<(), String> {
    let (memory, real) = match (memory, real) {
        (Ok(memory), Ok(real)) => {
            let mut memory = memory.clone();
            let mut real = real.clone();
            real.align(&memory);
            let as_it_was = memory.clone();
            memory.align(&as_it_was);
            (format!("{memory:#?}"), format!("{real:#?}"))
        }
        (Err(memory), Err(real)) => (said(memory), said(real)),
        (memory, real) => (format!("{memory:#?}"), format!("{real:#?}")),
    };
    if memory == real {
        return Ok(());
    }
    Err(format!("{what}: the memory backend says\n{memory}\nand the real one\n{real}"))
}
