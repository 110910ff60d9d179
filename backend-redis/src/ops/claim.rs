//! Claims.

use std::collections::HashMap;

use redis::Value;
use windlass_core::kit::unreadable;
use windlass_core::{
    AttemptOutcome, ClaimRequest, Claimed, Encoding, Epoch, Error, Failure, FailureKind, JobId,
    Lane, Lease, LeaseKey, Result, Settlement,
};

use super::settle;
use crate::backend::Inner;
use crate::pack::pack;
use crate::records::Row;
use crate::script::Args;
use crate::wire;

/// Jobs that one script takes: some milliseconds of the server's time. A larger claim takes several, under one claim id.
const AT_ONCE: usize = 100;
/// Bytes of args that one script answers.
const BYTES: usize = 8 << 20;

/// Takes available jobs for a worker.
pub(crate) async fn claim(inner: &Inner, request: &ClaimRequest) -> Result<Claimed> {
    let version = inner.hub.version();
    let mut rest = Rest::of(request);
    let (mut leases, mut damaged) = (Vec::new(), Vec::new());
    let mut resend = request.resend;
    loop {
        let Part { jobs, next } = some(inner, request, &rest, resend).await?;
        resend = false;
        for job in jobs {
            match lease(request, job)? {
                Ok(lease) => {
                    rest.took(&lease);
                    leases.push(lease);
                }
                Err(unreadable) => damaged.push(unreadable),
            }
        }
        let Some(next) = next else { break };
        rest.go_on(next);
        if rest.queues.is_empty() {
            break;
        }
    }
    give_up(inner, damaged).await;
    inner.hub.claimed(request, &leases, version);
    Ok(Claimed::new(leases))
}

/// What a claim may still take.
struct Rest<'r> {
    queues: Vec<(&'r str, u32)>,
    /// -1 for no limit.
    kinds: Vec<(&'r str, i64)>,
    /// Jobs of each kind to step over in the first queue.
    passed: Vec<u64>,
}

/// Where a claim goes on: the queue, and how many of its jobs of each kind to step over.
pub(crate) struct Next {
    queue: usize,
    passed: Vec<u64>,
}

impl<'r> Rest<'r> {
    fn of(request: &'r ClaimRequest) -> Self {
        // A kind that is named twice has the limit that stands last.
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut kinds: Vec<(&str, i64)> = Vec::new();
        for slots in &request.kinds {
            let limit = slots.limit.map_or(-1, i64::from);
            let place = *places.entry(slots.kind.as_str()).or_insert(kinds.len());
            match kinds.get_mut(place) {
                Some(known) => known.1 = limit,
                None => kinds.push((slots.kind.as_str(), limit)),
            }
        }
        // The slots of a queue that is named twice add up.
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut queues: Vec<(&str, u32)> = Vec::new();
        for slots in &request.queues {
            let place = *places.entry(slots.queue.as_str()).or_insert(queues.len());
            match queues.get_mut(place) {
                Some(known) => known.1 = known.1.saturating_add(slots.limit),
                None => queues.push((slots.queue.as_str(), slots.limit)),
            }
        }
        Self { queues, kinds, passed: Vec::new() }
    }

    fn took(&mut self, lease: &Lease) {
        let queue = |q: &&mut (&str, u32)| q.0 == lease.queue.as_str() && q.1 > 0;
        if let Some((_, left)) = self.queues.iter_mut().find(queue) {
            *left -= 1;
        }
        let kind = self.kinds.iter_mut().find(|kind| kind.0 == lease.kind.as_str());
        if let Some((_, left)) = kind
            && *left > 0
        {
            *left -= 1;
        }
    }

    /// Leaves out the queues that are done with.
    fn go_on(&mut self, next: Next) {
        self.queues.drain(..next.queue.min(self.queues.len()));
        self.queues.retain(|(_, left)| *left > 0);
        self.passed = next.passed;
    }
}

/// One script's worth, and where to go on if there may be more.
struct Part {
    jobs: Vec<Value>,
    next: Option<Next>,
}

async fn some(
    inner: &Inner,
    request: &ClaimRequest,
    rest: &Rest<'_>,
    resend: bool,
) -> Result<Part> {
    let encodings: Vec<u8> =
        (0..=u8::MAX).filter(|code| Encoding::from_code(i64::from(*code)).is_some()).collect();
    let args = Args::new()
        .bytes(&inner.limits)
        .bytes(request.worker.as_bytes())
        .bytes(request.claim_id.as_bytes())
        .int(u8::from(request.lane == Lane::Quarantine))
        .int(u8::from(resend))
        .int(AT_ONCE)
        .int(BYTES)
        .bytes(pack(&rest.queues))
        .bytes(pack(&rest.kinds))
        .bytes(pack(&encodings))
        .bytes(pack(&rest.passed));
    let answer = wire::list(inner.call("claim", &inner.scripts.claim, args).await?)?;
    let Ok([more, jobs, queue, passed]) = <[Value; 4]>::try_from(answer) else {
        return Err(Error::WorkerExpired { worker: request.worker });
    };
    let next = if wire::int(&more)? == 1 { Some(next(&queue, passed)?) } else { None };
    Ok(Part { jobs: wire::list(jobs)?, next })
}

pub(crate) fn next(queue: &Value, passed: Value) -> Result<Next> {
    let odd = |_| unreadable("the answer of a claim", "it has another shape");
    let passed = rmp_serde::from_slice(&wire::bytes(passed)?).map_err(odd)?;
    let queue = usize::try_from(wire::count(queue)?).unwrap_or(usize::MAX);
    Ok(Next { queue: queue.saturating_sub(1), passed })
}

pub(crate) type Unreadable = (LeaseKey, Error);

/// A claimed job; or its key and why it can't be read.
pub(crate) fn lease(request: &ClaimRequest, job: Value) -> Result<Result<Lease, Unreadable>> {
    let [id, standing, body, args, progress] = wire::items(job)?;
    let id = JobId::from_slice(&wire::bytes(id)?)?;
    let row = Row::new(id, [standing, body, Value::Nil, progress, Value::Nil, args])?;
    let epoch =
        wire::unpack::<wire::Standing>(id, "s", row.standing.as_deref().unwrap_or_default())?;
    let key = LeaseKey { job: id, epoch: Epoch(epoch.epoch), claim_id: request.claim_id };
    Ok(row.record().map(|record| Lease::of(&record, key)).map_err(|error| (key, error)))
}

/// Discards jobs that were claimed and can't be read, so that they are in nobody's way. When that fails too, the next heartbeat finds them.
async fn give_up(inner: &Inner, damaged: Vec<Unreadable>) {
    for (key, error) in damaged {
        tracing::error!(job = %key.job, %error, "a job can't be read and is discarded");
        let message = format!("the stored job can't be read: {error}");
        let failure = Failure { kind: FailureKind::BadArgs, message };
        let settlement = Settlement::new(key, AttemptOutcome::Discarded { failure });
        if let Err(error) = settle::settle(inner, &[settlement]).await {
            tracing::error!(job = %key.job, %error, "a job that can't be read is not discarded yet");
        }
    }
}
