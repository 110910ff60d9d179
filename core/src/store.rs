//! What is true about jobs: the trait [`Store`] and its values.

use std::fmt::{self, Debug};
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{
    BlobKey, Error, EventFilter, EventPage, Inserted, JobId, JobRecord, Kind, NewJob, Note,
    Position, QueueName, Result, Retention, Start, State, Tag, UniqueKey, WorkerId,
};

/// Everything about jobs that needs no lease: insertion and uniqueness, reading, administration, history, pruning.
///
/// The same rules on atomicity, clock and cancellation hold as for [`Queue`](crate::Queue).
#[async_trait]
pub trait Store: Debug + Send + Sync + 'static {
    /// Inserts jobs: all or none. Each is claimable in the same step in which its record appears.
    /// The answers stand in the order of the jobs. An id that exists already gives
    /// [`Inserted::Duplicate`] of itself and changes nothing, so the call may be repeated after a lost reply.
    /// Only a job that was stored is known again: a repeat of one that met a held key is decided anew, by who holds the key then
    /// (see [`OnConflict::Replace`](crate::OnConflict::Replace) for what that may mean).
    /// A unique key that is held, by a stored job or an earlier one of the call, is a value and
    /// never an error; a key whose holder is gone (but for a window, which outlives its job) or past its window is free. A holder that is lost is rescued
    /// first (see [`OnConflict`](crate::OnConflict)): one that is to run again holds its key still. Jobs that are known by their id want no key.
    ///
    /// A queue is full for a call that would leave more jobs waiting in it than its maximum depth and than before the call: one that
    /// only replaces jobs goes through, be the queue above its maximum already. A lost holder that the call puts back counts as waiting before.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`], [`Error::Invalid`] or [`Error::QueueFull`]; nothing was written.
    async fn insert(&self, jobs: &[NewJob]) -> Result<Vec<Inserted>>;

    /// Reads one job, waiting, running or final.
    ///
    /// # Errors
    /// [`Error::Decode`] naming the job and the column or field when its record can't be read.
    async fn get(&self, id: JobId) -> Result<Option<JobRecord>>;

    /// Reads a page of jobs in the order of their ids, which are UUIDv7 and so follow the time at which clients made them.
    ///
    /// A job whose record can't be read is left out (and logged), so a page may hold fewer jobs than there are:
    /// [`get`](Self::get) says what is wrong with it. Only `next` tells the end.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`] when `limit` is above [`Limits::batch`](crate::Limits::batch); [`Error::Invalid`] when it is 0.
    async fn list(&self, query: &JobQuery) -> Result<Page<JobRecord>>;

    /// Applies a change to jobs, as [`machine::changed`](crate::machine::changed) says; jobs it does not apply to stay
    /// untouched and are not counted. A call looks at no more than [`Limits::batch`](crate::Limits::batch) jobs, in one atomic
    /// step; `next` tells where to go on, with the same request.
    ///
    /// - `Cancel`: waiting jobs become `cancelled`; running ones get a durable request that their worker's next
    ///   heartbeat brings, and that turns every outcome but success into `cancelled`. It is a hint for
    ///   [`Queue::wait`](crate::Queue::wait) on the job's queue, so that the heartbeat need not be waited for.
    /// - `Retry`: waiting jobs are due at once; final ones are available again with at least one more attempt,
    ///   unless their unique key is held by another job by now, also where their own window has passed. The result is gone, the errors stay.
    ///   A holder that is lost is rescued first: it may be given up by that. A job that a call rescues is not changed by it.
    /// - `Reschedule`: waiting jobs get a new time.
    /// - `Delete`: jobs that don't run are removed with their history; their blobs go as in [`prune`](Self::prune).
    async fn change(&self, request: &ChangeRequest) -> Result<Changed>;

    /// Reads the history of one job: its state changes, progress, log lines and host events in the order of their
    /// positions, after `after`. Kept as long as the job. An unknown job has none. Where a replacement changed the job's kind or queue,
    /// earlier events may name those of then or those of now; in [`events`](Self::events) they name those of then.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`] when `limit` is above [`Limits::batch`](crate::Limits::batch); [`Error::Invalid`] when it is 0.
    async fn history(&self, id: JobId, after: Option<Position>, limit: usize) -> Result<EventPage>;

    /// Reads the feed of all jobs' events after a position (`None`: from the oldest kept). A call looks at a bounded
    /// stretch, so a page may be empty while `next` moves on. An event that a later call could still put before `next`
    /// is not passed over: readers that go on from `next` miss nothing.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`] when `limit` is above [`Limits::batch`](crate::Limits::batch); [`Error::Invalid`] when it is 0.
    async fn events(
        &self,
        filter: &EventFilter,
        after: Option<Position>,
        limit: usize,
    ) -> Result<EventPage>;

    /// The position after which the next event will stand: where to start for only what is new. `None` in an empty feed.
    async fn tail(&self) -> Result<Option<Position>>;

    /// Waits until there may be events after a position, at most `timeout`. A hint like [`Queue::wait`](crate::Queue::wait).
    async fn watch(&self, after: Option<Position>, timeout: Duration) -> Result<()>;

    /// Adds events of the host's to a job's history; also to final jobs. Progress can't be added here.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown job, [`Error::LimitExceeded`] above a limit, [`Error::Invalid`] for progress.
    async fn append(&self, id: JobId, notes: &[Note]) -> Result<()>;

    /// Counts jobs and ages.
    async fn stats(&self, query: &StatsQuery) -> Result<Stats>;

    /// Reads the settings of queues; of all queues that have settings when `names` is empty. A queue without
    /// settings has the defaults.
    async fn queue_settings(&self, names: &[QueueName]) -> Result<Vec<QueueSettings>>;

    /// Changes the settings of a queue. A pause holds for every claim that starts after this call returned.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what [`QueueChange::check`] refuses; nothing was changed.
    async fn configure_queue(
        &self,
        name: &QueueName,
        change: &QueueChange,
    ) -> Result<QueueSettings>;

    /// Reads the workers that have a lease, expired ones too until they are removed.
    async fn workers(&self) -> Result<Vec<WorkerRecord>>;

    /// Announces blobs about to be written: each is to be deleted after `ttl` unless by then a job refers to it.
    /// Called before a blob is put, so that an upload whose job never comes leaves nothing behind. Of one that is announced twice
    /// the later time counts.
    async fn stage_blobs(&self, keys: &[BlobKey], ttl: Duration) -> Result<()>;

    /// Removes at most `limit` final jobs that are past their retention, oldest finish first, with their
    /// history, and as many entries of the event feed. Removes nothing else. Log lines, host events and progress of a removed job may
    /// leave the feed with it, or stay as long as the feed.
    ///
    /// The answer names blobs that no job refers to any more and staged ones whose time is up, until
    /// [`blobs_deleted`](Self::blobs_deleted) confirms them: a crash between the two leaks nothing.
    async fn prune(&self, retention: &Retention, limit: u32) -> Result<Pruned>;

    /// Confirms that blobs named by [`prune`](Self::prune) are gone from the storage. One that was announced or referred to since it
    /// was named stays in the account, also if that is over again: it may have been written anew. So does one that was never named.
    async fn blobs_deleted(&self, keys: &[BlobKey]) -> Result<()>;
}

