//! Entries of the event feed.

use std::collections::BTreeSet;

use arbitrary::{Result, Unstructured};

use super::{check_told, made};
use crate::kit::feed::{Entry, Fact, cause_from, changes, deletions, single};
use crate::{
    AttemptError, Cause, Event, EventBody, EventName, JobId, LogLevel, Note, Progress, State,
    WorkerId,
};

/// Bytes as the body of an entry, and an entry that is made of them.
pub fn feed(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let job = JobId::derived("fuzzing");
    for job in [None, Some(job)] {
        match (Entry { seq: 7, at: 5, job, body: text.to_string() }).events() {
            Ok(events) => again(&events),
            Err(error) => check_told(&error),
        }
    }
    let u = &mut Unstructured::new(data);
    // Too few bytes are no entry.
    let _ = batch(u);
    let _ = one(u);
}

/// What was read is written, and reads as before.
fn again(events: &[Event]) {
    let jobs: BTreeSet<JobId> = events.iter().map(|event| event.job).collect();
    if jobs.len() < events.len() {
        // A job stands at most once in an entry: which of two comes first is told nowhere.
        return;
    }
    let Some(first) = events.first() else { return };
    let (seq, at) = (7, 5);
    let body = match &first.body {
        EventBody::State { cause, .. } => changes(*cause, events.iter().map(fact).collect()),
        EventBody::Deleted if events.len() != 1 => deletions(events.iter().map(fact).collect()),
        body => {
            let body = single(first.kind.as_str(), first.queue.as_str(), body.clone()).unwrap();
            let read = Entry { seq, at, job: Some(first.job), body }.events().unwrap();
            return assert_eq!(read, events);
        }
    };
    let mut sorted = events.to_vec();
    sorted.sort_by_key(|event| event.job);
    assert_eq!(Entry { seq, at, job: None, body }.events().unwrap(), sorted);
}

fn fact(event: &Event) -> Fact<'_> {
    let (from, to, attempt, worker, error) = match &event.body {
        EventBody::State { from, to, attempt, worker, error, .. } => {
            (*from, *to, *attempt, *worker, error.as_ref())
        }
        _ => (None, State::Completed, 0, None, None),
    };
    let (kind, queue) = (event.kind.as_str(), event.queue.as_str());
    Fact { job: event.job, kind, queue, from, to, attempt, worker, error }
}

/// A job of an entry that is made.
struct Made {
    job: JobId,
    names: [&'static str; 2],
    states: (Option<State>, State),
    attempt: u32,
    worker: Option<WorkerId>,
    error: Option<AttemptError>,
}

impl Made {
    fn new(u: &mut Unstructured<'_>, job: JobId) -> Result<Self> {
        let names = [*u.choose(&made::NAMES)?, *u.choose(&made::NAMES)?];
        let from = if u.arbitrary()? { Some(made::state(u)?) } else { None };
        let worker = if u.arbitrary()? { Some(made::worker(u)?) } else { None };
        let error = if u.arbitrary()? { Some(made::failure(u)?) } else { None };
        let (states, attempt) = ((from, made::state(u)?), u.arbitrary()?);
        Ok(Self { job, names, states, attempt, worker, error })
    }

    fn fact(&self) -> Fact<'_> {
        let ([kind, queue], (from, to)) = (self.names, self.states);
        let (job, attempt, worker) = (self.job, self.attempt, self.worker);
        Fact { job, kind, queue, from, to, attempt, worker, error: self.error.as_ref() }
    }
}

/// An entry of many jobs.
fn batch(u: &mut Unstructured<'_>) -> Result<()> {
    let cause: Cause = cause_from(u.int_in_range(0..=6)?).unwrap();
    let count = u.int_in_range(0..=6)?;
    let mut jobs = (0..count).map(|_| made::job_id(u)).collect::<Result<Vec<_>>>()?;
    jobs.sort_unstable();
    jobs.dedup();
    let made = jobs.iter().map(|job| Made::new(u, *job)).collect::<Result<Vec<_>>>()?;
    let facts = || made.iter().rev().map(Made::fact).collect();
    let (seq, at) = (u.int_in_range(0..=i64::MAX)?, u.arbitrary()?);
    let read = |body| Entry { seq, at, job: None, body }.events().unwrap();
    let events = read(changes(cause, facts()));
    assert_eq!(events.len(), made.len());
    for (event, made) in events.iter().zip(&made) {
        let expected = EventBody::State {
            from: made.states.0,
            to: made.states.1,
            attempt: made.attempt,
            cause,
            worker: made.worker,
            error: made.error.clone(),
        };
        assert_eq!((event.job, event.position), (made.job, Entry::position(seq, made.job)));
        assert_eq!([event.kind.as_str(), event.queue.as_str()], made.names);
        assert_eq!(event.body, expected);
    }
    let deleted = read(deletions(facts()));
    assert_eq!(deleted.iter().map(|event| event.job).collect::<Vec<_>>(), jobs);
    assert!(deleted.iter().all(|event| event.body == EventBody::Deleted));
    Ok(())
}

/// An entry of one job.
fn one(u: &mut Unstructured<'_>) -> Result<()> {
    let message: String = u.arbitrary()?;
    let body = match u.int_in_range(0..=3)? {
        0 => EventBody::CancelRequested { reason: u.arbitrary::<bool>()?.then_some(message) },
        1 => EventBody::Note(Note::Log { level: *u.choose(&LEVELS)?, message }),
        2 => {
            let (done, total) = (u.arbitrary()?, u.arbitrary()?);
            EventBody::Note(Note::Progress(Progress { done, total, message: Some(message) }))
        }
        _ => {
            let data = serde_json::value::to_raw_value(&message).unwrap();
            let name = EventName::new(*u.choose(&made::NAMES)?).unwrap();
            EventBody::Note(Note::Host { name, data })
        }
    };
    let [kind, queue] = [*u.choose(&made::NAMES)?, *u.choose(&made::NAMES)?];
    let job = Some(made::job_id(u)?);
    let text = single(kind, queue, body.clone()).unwrap();
    let events = Entry { seq: 1, at: u.arbitrary()?, job, body: text }.events().unwrap();
    assert_eq!((events.len(), &events[0].body), (1, &body));
    Ok(())
}

const LEVELS: [LogLevel; 4] = [LogLevel::Debug, LogLevel::Info, LogLevel::Warn, LogLevel::Error];
