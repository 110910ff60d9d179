//! Leases of workers.

use std::collections::HashMap;

use redis::Value;
use windlass_core::kit::{micros, unreadable};
use windlass_core::{
    Beat, ClaimId, Epoch, Error, Heartbeat, JobId, LeaseKey, Result, WorkerId, WorkerInfo,
    WorkerLease,
};

use crate::backend::Inner;
use crate::pack::pack;
use crate::script::Args;
use crate::wire;

/// Workers in one script.
const WORKERS: usize = 50;

/// Grants a lease, or extends one that has not run out.
pub(crate) async fn register(inner: &Inner, info: &WorkerInfo) -> Result<WorkerLease> {
    inner.hub.check_open()?;
    inner.aside.know(info.id, info.lease);
    let queues: Vec<&str> = info.queues.iter().map(|queue| queue.as_str()).collect();
    let described = pack(&(info.name.as_str(), queues));
    let args = Args::new().bytes(info.id.as_bytes()).int(micros(info.lease)).bytes(described);
    let script = &inner.scripts.register;
    let granted = inner.aside.call("register", info.id, script, &inner.namespace, args).await?;
    if wire::int(&granted)? == 0 {
        inner.aside.forget(info.id);
        return Err(Error::WorkerExpired { worker: info.id });
    }
    Ok(WorkerLease { worker: info.id, lease: info.lease })
}

/// Extends leases, and compares what each worker holds with what is stored.
pub(crate) async fn heartbeats(inner: &Inner, beats: &[Beat]) -> Result<Vec<Heartbeat>> {
    inner.hub.check_open()?;
    let mut all = Vec::with_capacity(beats.len());
    for part in beats.chunks(WORKERS) {
        // The same each time: the others need no connection.
        let Some(first) = part.iter().map(|beat| beat.worker).min() else { break };
        inner.aside.share(part, first);
        let args = part.iter().fold(Args::new(), |args, beat| args.bytes(beat.worker.as_bytes()));
        let script = &inner.scripts.heartbeat;
        let answer = inner.aside.call("heartbeat", first, script, &inner.namespace, args).await?;
        let answers = wire::list(answer)?;
        if answers.len() != part.len() {
            return Err(unreadable("a heartbeat", "its answer is of another length"));
        }
        for (beat, answer) in part.iter().zip(answers) {
            let compared = compare(answer, &beat.owned)?;
            if matches!(compared, Heartbeat::Expired) {
                inner.aside.forget(beat.worker);
            }
            all.push(compared);
        }
    }
    Ok(all)
}

/// Compares what a worker holds with its part of the answer of `heartbeat.lua`.
pub(crate) fn compare(answer: Value, owned: &[LeaseKey]) -> Result<Heartbeat> {
    let mut answer = wire::list(answer)?.into_iter();
    if answer.next().map(|alive| wire::int(&alive)).transpose()? != Some(1) {
        return Ok(Heartbeat::Expired);
    }
    let mut fields = wire::list(answer.next().unwrap_or_default())?.into_iter();
    let mut held = HashMap::with_capacity(fields.len() / 2);
    while let (Some(id), Some(mark)) = (fields.next(), fields.next()) {
        let (key, cancelling) = owned_job(&wire::bytes(id)?, &wire::bytes(mark)?)?;
        held.insert(key, cancelling);
    }
    let (mut lost, mut cancel) = (Vec::new(), Vec::new());
    for key in owned {
        match held.remove(key) {
            None => lost.push(*key),
            Some(true) => cancel.push(*key),
            Some(false) => {}
        }
    }
    let mut orphaned: Vec<LeaseKey> = held.into_keys().collect();
    orphaned.sort_unstable();
    Ok(Heartbeat::Alive { lost, cancel, orphaned })
}

/// Reads a running job as its worker's hash has it: the key, and whether it is to be cancelled.
fn owned_job(id: &[u8], mark: &[u8]) -> Result<(LeaseKey, bool)> {
    let (epoch, rest) = mark
        .split_first_chunk::<4>()
        .ok_or_else(|| unreadable("a running job", "its mark is too short"))?;
    let (claim, cancelling) = rest.split_at(rest.len().saturating_sub(1));
    let key = LeaseKey {
        job: JobId::from_slice(id)?,
        epoch: Epoch(u32::from_be_bytes(*epoch)),
        claim_id: ClaimId::from_slice(claim)?,
    };
    Ok((key, cancelling == b"1"))
}

/// Ends a lease now, and the worker's connection with it.
pub(crate) async fn deregister(inner: &Inner, worker: WorkerId) -> Result<()> {
    inner.hub.check_open()?;
    let args = Args::new().bytes(worker.as_bytes());
    let script = &inner.scripts.deregister;
    inner.aside.call("deregister", worker, script, &inner.namespace, args).await?;
    inner.aside.forget(worker);
    Ok(())
}
