//! The short way of jobs about which nothing is to be decided but whether they are new: most of what the script writes is made here.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use windlass_core::kit::gather::{Gather, same};
use windlass_core::kit::micros;
use windlass_core::{Cause, Error, Inserted, NewJob, Result, Start, machine};

use super::insert::{bytes_of, decide, is_refusal};
use crate::backend::Inner;
use crate::changes::{self, Change};
use crate::error::NAME;
use crate::pack::{Pack, Packed};
use crate::script::Args;
use crate::wire;

/// Jobs in one entry of the feed, as `insert_plain.lua` has it.
const TOGETHER: usize = 500;
/// Scripts at once: while the server runs one, the answers to another are read.
const AT_ONCE: u32 = 2;
/// Single jobs that share a script: a millisecond or two of the server's time.
const MOST: usize = 200;
/// Scripts for those that share one, when not all of them can.
const ATTEMPTS: usize = 2;
/// Jobs with more bytes of args and metadata go by themselves.
const BYTES: usize = 16 << 10;

/// Single jobs that come while others are under way; whether they are stored, or something is to be decided.
pub(crate) type Singles = Gather<NewJob, Result<bool>>;

pub(crate) fn singles() -> Singles {
    Gather::new(AT_ONCE, MOST)
}

fn is_plain(job: &NewJob) -> bool {
    job.unique.is_none() && job.blobs.is_empty() && !matches!(job.start, Start::At(_))
}

/// Whether nothing is to be decided about jobs.
pub(crate) fn are_plain(jobs: &[NewJob]) -> bool {
    jobs.iter().all(is_plain) && are_different(jobs)
}

/// Whether each job has an id of its own. Those of one process grow.
fn are_different(jobs: &[NewJob]) -> bool {
    let mut ids = HashSet::new();
    jobs.windows(2).all(|pair| pair[0].id < pair[1].id) || jobs.iter().all(|job| ids.insert(job.id))
}

/// Whether a single job may share a script.
pub(crate) fn is_small(job: &NewJob) -> bool {
    is_plain(job) && bytes_of(job) <= BYTES
}

/// Inserts a single job, together with others if any are under way.
pub(crate) async fn gathered(inner: &Arc<Inner>, job: &NewJob) -> Result<Vec<Inserted>> {
    inner.options.limits.check_job(job)?;
    let sender = inner.clone();
    let send = move |jobs| {
        let inner = sender.clone();
        async move { together(&inner, jobs).await }
    };
    match inner.singles.call(job.clone(), send).await {
        Some(Ok(true)) => Ok(vec![Inserted::New(job.id)]),
        Some(Ok(false)) => decide(inner, std::slice::from_ref(job)).await,
        Some(Err(error)) => Err(error),
        None => {
            let source = "the runtime that sent it has ended".into();
            Err(Error::Unavailable { backend: NAME, during: "insert", source })
        }
    }
}

/// Tells of each job whether it is stored; about the others something is to be decided. Those that nothing stands in the way of are sent once more, without
/// the others.
async fn together(inner: &Inner, jobs: Vec<NewJob>) -> Vec<Result<bool>> {
    let mut answers: Vec<Result<bool>> = jobs.iter().map(|_| Ok(false)).collect();
    let mut ids = HashSet::new();
    let different = jobs.into_iter().enumerate().filter(|(_, job)| ids.insert(job.id));
    let (mut places, mut jobs): (Vec<_>, Vec<_>) = different.unzip();
    for _ in 0..ATTEMPTS {
        let done = match insert(inner, &jobs).await {
            Ok(None) => Ok(true),
            Ok(Some(obstacles)) => {
                (places, jobs) = obstacles.others(places, jobs);
                if jobs.is_empty() {
                    break;
                }
                continue;
            }
            // What is wrong may be about one of them: each finds out for itself.
            Err(error) if answers.len() > 1 && !is_about_all(&error) => break,
            Err(error) => Err(error),
        };
        for place in places {
            answers[place] = done.as_ref().map(|done| *done).map_err(|e| same(NAME, "insert", e));
        }
        break;
    }
    answers
}

fn is_about_all(error: &Error) -> bool {
    matches!(error, Error::Unavailable { .. } | Error::Closed(_))
}

/// What stands in the way of the short way: the places of jobs that are known, from 1, and queues without room for all.
pub(crate) struct Obstacles {
    known: HashSet<usize>,
    full: HashSet<String>,
}

impl Obstacles {
    pub(crate) fn read(answer: Value) -> Result<Self> {
        let [known, full] = wire::items(answer)?;
        let known = wire::list(known)?;
        let place = |known| Ok(usize::try_from(wire::int(&known)?).unwrap_or_default());
        let known = known.into_iter().map(place).collect::<Result<_>>()?;
        let full = wire::list(full)?.into_iter().map(wire::text).collect::<Result<_>>()?;
        Ok(Self { known, full })
    }