/// Which jobs. Empty lists mean any; all conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobFilter {
    /// In one of these states.
    pub states: Vec<State>,
    /// In one of these queues.
    pub queues: Vec<QueueName>,
    /// Of one of these kinds.
    pub kinds: Vec<Kind>,
    /// With every one of these tags.
    pub tags: Vec<Tag>,
    /// Inserted with this unique key.
    pub unique_key: Option<UniqueKey>,
}

impl JobFilter {
    /// Whether a job passes.
    #[must_use]
    pub fn matches(&self, job: &JobRecord) -> bool {
        fn any<T: PartialEq>(list: &[T], item: &T) -> bool {
            list.is_empty() || list.contains(item)
        }
        any(&self.states, &job.state)
            && any(&self.queues, &job.queue)
            && any(&self.kinds, &job.kind)
            && self.tags.iter().all(|tag| job.tags.contains(tag))
            && (self.unique_key.is_none() || self.unique_key == job.unique_key)
    }

    /// Only jobs in these states.
    #[must_use]
    pub fn states(mut self, states: impl IntoIterator<Item = State>) -> Self {
        self.states = states.into_iter().collect();
        self
    }

    /// Only jobs in this queue; a further call adds one.
    #[must_use]
    pub fn queue(mut self, queue: QueueName) -> Self {
        self.queues.push(queue);
        self
    }

