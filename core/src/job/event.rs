//! The history of jobs: an ordered, durable list of events with positions.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{AttemptError, EventName, JobId, Kind, QueueName, State, WorkerId};
use crate::{Error, Result};

/// A place in the event feed. Positions are totally ordered; of two events of one job the later has
/// the higher one. Backends write one entry for a whole batch of changes, hence the two parts:
/// the entry's sequence number and the job within it (a job stands at most once in an entry).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The entry.
    pub seq: u128,
    /// The job within the entry.
    pub job: JobId,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{}", self.seq, self.job.as_uuid().simple())
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Position({self})")
    }
}

impl FromStr for Position {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let bad = || Error::invalid("position", "expected what an event's position printed");
        let (seq, job) = text.split_once('.').ok_or_else(bad)?;
        Ok(Self {
            seq: u128::from_str_radix(seq, 16).map_err(|_| bad())?,
            job: job.parse().map_err(|_| bad())?,
        })
    }
}

impl Serialize for Position {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// How far a job has come, as its handler reports it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Units done.
    pub done: u64,
    /// Units in all, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// What is being done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The level of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

/// Something a handler or the host adds to a job's history.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Note {
    /// Progress; it also becomes [`JobRecord::progress`](crate::JobRecord::progress).
    Progress(Progress),
    /// A line of the job's own log.
    Log {
        /// Its level.
        level: LogLevel,
        /// Its text.
        message: String,
    },
    /// An event of the host application's own.
    Host {
        /// Its name.
        name: EventName,
        /// Its data, as JSON.
        data: Box<RawValue>,
    },
}

impl Note {
    /// Its size for [`Limits::event_bytes`](crate::Limits::event_bytes).
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Progress(p) => p.message.as_ref().map_or(0, String::len),
            Self::Log { message, .. } => message.len(),
            Self::Host { data, .. } => data.get().len(),
        }
    }
}

impl PartialEq for Note {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Progress(a), Self::Progress(b)) => a == b,
            (Self::Log { level: a, message: x }, Self::Log { level: b, message: y }) => {
                (a, x) == (b, y)
            }
            (Self::Host { name: a, data: x }, Self::Host { name: b, data: y }) => {
                (a, x.get()) == (b, y.get())
            }
            _ => false,
        }
    }
}

/// What changed a job's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cause {
    /// The insert.
    Inserted,
    /// A later insert with the same unique key replaced its contents.
    Replaced,
    /// Its time came.
    Promoted,
    /// A worker took it.
    Claimed,
    /// Its owner settled it.
    Settled,
    /// Its owner was lost or hung.
    Rescued,
    /// A user changed it ([`Store::change`](crate::Store::change)).
    Changed,
}

/// What an event says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventBody {
    /// The job's state changed, or was set anew.
    State {
        /// The state before; none at the insert.
        from: Option<State>,
        /// The state after.
        to: State,
        /// The attempt counter after.
        attempt: u32,
        /// What did it.
        cause: Cause,
        /// The worker that claimed or settled it, or was lost.
        worker: Option<WorkerId>,
        /// The failure, when one led here.
        error: Option<AttemptError>,
    },
    /// A user asked to cancel the running job.
    CancelRequested {
        /// The reason given.
        reason: Option<String>,
    },
    /// Something its handler or the host added.
    Note(Note),
    /// The job was deleted by a user.
    Deleted,
}

/// One event of one job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its place in the feed.
    pub position: Position,
    /// When, by the database's clock.
    pub at: Timestamp,
    /// The job.
    pub job: JobId,
    /// The job's kind.
    pub kind: Kind,
    /// The job's queue.
    pub queue: QueueName,
    /// What it says.
    pub body: EventBody,
}

/// Which events to read. Empty lists mean any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventFilter {
    /// Of these jobs.
    pub jobs: Vec<JobId>,
    /// Of jobs in these queues.
    pub queues: Vec<QueueName>,
    /// Of jobs of these kinds.
    pub kinds: Vec<Kind>,
    /// Of state changes only those into these states; other events pass.
    pub to: Vec<State>,
    /// Leave out progress, log lines and host events.
    pub states_only: bool,
}

impl EventFilter {
    /// Only events of this job; a further call adds one.
    #[must_use]
    pub fn job(mut self, id: JobId) -> Self {
        self.jobs.push(id);
        self
    }

    /// Only events of jobs in this queue; a further call adds one.
    #[must_use]
    pub fn queue(mut self, queue: QueueName) -> Self {
        self.queues.push(queue);
        self
    }

    /// Only events of jobs of this kind; a further call adds one.
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

    /// Of state changes only those into these states.
    #[must_use]
    pub fn to(mut self, states: impl IntoIterator<Item = State>) -> Self {
        self.to.extend(states);
        self
    }

    /// Leaves out progress, log lines and host events.
    #[must_use]
    pub fn states_only(mut self) -> Self {
        self.states_only = true;
        self
    }

    /// Whether an event passes.
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        fn any<T: PartialEq>(list: &[T], item: &T) -> bool {
            list.is_empty() || list.contains(item)
        }
        let body = match &event.body {
            EventBody::State { to, .. } => any(&self.to, to),
            EventBody::Note(_) => !self.states_only,
            EventBody::CancelRequested { .. } | EventBody::Deleted => true,
        };
        body && any(&self.jobs, &event.job)
            && any(&self.queues, &event.queue)
            && any(&self.kinds, &event.kind)
    }
}

/// A stretch of the feed.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct EventPage {
    /// The events that passed, in order.
    pub events: Vec<Event>,
    /// Where to read on: after this position. It moves even when no event passed. None at the start of an empty feed.
    pub next: Option<Position>,
    /// Entries between the position asked for and the first one here were pruned.
    pub gap: bool,
    /// More may be there at once; when false, wait for news.
    pub more: bool,
}

impl EventPage {
    /// A page.
    #[must_use]
    pub fn new(events: Vec<Event>, next: Option<Position>, gap: bool, more: bool) -> Self {
        Self { events, next, gap, more }
    }
}
