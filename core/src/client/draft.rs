//! A job with its options, before it is enqueued: [`Draft`].

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use crate::{
    Error, Job, JobId, Kind, NewJob, OnConflict, Payload, Priority, QueueName, Result, Start, Tag,
    Unique, UniqueUntil,
};

/// A job with options that differ from those of its kind. [`Client::enqueue`](crate::Client::enqueue) has the same
/// options; a draft is for where there are many jobs, or no client at hand.
///
/// An option that can't be used (a queue name with a blank) is kept as the error and returned by the enqueue.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use windlass_core::{Draft, Job};
/// # #[derive(Serialize, Deserialize)]
/// # struct Mail { to: String }
/// # impl Job for Mail { const KIND: &'static str = "mail"; type Output = (); }
/// let draft = Draft::new(Mail { to: "a@example.org".to_owned() })
///     .delay(std::time::Duration::from_secs(60))
///     .unique_key("welcome/a@example.org");
/// assert_eq!(draft.into_new_job()?.queue.as_str(), "default");
/// # Ok::<(), windlass_core::Error>(())
/// ```
#[must_use = "a draft does nothing until it is enqueued"]
pub struct Draft<J> {
    job: J,
    options: Options,
}

/// What can be enqueued: a job, or a [`Draft`] of one.
pub trait IntoDraft {
    /// The job.
    type Job: Job;

    /// The draft.
    fn into_draft(self) -> Draft<Self::Job>;
}

impl<J: Job> IntoDraft for J {
    type Job = J;
    fn into_draft(self) -> Draft<J> {
        Draft::new(self)
    }
}

impl<J: Job> IntoDraft for Draft<J> {
    type Job = J;
    fn into_draft(self) -> Self {
        self
    }
}

impl<J: Job> Draft<J> {
    /// A job with the options of its kind.
    pub fn new(job: J) -> Self {
        Self { job, options: Options::default() }
    }

    super::options::option_methods!();

    pub(super) fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    /// Whether the caller chose the id, so that the job may have been inserted before.
    pub(super) fn has_given_id(&self) -> bool {
        self.options.id.is_some()
    }

    /// The job as a backend takes it. Its args stand in the row whatever their size;
    /// [`Client::prepare`](crate::Client::prepare) moves large ones to the storage.
    ///
    /// # Errors
    /// The first option that can't be used, a unique key that can't be made, or args whose `Serialize` fails.
    pub fn into_new_job(self) -> Result<NewJob> {
        let Self { job, options } = self;
        if let Some(error) = options.error {
            return Err(error);
        }
        let queue = options.queue.map_or_else(|| QueueName::new(J::QUEUE), Ok)?;
        let mut new = NewJob::new(Kind::new(J::KIND)?, queue, Payload::json(&job)?);
        new.id = options.id.unwrap_or(new.id);
        new.priority = options.priority.unwrap_or(J::PRIORITY);
        new.max_attempts = options.max_attempts.unwrap_or(J::MAX_ATTEMPTS);
        new.timeout = options.timeout.unwrap_or(J::TIMEOUT);
        new.start = options.start;
        new.unique = options.unique.rule(&job)?;
        new.meta = options.meta;
        new.tags = options.tags;
        Ok(new)
    }
}

impl<J: Job> fmt::Debug for Draft<J> {
    /// Tells the kind and the options, never the args.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft")
            .field("kind", &J::KIND)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl From<i16> for Priority {
    fn from(priority: i16) -> Self {
        Self(priority)
    }
}

/// What a caller chose; the rest comes from the kind.
#[derive(Default)]
pub(super) struct Options {
    pub(super) id: Option<JobId>,
    pub(super) queue: Option<QueueName>,
    pub(super) priority: Option<Priority>,
    pub(super) max_attempts: Option<u32>,
    pub(super) timeout: Option<Option<Duration>>,
    pub(super) start: Start,
    pub(super) unique: UniqueOptions,
    pub(super) meta: BTreeMap<String, String>,
    pub(super) tags: Vec<Tag>,
    error: Option<Error>,
}

impl Options {
    /// Takes a value, or keeps the first error for the enqueue.
    pub(super) fn accept<T>(&mut self, value: Result<T>, set: impl FnOnce(&mut Self, T)) {
        match value {
            Ok(value) => set(self, value),
            Err(error) => self.fail(error),
        }
    }

    pub(super) fn fail(&mut self, error: Error) {
        self.error.get_or_insert(error);
    }

    /// Takes a length of time of any type, as long as it is not negative.
    pub(super) fn length<D: TryInto<Duration>>(
        what: &'static str,
        value: D,
        hint: &'static str,
    ) -> Result<Duration> {
        value.try_into().map_err(|_| {
            Error::invalid(what, format!("it is negative or has no fixed length; {hint}"))
        })
    }

    pub(super) fn at(&mut self, at: Timestamp) {
        self.start = Start::At(at);
    }
}

impl fmt::Debug for Options {
    /// Leaves out metadata, which may be private to the host.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("id", &self.id)
            .field("queue", &self.queue)
            .field("priority", &self.priority)
            .field("start", &self.start)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

/// The unique rule as far as the caller chose it.
#[derive(Default)]
pub(super) struct UniqueOptions {
    pub(super) off: bool,
    pub(super) key: Option<String>,
    pub(super) until: Option<UniqueUntil>,
    pub(super) on_conflict: Option<OnConflict>,
}

impl UniqueOptions {
    /// The rule: the kind's own, with what the caller chose; without either, the key is made of the whole args.
    fn rule<J: Job>(self, job: &J) -> Result<Option<Unique>> {
        if self.off {
            return Ok(None);
        }
        let own = job.unique()?;
        let mut rule = match (self.key, own) {
            (Some(key), own) => {
                if key.is_empty() {
                    return Err(Error::invalid("unique key", "it is empty"));
                }
                let own = own.map(|rule| (rule.until, rule.on_conflict)).unwrap_or_default();
                Unique::of::<J>(&key)?.until(own.0).on_conflict(own.1)
            }
            (None, Some(own)) => own,
            (None, None) if self.until.is_some() => Unique::of::<J>(job)?,
            (None, None) if self.on_conflict.is_some() => {
                return Err(Error::invalid(
                    "on conflict",
                    "this job has no unique rule; give it a key (`unique_key`) or a scope (`unique_until_finished`)",
                ));
            }
            (None, None) => return Ok(None),
        };
        rule.until = self.until.unwrap_or(rule.until);
        rule.on_conflict = self.on_conflict.unwrap_or(rule.on_conflict);
        Ok(Some(rule))
    }
}