    /// Only jobs of this kind; a further call adds one.
    #[must_use]
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kinds.push(kind);
        self
    }

    /// The same, of the kind of `J`.
    ///
    /// # Errors
    /// A [`Job::KIND`](crate::Job::KIND) that can't be a kind.
    pub fn kind_of<J: crate::Job>(self) -> Result<Self> {
        Ok(self.kind(Kind::new(J::KIND)?))
    }

    /// Only jobs with this tag; a further call narrows to jobs with both.
    #[must_use]
    pub fn tag(mut self, tag: Tag) -> Self {
        self.tags.push(tag);
        self
    }

    /// Only jobs inserted with this unique key.
    #[must_use]
    pub fn unique_key(mut self, key: UniqueKey) -> Self {
        self.unique_key = Some(key);
        self
    }
}

/// A place in a listing, to go on from. Its text is opaque and safe to hand out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor(pub JobId);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.as_uuid().simple())
    }
}

impl FromStr for Cursor {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        text.parse()
            .map(Self)
            .map_err(|_| Error::invalid("cursor", "expected what an earlier page gave as `next`"))
    }
}

/// The order of a listing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// Highest id first.
    #[default]
    NewestFirst,
    /// Lowest id first.
    OldestFirst,
}

/// A listing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobQuery {
    /// Which jobs.
    pub filter: JobFilter,
    /// In which order.
    pub order: Order,
    /// After which one.
    pub after: Option<Cursor>,
    /// How many at most.
    pub limit: usize,
}

impl Default for JobQuery {
    fn default() -> Self {
        Self { filter: JobFilter::default(), order: Order::default(), after: None, limit: 100 }
    }
}

impl JobQuery {
    /// Lowest id first.
    #[must_use]
    pub fn oldest_first(mut self) -> Self {
        self.order = Order::OldestFirst;
        self
    }

    /// Going on where an earlier page ended.
    #[must_use]
    pub fn after(mut self, cursor: Option<Cursor>) -> Self {
        self.after = cursor;
        self
    }

    /// At most so many per page.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }
}

impl From<JobFilter> for JobQuery {
    fn from(filter: JobFilter) -> Self {
        Self { filter, ..Self::default() }
    }
}

/// A page of a listing.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page starts; `None` at the end.
    pub next: Option<Cursor>,
}

/// Which jobs to change.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Selector {
    /// These; at most [`Limits::batch`](crate::Limits::batch). Unknown ids are passed over.
    Ids(Vec<JobId>),
    /// Those that pass, oldest first.
    Filter(JobFilter),
}

/// What to change.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// End the job, or ask its worker to.
    Cancel {
        /// Why, for the history.
        reason: Option<String>,
    },
    /// Run it again, or at once.
    Retry,
    /// The same, but a completed job stays as it is, with its result.
    RetryUnlessCompleted,
    /// Run it at another time.
    Reschedule {
        /// When.
        start: Start,
    },
    /// Remove it.
    Delete,
}

/// A change to jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChangeRequest {
    /// Which jobs.
    pub target: Selector,
    /// What to do with them.
    pub change: Change,
    /// Go on after here; what the call before gave as `next`.
    pub after: Option<Cursor>,
}

impl ChangeRequest {
    /// A change from the first job on.
    #[must_use]
    pub fn new(target: Selector, change: Change) -> Self {
        Self { target, change, after: None }
    }
}

/// What a change did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changed {
    /// Jobs that were changed.
    pub count: u64,
    /// Where to go on; `None` when every job was looked at.
    pub next: Option<Cursor>,
}

/// Which figures to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatsQuery {
    /// Of these queues; of all when empty.
    pub queues: Vec<QueueName>,
}

/// One count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// The queue.
    pub queue: QueueName,
    /// The kind.
    pub kind: Kind,
    /// The state.
    pub state: State,
    /// How many jobs are kept in it.
    pub jobs: u64,
}

/// Ages in one queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueAge {
    /// The queue.
    pub queue: QueueName,
    /// For how long the oldest available job has been due. Of those of one lane, kind and priority, which are claimed in turn, the
    /// next one counts.
    pub oldest_available: Option<Duration>,
    /// For how long the oldest running job has run.
    pub oldest_running: Option<Duration>,
}