    /// The jobs that nothing stands in the way of, with their places.
    fn others<P>(&self, places: Vec<P>, jobs: Vec<NewJob>) -> (Vec<P>, Vec<NewJob>) {
        let free = |(n, (_, job)): &(usize, (P, NewJob))| {
            !self.known.contains(&(n + 1)) && !self.full.contains(job.queue.as_str())
        };
        places.into_iter().zip(jobs).enumerate().filter(free).map(|(_, job)| job).unzip()
    }
}

/// Jobs that share all but their ids and args.
struct Class<'j> {
    job: &'j NewJob,
    body: Vec<u8>,
}

impl<'j> Class<'j> {
    fn of(job: &'j NewJob) -> Result<Self> {
        Ok(Self { job, body: wire::plain_body(job)? })
    }

    /// As the script takes it.
    fn packed(&self) -> impl Pack {
        let Self { job, body } = self;
        // An array of 18, with the mark that `part_quick.lua` tells of: the state, the most attempts, and the five counters and flags that begin at 0.
        let mut front =
            vec![0xdd, 0, 0, 0, 18, machine::inserted(delay(job)).code().to_le_bytes()[0], 0, 0];
        job.max_attempts.pack(&mut front);
        front.extend([0, 0, 0]);
        let (queue, kind) = (job.queue.as_str(), job.kind.as_str());
        (Packed(body.clone()), Packed(front), queue, kind, job.priority.0, micros(delay(job)))
    }

    /// Whether a job is of this class, as far as is seen at once.
    fn has(&self, job: &NewJob) -> bool {
        let own = self.job;
        own.kind == job.kind
            && own.queue == job.queue
            && own.priority == job.priority
            && own.start == job.start
            && own.max_attempts == job.max_attempts
            && own.timeout == job.timeout
            && own.args.encoding == job.args.encoding
            && own.meta == job.meta
            && own.tags == job.tags
    }
}

fn delay(job: &NewJob) -> Duration {
    match job.start {
        Start::In(delay) => delay,
        _ => Duration::ZERO,
    }
}

/// Inserts plain jobs, or none of them when something is to be decided after all.
pub(crate) async fn insert(inner: &Inner, jobs: &[NewJob]) -> Result<Option<Obstacles>> {
    let script = &inner.scripts.insert_plain;
    let answer = inner.call_copied("insert", script, args(jobs)?, is_refusal).await?;
    if is_refusal(&answer) {
        return Obstacles::read(answer).map(Some);
    }
    wire::int(&answer).map(|_| None)
}

/// The arguments of the script.
pub(super) fn args(jobs: &[NewJob]) -> Result<Args> {
    let (mut classes, mut runs): (Vec<Class<'_>>, Vec<(usize, usize)>) = (Vec::new(), Vec::new());
    let mut args = Args::new();
    let mut places = HashMap::new();
    for job in jobs {
        let last = runs.last_mut().filter(|run| classes.get(run.0 - 1).is_some_and(|c| c.has(job)));
        if let Some(run) = last {
            run.1 += 1;
            continue;
        }
        let class = Class::of(job)?;
        let key = (class.body.clone(), delay(job), job.max_attempts);
        let place = *places.entry(key).or_insert(classes.len() + 1);
        if place > classes.len() {
            classes.push(class);
        }
        runs.push((place, 1));
    }
    args.pack(&(
        queues(jobs),
        counts(jobs),
        classes.iter().map(Class::packed).collect::<Vec<_>>(),
        runs,
    ));
    let ids: Vec<u8> = jobs.iter().flat_map(|job| *job.id.as_bytes()).collect();
    args.push(ids);
    jobs.iter().for_each(|job| args.push(&job.args.bytes));
    jobs.chunks(TOGETHER).for_each(|some| args.push(entry(some)));
    Ok(args)
}

/// How many of the jobs come to each queue.
fn queues(jobs: &[NewJob]) -> Vec<(&str, usize)> {
    let mut queues: BTreeMap<&str, usize> = BTreeMap::new();
    for job in jobs {
        *queues.entry(job.queue.as_str()).or_default() += 1;
    }
    queues.into_iter().collect()
}

/// How many come to each count.
fn counts(jobs: &[NewJob]) -> Vec<(String, usize)> {
    let mut counts: BTreeMap<_, usize> = BTreeMap::new();
    for job in jobs {
        let state = machine::inserted(delay(job)).code();
        *counts.entry((job.queue.as_str(), job.kind.as_str(), state)).or_default() += 1;
    }
    let name = |((queue, kind, state), jobs)| (format!("{queue}/{kind}/{state}"), jobs);
    counts.into_iter().map(name).collect()
}

/// The body of an entry of the feed but for the ids.
fn entry(jobs: &[NewJob]) -> String {
    let change = |job| {
        let to = machine::inserted(delay(job));
        Change { kind: job.kind.as_str(), queue: job.queue.as_str(), from: None, to }
    };
    changes::body(Cause::Inserted, jobs.iter().map(change))
}
