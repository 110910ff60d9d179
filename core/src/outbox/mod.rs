//! Jobs for one backend, enqueued in a transaction of another: [`Outbox`].
//!
//! A service keeps its data in Postgres or SQLite and runs its jobs on a backend that can't join that transaction. It
//! writes the job as an [`OutboxEntry`] beside its data; a [`Relay`] moves entries over once they are committed:
//!
//! 1. it takes entries for a time ([`OutboxStore::take`]), so that several relays share the work;
//! 2. it inserts them into the target under the ids they were given at the enqueue: repeating that changes nothing;
//! 3. it removes them ([`OutboxStore::delivered`]).
//!
//! A relay may die at any point. Before step 2 nothing has happened, and between 2 and 3 the next relay inserts
//! ids that are there already. So each entry arrives at least once and is one job. (A job that replaces another would be stored under that one's id, and
//! not be known again: [`OnConflict::Replace`](crate::OnConflict::Replace) is refused.)
//!
//! **Limits.** An entry is removed once the target has answered, so it is as safe as that answer: a target that can lose what it answered (Redis without
//! `durability=always`, or with a failover and no `wait_replicas`) can lose a job that is in the outbox no more.
//!
//! An id is known for as long as the target keeps its job. A relay that was frozen between 1 and 2 for longer than the target's
//! [`Retention`](crate::Retention) could insert a job again that others have moved, run and pruned meanwhile. The
//! relay gives up an insert that it has not begun within half of its hold ([`RelayOptions::hold`]); keep finished jobs at least for
//! some minutes.

mod delivery;
pub(crate) mod parcel;
mod post;
mod relay;

pub use post::Outbox;
pub use relay::{Relay, RelayOptions, Relayed};

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

use crate::{JobId, Result, Transactional};

/// The name under which [`Queue::wait`](crate::Queue::wait) hears of new entries, as if they were jobs of a queue. No job is ever in it.
pub const OUTBOX_QUEUE: &str = "windlass.outbox";

/// A backend that keeps an outbox: jobs on their way to another backend.
///
/// The rules of [`Queue`](crate::Queue) on atomicity, clock and cancellation hold. Entries are opaque to the backend.
pub trait OutboxStore: Transactional {
    /// Writes entries on the host's connection. They are given to relays once the host commits, and a rollback
    /// leaves no trace. An id that is there already is passed over. After the commit, who waits for [`OUTBOX_QUEUE`] gets a hint.
    fn post_in(
        &self,
        conn: &mut Self::Conn,
        entries: &[OutboxEntry],
    ) -> impl Future<Output = Result<()>> + Send;

    /// Takes entries for the time of `hold`: of those that nobody holds the ones that became free first, by id where that is at the same time,
    /// at most `limit` and no more than about [`TAKE_BYTES`] (but at least one if there is one). Until the time is up, or they are put back, no other call gives them.
    fn take(
        &self,
        limit: u32,
        hold: Duration,
    ) -> impl Future<Output = Result<Vec<TakenEntry>>> + Send;

    /// Removes entries, whoever holds them. Unknown ids are no error.
    fn delivered(&self, ids: &[JobId]) -> impl Future<Output = Result<()>> + Send;

    /// Gives entries back before their time is up; unknown ids are passed over.
    fn put_back(&self, entries: &[PutBack]) -> impl Future<Output = Result<()>> + Send;

    /// Counts what is there.
    fn outbox_stats(&self) -> impl Future<Output = Result<OutboxStats>> + Send;

    /// Reads entries that the target refused, lowest id first, at most `limit`.
    fn refused(&self, limit: u32) -> impl Future<Output = Result<Vec<RefusedEntry>>> + Send;
}

/// About how many bytes of entries one [`OutboxStore::take`] gives.
pub const TAKE_BYTES: usize = 8 << 20;

/// A job on its way, as an [`OutboxStore`] keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxEntry {
    /// The id that the job will have.
    pub id: JobId,
    /// The job. Only relays read it.
    pub body: Bytes,
}

impl OutboxEntry {
    /// An entry.
    #[must_use]
    pub fn new(id: JobId, body: Bytes) -> Self {
        Self { id, body }
    }
}

/// An entry given to a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TakenEntry {
    /// The entry.
    pub entry: OutboxEntry,
    /// How long ago it was posted, by the database's clock.
    pub waited: Duration,
    /// How often the target refused it.
    pub refusals: u32,
}

impl TakenEntry {
    /// A taken entry.
    #[must_use]
    pub fn new(entry: OutboxEntry, waited: Duration, refusals: u32) -> Self {
        Self { entry, waited, refusals }
    }
}

/// An entry that a relay gives back.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PutBack {
    /// Which one.
    pub id: JobId,
    /// After which time it is given again.
    pub delay: Duration,
    /// Why the target refused it; `None` when it was only not the time (the target was away, its queue full).
    pub refusal: Option<String>,
}

impl PutBack {
    /// Gives an entry back after a delay.
    #[must_use]
    pub fn new(id: JobId, delay: Duration, refusal: Option<String>) -> Self {
        Self { id, delay, refusal }
    }
}

/// What an outbox holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxStats {
    /// Entries that were not delivered yet, refused ones too.
    pub entries: u64,
    /// Of these, those that the target has refused at least once: somebody should look at them.
    pub refused: u64,
    /// For how long the oldest entry has waited.
    pub oldest: Option<Duration>,
}

impl OutboxStats {
    /// Figures.
    #[must_use]
    pub fn new(entries: u64, refused: u64, oldest: Option<Duration>) -> Self {
        Self { entries, refused, oldest }
    }
}

/// An entry that the target has refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefusedEntry {
    /// The id that the job would have.
    pub id: JobId,
    /// How often.
    pub refusals: u32,
    /// Why, the last time.
    pub error: String,
    /// How long ago it was posted.
    pub waited: Duration,
}

impl RefusedEntry {
    /// A refused entry.
    #[must_use]
    pub fn new(id: JobId, refusals: u32, error: String, waited: Duration) -> Self {
        Self { id, refusals, error, waited }
    }
}