/// Figures of one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Jobs per queue, kind and state; combinations without jobs are left out. Sorted by queue, kind, state.
    pub counts: Vec<Count>,
    /// Ages per queue with available or running jobs. Sorted by queue.
    pub ages: Vec<QueueAge>,
}

impl Stats {
    /// Jobs in a state, over all queues and kinds.
    #[must_use]
    pub fn in_state(&self, state: State) -> u64 {
        self.counts.iter().filter(|c| c.state == state).map(|c| c.jobs).sum()
    }
}

/// The settings of a queue, the same for every process.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueSettings {
    /// The queue.
    pub name: QueueName,
    /// Nothing is claimed from it. Jobs that run go on.
    pub paused: bool,
    /// How many of its jobs each worker runs at once; `None` for what the worker was built with.
    pub concurrency: Option<u32>,
    /// Above this many jobs that wait (blocked, scheduled, available or retryable) an insert is refused; `None` for no
    /// maximum. Follow-ups of a completion are taken all the same.
    pub max_depth: Option<u64>,
}

impl QueueSettings {
    /// The settings of a queue that has none.
    #[must_use]
    pub fn new(name: QueueName) -> Self {
        Self { name, paused: false, concurrency: None, max_depth: None }
    }
}

/// A change of settings; `None` leaves one as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueChange {
    /// Pause or resume.
    pub paused: Option<bool>,
    /// Set (`Some(Some(n))`) or remove (`Some(None)`) the concurrency per worker.
    pub concurrency: Option<Option<u32>>,
    /// Set or remove the maximum depth.
    pub max_depth: Option<Option<u64>>,
}

impl QueueChange {
    /// Highest maximum depth: what every database can hold. Above it there is no maximum at all, which is `None`.
    pub const MAX_DEPTH: u64 = i64::MAX as u64;

    /// Checks the values; every [`Store::configure_queue`] does so first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a concurrency of 0, or a maximum depth above [`MAX_DEPTH`](Self::MAX_DEPTH).
    pub fn check(&self) -> Result<()> {
        if self.concurrency == Some(Some(0)) {
            return Err(Error::invalid("concurrency", "0 given; pause the queue instead"));
        }
        if self.max_depth.flatten().is_some_and(|depth| depth > Self::MAX_DEPTH) {
            let why = format!("above {}; give `None` for no maximum", Self::MAX_DEPTH);
            return Err(Error::invalid("maximum depth", why));
        }
        Ok(())
    }

    /// Pauses or resumes.
    #[must_use]
    pub fn paused(mut self, paused: bool) -> Self {
        self.paused = Some(paused);
        self
    }

    /// Sets or removes the concurrency per worker.
    #[must_use]
    pub fn concurrency(mut self, concurrency: Option<u32>) -> Self {
        self.concurrency = Some(concurrency);
        self
    }

    /// Sets or removes the maximum depth.
    #[must_use]
    pub fn max_depth(mut self, max_depth: Option<u64>) -> Self {
        self.max_depth = Some(max_depth);
        self
    }

    /// The settings after this change.
    #[must_use]
    pub fn apply(&self, mut to: QueueSettings) -> QueueSettings {
        to.paused = self.paused.unwrap_or(to.paused);
        to.concurrency = self.concurrency.unwrap_or(to.concurrency);
        to.max_depth = self.max_depth.unwrap_or(to.max_depth);
        to
    }
}

/// A worker as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerRecord {
    /// Its id.
    pub id: WorkerId,
    /// Its name for people.
    pub name: String,
    /// The queues it claims from.
    pub queues: Vec<QueueName>,
    /// When it registered.
    pub started_at: Timestamp,
    /// When its lease runs out.
    pub expires_at: Timestamp,
    /// How many jobs run under it.
    pub running: u64,
}

impl WorkerRecord {
    /// A record.
    #[must_use]
    pub fn new(
        id: WorkerId,
        name: String,
        queues: Vec<QueueName>,
        started_at: Timestamp,
        expires_at: Timestamp,
        running: u64,
    ) -> Self {
        Self { id, name, queues, started_at, expires_at, running }
    }
}

/// What pruning did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pruned {
    /// Jobs removed.
    pub jobs: u64,
    /// Entries of the event feed removed.
    pub events: u64,
    /// Blobs to delete, at most [`Limits::batch`](crate::Limits::batch); named again until confirmed.
    pub blobs: Vec<BlobKey>,
    /// There was more than the limit: call again.
    pub more: bool,
}
