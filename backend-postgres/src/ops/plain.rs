//! The short ways, each one statement that stands for itself: inserting jobs about which nothing is to be decided, and completions that carry
//! nothing but a result.

use std::collections::{BTreeSet, HashSet};

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;
use windlass_core::kit::feed::{self, Fact};
use windlass_core::kit::micros;
use windlass_core::machine;
use windlass_core::{AttemptOutcome, Cause, Inserted, JobId, Limits, NewJob, Settlement, Start};

use super::insert::{int, meta, tags};
use super::stored::fences;
use crate::sql::{Query, Statements, query};
use crate::txn::{News, Tally, uuids};

/// Bytes of args or results that one statement carries: far below what the server takes in one message (1 GiB), and little enough to hold twice.
pub(crate) const STATEMENT_BYTES: usize = 16 << 20;

/// Whether nothing is to be decided about jobs but whether they are new, and one statement can carry them.
pub(crate) fn is_plain(jobs: &[NewJob]) -> bool {
    let mut ids = HashSet::with_capacity(jobs.len());
    let bytes: usize = jobs.iter().map(|job| job.args.bytes.len()).sum();
    bytes <= STATEMENT_BYTES
        && jobs.iter().all(|job| {
            job.unique.is_none()
                && job.blobs.is_empty()
                && !matches!(job.start, Start::At(_))
                && ids.insert(job.id)
        })
}

/// The delay of a plain job: its start is no point in time.
fn delay(job: &NewJob) -> std::time::Duration {
    match job.start {
        Start::In(delay) => delay,
        _ => std::time::Duration::ZERO,
    }
}

/// What others are to be told of an insert.
pub(crate) fn news(jobs: &[NewJob]) -> News {
    let mut news = News { events: true, ..News::default() };
    for job in jobs.iter().filter(|job| delay(job).is_zero()) {
        if !news.queues.contains(job.queue.as_str()) {
            news.queues.insert(job.queue.as_str().to_owned());
        }
    }
    news
}

/// The statement that inserts plain jobs.
pub(crate) fn insert(sql: &Statements, jobs: &[NewJob]) -> Query {
    if let [job] = jobs {
        return insert_one(sql, job);
    }
    let (mut tally, mut facts) = (Tally::default(), Vec::with_capacity(jobs.len()));
    for job in jobs {
        let (queue, kind) = (job.queue.as_str(), job.kind.as_str());
        let to = machine::inserted(delay(job));
        tally.count(queue, kind, to, 1);
        let (from, worker, error) = (None, None, None);
        facts.push(Fact { job: job.id, kind, queue, from, to, attempt: 0, worker, error });
    }
    let (queues, kinds, states, numbers) = tally.columns();
    let texts = |of: fn(&NewJob) -> &str| -> Vec<String> {
        jobs.iter().map(|job| of(job).to_owned()).collect()
    };
    query(&sql.insert_plain)
        .bind(uuids(jobs.iter().map(|job| &job.id)))
        .bind(texts(|job| job.queue.as_str()))
        .bind(texts(|job| job.kind.as_str()))
        .bind(jobs.iter().map(|job| job.priority.0).collect::<Vec<_>>())
        .bind(jobs.iter().map(|job| micros(delay(job))).collect::<Vec<_>>())
        .bind(jobs.iter().map(|job| int(job.max_attempts)).collect::<Vec<_>>())
        .bind(jobs.iter().map(|job| job.timeout.map(micros)).collect::<Vec<_>>())
        .bind(jobs.iter().map(meta).collect::<Vec<_>>())
        .bind(jobs.iter().map(tags).collect::<Vec<_>>())
        .bind(jobs.iter().map(|job| i16::from(job.args.encoding.code())).collect::<Vec<_>>())
        .bind(jobs.iter().map(|job| job.args.bytes.to_vec()).collect::<Vec<_>>())
        .bind(queues)
        .bind(kinds)
        .bind(states)
        .bind(numbers)
        .bind(feed::changes(Cause::Inserted, facts))
}

