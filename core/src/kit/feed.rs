//! Entries of the event feed as text. State changes of a batch share one entry; a note, a cancel request stand alone
//! and belong to their job.
//!
//! A batch is JSON: `c` the cause, `n` names, `w` workers, `j` the jobs in the order of their ids, each
//! `[id, kind, queue, from, to, attempt, worker]`, and `e` the failures, each with the place of its job in `j`. A kind, queue or worker is its
//! number in `n` or `w`, or stands in place as text, as a database that writes the entry itself has it; `from` and `worker` are -1 for none.

use std::collections::HashMap;
use std::fmt::Write;

use crate::{
    AttemptError, Cause, Error, Event, EventBody, JobId, Kind, Position, QueueName, Result, State,
    WorkerId,
};
use serde::{Deserialize, Serialize};

use super::{bad_json, push_hex, push_json_text, timestamp, unreadable};

/// The stored number of a cause.
#[must_use]
pub const fn cause_code(cause: Cause) -> u8 {
    match cause {
        Cause::Inserted => 0,
        Cause::Replaced => 1,
        Cause::Promoted => 2,
        Cause::Claimed => 3,
        Cause::Settled => 4,
        Cause::Rescued => 5,
        _ => 6,
    }
}

/// The stored number of an entry of deletions.
const DELETED: u8 = 100;

/// Reads a stored cause.
///
/// # Errors
/// [`Error::Decode`] for an unknown number.
pub fn cause_from(code: u8) -> Result<Cause> {
    Ok(match code {
        0 => Cause::Inserted,
        1 => Cause::Replaced,
        2 => Cause::Promoted,
        3 => Cause::Claimed,
        4 => Cause::Settled,
        5 => Cause::Rescued,
        6 => Cause::Changed,
        _ => return Err(unreadable("an event", format!("unknown cause {code}"))),
    })
}

/// One job in a batch entry.
#[derive(Debug)]
pub struct Fact<'a> {
    /// The job.
    pub job: JobId,
    /// Its kind.
    pub kind: &'a str,
    /// Its queue.
    pub queue: &'a str,
    /// The state before.
    pub from: Option<State>,
    /// The state after.
    pub to: State,
    /// The attempt counter after.
    pub attempt: u32,
    /// The worker that did or suffered it.
    pub worker: Option<WorkerId>,
    /// The failure, when one led here.
    pub error: Option<&'a AttemptError>,
}

/// Writes the body of an entry of state changes.
#[must_use]
pub fn changes(cause: Cause, facts: Vec<Fact<'_>>) -> String {
    write_batch(cause_code(cause), facts)
}

/// Writes the body of an entry of deletions.
#[must_use]
pub fn deletions(facts: Vec<Fact<'_>>) -> String {
    write_batch(DELETED, facts)
}

fn write_batch(code: u8, mut facts: Vec<Fact<'_>>) -> String {
    facts.sort_unstable_by_key(|fact| fact.job);
    let mut names = Interner::default();
    let mut workers = Interner::default();
    let mut jobs = String::with_capacity(facts.len() * 52);
    let mut errors = String::new();
    for (n, fact) in facts.iter().enumerate() {
        jobs.push_str(if n == 0 { "[\"" } else { ",[\"" });
        push_hex(&mut jobs, fact.job.as_bytes());
        let from = fact.from.map_or(-1, |state| i16::from(state.code()));
        let worker = fact.worker.map_or(-1, |worker| workers.number(worker));
        let (kind, queue) = (names.number(fact.kind), names.number(fact.queue));
        let (to, attempt) = (fact.to.code(), fact.attempt);
        // Writing to a String never fails.
        let _ = write!(jobs, "\",{kind},{queue},{from},{to},{attempt},{worker}]");
        if let Some(error) = fact.error {
            let comma = if errors.is_empty() { "" } else { "," };
            let text = serde_json::to_string(error).unwrap_or_else(|_| "null".to_owned());
            let _ = write!(errors, "{comma}[{n},{text}]");
        }
    }
    let mut body = format!("{{\"c\":{code},\"n\":[");
    for (n, name) in names.order.iter().enumerate() {
        if n > 0 {
            body.push(',');
        }
        push_json_text(&mut body, name);
    }
    body.push_str("],\"w\":[");
    for (n, worker) in workers.order.iter().enumerate() {
        let _ = write!(body, "{}\"{}\"", if n > 0 { "," } else { "" }, worker.as_uuid().simple());
    }
    let _ = write!(body, "],\"j\":[{jobs}],\"e\":[{errors}]}}");
    body
}

