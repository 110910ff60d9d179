//! Insertion: all or none, in one script.

use redis::Value;
use windlass_core::kit::unreadable;
use windlass_core::{Error, Inserted, JobId, Limits, NewJob, Result};

use super::{at_most, plain, too_far};
use crate::backend::Inner;
use crate::script::Args;
use crate::wire;

/// What one call may bring besides its jobs, since it is one command and one script whatever it brings: bytes of args and metadata, and references to blobs.
/// By default a server takes no command of 1 GiB.
const BYTES: usize = 64 << 20;
const BLOBS: usize = 10_000;

/// Checks what jobs bring together, of one insert or as the follow-ups of one settlement.
pub(crate) fn check_load(jobs: &[NewJob]) -> Result<()> {
    let bytes = jobs.iter().map(bytes_of).sum();
    let hint = "use several calls, or put large data into blobs";
    at_most("args and metadata of the jobs of one call in bytes", bytes, BYTES, hint)?;
    let blobs = jobs.iter().map(|job| job.blobs.len()).sum();
    at_most("blobs of the jobs of one call", blobs, BLOBS, "use several calls")
}

/// The bytes that a job brings.
pub(super) fn bytes_of(job: &NewJob) -> usize {
    let meta = job.meta.iter().map(|(key, value)| key.len() + value.len());
    job.args.bytes.len() + meta.sum::<usize>()
}

pub(crate) async fn insert(inner: &Inner, jobs: &[NewJob]) -> Result<Vec<Inserted>> {
    inner.options.limits.check_insert(jobs)?;
    check_load(jobs)?;
    if jobs.is_empty() {
        return Ok(Vec::new());
    }
    if plain::are_plain(jobs) && plain::insert(inner, jobs).await?.is_none() {
        return Ok(jobs.iter().map(|job| Inserted::New(job.id)).collect());
    }
    decide(inner, jobs).await
}

/// Inserts jobs about which something is to be decided.
pub(super) async fn decide(inner: &Inner, jobs: &[NewJob]) -> Result<Vec<Inserted>> {
    let mut args = Args::new().bytes(&inner.limits);
    push_jobs(&mut args, jobs)?;
    match inner.call_copied("insert", &inner.scripts.insert, args, is_refusal).await? {
        Value::Array(refusal) => Err(refused(&inner.options.limits, refusal)?),
        answers => read(&wire::bytes(answers)?, jobs),
    }
}

/// Three values for each job.
pub(crate) fn push_jobs(args: &mut Args, jobs: &[NewJob]) -> Result<()> {
    for job in jobs {
        for value in wire::new_job(job)? {
            args.push(value);
        }
    }
    Ok(())
}

/// Whether a script that inserts tells why it inserted nothing. What it inserts is told in another shape.
pub(super) fn is_refusal(answer: &Value) -> bool {
    matches!(answer, Value::Array(_))
}

/// Why a script inserts nothing: the reason, and what it is about.
pub(crate) fn refused(limits: &Limits, refusal: Vec<Value>) -> Result<Error> {
    let mut values = refusal.into_iter();
    let mut next = || values.next().unwrap_or(Value::Nil);
    let reason = wire::text(next())?;
    Ok(match reason.as_str() {
        "delay" => too_far(limits, wire::int(&next())?),
        "full" => Error::QueueFull { queue: wire::text(next())?, depth: wire::count(&next())? },
        _ => unreadable("a refusal", "its reason is unknown"),
    })
}

/// Each answer is one byte, followed by an id unless the job is new.
pub(crate) fn read(answers: &[u8], jobs: &[NewJob]) -> Result<Vec<Inserted>> {
    let odd = || unreadable("the answers of an insert", "they have another shape");
    let mut rest = answers;
    let mut inserted = Vec::with_capacity(jobs.len());
    for job in jobs {
        let (&code, after) = rest.split_first().ok_or_else(odd)?;
        if code == 0 {
            rest = after;
            inserted.push(Inserted::New(job.id));
            continue;
        }
        let (id, after) = after.split_at_checked(16).ok_or_else(odd)?;
        rest = after;
        let existing = JobId::from_slice(id)?;
        inserted.push(match code {
            1 => Inserted::Duplicate { existing },
            2 => Inserted::Replaced { existing },
            3 => Inserted::Rejected { existing },
            _ => return Err(odd()),
        });
    }
    Ok(inserted)
}