fn insert_one(sql: &Statements, job: &NewJob) -> Query {
    let (queue, kind, delay) = (job.queue.as_str(), job.kind.as_str(), delay(job));
    let to = machine::inserted(delay);
    let (from, worker, error) = (None, None, None);
    let fact = Fact { job: job.id, kind, queue, from, to, attempt: 0, worker, error };
    query(&sql.insert_one)
        .bind(*job.id.as_uuid())
        .bind(queue.to_owned())
        .bind(kind.to_owned())
        .bind(job.priority.0)
        .bind(micros(delay))
        .bind(int(job.max_attempts))
        .bind(job.timeout.map(micros))
        .bind(meta(job))
        .bind(tags(job))
        .bind(i16::from(job.args.encoding.code()))
        .bind(job.args.bytes.to_vec())
        .bind(i16::from(to.code()))
        .bind(feed::changes(Cause::Inserted, vec![fact]))
}

/// What became of plain jobs: all are new.
pub(crate) fn inserted(jobs: &[NewJob]) -> Vec<Inserted> {
    jobs.iter().map(|job| Inserted::New(job.id)).collect()
}

/// Those settlements that are completions with nothing but a result, each job once and as many as one statement can carry; by their places.
pub(crate) fn completions(limits: &Limits, settlements: &[Settlement]) -> Vec<usize> {
    let mut jobs = HashSet::with_capacity(settlements.len());
    let mut places = Vec::with_capacity(settlements.len());
    let mut bytes = 0;
    for (place, settlement) in settlements.iter().enumerate() {
        let plain = match &settlement.outcome {
            AttemptOutcome::Completed { result, blobs } => {
                bytes += result.as_ref().map_or(0, |result| result.bytes.len());
                bytes <= STATEMENT_BYTES
                    && blobs.is_empty()
                    && settlement.follow_ups.is_empty()
                    && settlement.notes.is_empty()
                    && result.as_ref().is_none_or(|result| limits.check_result(result).is_ok())
            }
            _ => false,
        };
        // Another settlement of the same job comes after it in any case: it is not plain the second time.
        if jobs.insert(settlement.key.job) && plain {
            places.push(place);
        }
    }
    places
}

/// The statement that completes jobs.
pub(crate) fn complete(sql: &Statements, settlements: &[Settlement], places: &[usize]) -> Query {
    let chosen = || places.iter().filter_map(|place| settlements.get(*place));
    let (ids, epochs, claims) = fences(chosen().map(|settlement| &settlement.key));
    let each: Vec<Uuid> = claims.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    let (mut with, mut encodings, mut results) = (Vec::new(), Vec::new(), Vec::new());
    for settlement in chosen() {
        if let AttemptOutcome::Completed { result: Some(result), .. } = &settlement.outcome {
            with.push(*settlement.key.job.as_uuid());
            encodings.push(i16::from(result.encoding.code()));
            results.push(result.bytes.to_vec());
        }
    }
    query(&sql.settle_complete)
        .bind(ids)
        .bind(epochs)
        .bind(claims)
        .bind(each)
        .bind(with)
        .bind(encodings)
        .bind(results)
}

/// The jobs that were completed, and those whose trail has become too long.
pub(crate) fn completed(
    limits: &Limits,
    rows: &[PgRow],
) -> sqlx::Result<(BTreeSet<JobId>, Vec<JobId>)> {
    let full = i32::try_from(limits.state_events_per_job).unwrap_or(i32::MAX);
    let (mut done, mut long) = (BTreeSet::new(), Vec::new());
    for row in rows {
        let job = JobId::from_uuid(row.try_get::<Uuid, _>(0)?);
        done.insert(job);
        if row.try_get::<i32, _>(1)? > full {
            long.push(job);
        }
    }
    Ok((done, long))
}