/// Gives equal values the same small number.
struct Interner<T> {
    numbers: HashMap<T, i32>,
    order: Vec<T>,
    last: Option<(T, i32)>,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self { numbers: HashMap::new(), order: Vec::new(), last: None }
    }
}

impl<T: Copy + Eq + std::hash::Hash> Interner<T> {
    fn number(&mut self, value: T) -> i32 {
        if let Some((last, number)) = self.last
            && last == value
        {
            return number;
        }
        let next = i32::try_from(self.order.len()).unwrap_or(i32::MAX);
        let number = *self.numbers.entry(value).or_insert(next);
        if number == next {
            self.order.push(value);
        }
        self.last = Some((value, number));
        number
    }
}

/// A name in place, or its number.
#[derive(Deserialize)]
#[serde(untagged)]
enum NameRef {
    Number(usize),
    Text(String),
}

impl NameRef {
    fn of<'a>(&'a self, names: &'a [String]) -> Option<&'a str> {
        match self {
            Self::Number(number) => names.get(*number).map(String::as_str),
            Self::Text(text) => Some(text),
        }
    }
}

/// A worker in place, or its number.
#[derive(Deserialize)]
#[serde(untagged)]
enum WorkerRef {
    Number(i64),
    Id(WorkerId),
}

impl WorkerRef {
    fn of(&self, workers: &[WorkerId]) -> Option<WorkerId> {
        match self {
            Self::Number(number) => {
                usize::try_from(*number).ok().and_then(|number| workers.get(number)).copied()
            }
            Self::Id(id) => Some(*id),
        }
    }
}

/// Parsed names. They repeat, so each is parsed once.
struct Parsed<T>(HashMap<String, T>);

impl<T: Clone> Parsed<T> {
    fn get(&mut self, name: Option<&str>, parse: impl Fn(&str) -> Result<T>) -> Result<T> {
        let name =
            name.ok_or_else(|| unreadable("an entry of the event feed", "a name is missing"))?;
        if let Some(known) = self.0.get(name) {
            return Ok(known.clone());
        }
        let parsed = parse(name)?;
        self.0.insert(name.to_owned(), parsed.clone());
        Ok(parsed)
    }
}

#[derive(Deserialize)]
struct Batch {
    c: u8,
    n: Vec<String>,
    w: Vec<WorkerId>,
    j: Vec<(JobId, NameRef, NameRef, i64, i64, u32, WorkerRef)>,
    e: Vec<(usize, AttemptError)>,
}

/// The body of an entry that belongs to one job.
#[derive(Serialize, Deserialize)]
struct Single {
    kind: Kind,
    queue: QueueName,
    body: EventBody,
}

/// Writes the body of an entry that belongs to one job.
///
/// # Errors
/// [`Error::Invalid`] for a name that is none, [`Error::Encode`].
pub fn single(kind: &str, queue: &str, body: EventBody) -> Result<String> {
    let single = Single { kind: Kind::new(kind)?, queue: QueueName::new(queue)?, body };
    serde_json::to_string(&single)
        .map_err(|e| Error::Encode { what: "event".into(), source: e.into() })
}

/// A stored entry.
#[derive(Debug)]
pub struct Entry {
    /// Its number.
    pub seq: i64,
    /// When, in microseconds since 1970.
    pub at: i64,
    /// The job it belongs to; none for a batch.
    pub job: Option<JobId>,
    /// Its body.
    pub body: String,
}

impl Entry {
    /// The place of a job's event in an entry.
    #[must_use]
    pub fn position(seq: i64, job: JobId) -> Position {
        Position { seq: u128::try_from(seq).unwrap_or(0), job }
    }

    /// The place behind all events of an entry.
    #[must_use]
    pub fn end(seq: i64) -> Position {
        Self::position(seq, JobId::from_uuid(uuid::Uuid::max()))
    }

    /// The events of the entry, in the order of their positions.
    ///
    /// # Errors
    /// [`Error::Decode`] when the body is none of these.
    pub fn events(&self) -> Result<Vec<Event>> {
        let bad = |e| unreadable("an entry of the event feed", bad_json(&e));
        if let Some(job) = self.job {
            let Single { kind, queue, body } = serde_json::from_str(&self.body).map_err(bad)?;
            return Ok(vec![self.event(job, kind, queue, body)]);
        }
        let batch: Batch = serde_json::from_str(&self.body).map_err(bad)?;
        let (mut kinds, mut queues) = (Parsed(HashMap::new()), Parsed(HashMap::new()));
        let mut errors = batch.e.into_iter().peekable();
        let mut events = Vec::with_capacity(batch.j.len());
        for (n, (job, kind, queue, from, to, attempt, worker)) in batch.j.into_iter().enumerate() {
            let missing = || unreadable("an entry of the event feed", "a state is missing");
            let kind = kinds.get(kind.of(&batch.n), |name| Kind::new(name))?;
            let queue = queues.get(queue.of(&batch.n), |name| QueueName::new(name))?;
            let error = errors.next_if(|(at, _)| *at == n).map(|(_, error)| error);
            let body = if batch.c == DELETED {
                EventBody::Deleted
            } else {
                EventBody::State {
                    from: State::from_code(from),
                    to: State::from_code(to).ok_or_else(missing)?,
                    attempt,
                    cause: cause_from(batch.c)?,
                    worker: worker.of(&batch.w),
                    error,
                }
            };
            events.push(self.event(job, kind, queue, body));
        }
        Ok(events)
    }

    fn event(&self, job: JobId, kind: Kind, queue: QueueName, body: EventBody) -> Event {
        Event {
            position: Self::position(self.seq, job),
            at: timestamp(self.at),
            job,
            kind,
            queue,
            body,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FailureKind;

    #[test]
    fn a_batch_reads_back_sorted_by_job() {
        let worker = WorkerId::new();
        let error = AttemptError {
            attempt: 2,
            at: timestamp(5),
            kind: FailureKind::Error,
            message: "\"quoted\"".into(),
        };
        let (a, b) = (JobId::new(), JobId::new());
        let fact = |job, worker, error| Fact {
            job,
            kind: "k",
            queue: "q",
            from: Some(State::Running),
            to: State::Retryable,
            attempt: 2,
            worker,
            error,
        };
        let body =
            changes(Cause::Settled, vec![fact(b, Some(worker), Some(&error)), fact(a, None, None)]);
        let events = Entry { seq: 7, at: 5, job: None, body }.events().unwrap();
        assert_eq!(events.iter().map(|e| e.job).collect::<Vec<_>>(), [a, b]);
        let EventBody::State { worker: w, error: e, from, to, .. } = &events[1].body else {
            panic!("not a state change");
        };
        assert_eq!((*w, e.as_ref()), (Some(worker), Some(&error)));
        assert_eq!((*from, *to), (Some(State::Running), State::Retryable));
    }
    #[test]
    fn names_and_workers_may_stand_in_place() {
        let (job, worker) = (JobId::new(), WorkerId::new());
        let (job_hex, worker_hex) = (job.as_uuid().simple(), worker.as_uuid().simple());
        let body = format!(
            r#"{{"c":3,"n":[],"w":[],"j":[["{job_hex}","k","q",2,3,1,"{worker_hex}"]],"e":[]}}"#
        );
        let events = Entry { seq: 1, at: 0, job: None, body }.events().unwrap();
        assert_eq!((events[0].kind.as_str(), events[0].queue.as_str()), ("k", "q"));
        assert!(matches!(events[0].body, EventBody::State { worker: Some(w), .. } if w == worker));
    }
}
