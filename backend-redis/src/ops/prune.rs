//! Retention.

use std::time::Duration;

use windlass_core::kit::micros;
use windlass_core::{Pruned, Result, Retention};

use super::blobs;
use crate::backend::Inner;
use crate::script::{Args, Script};
use crate::wire;

/// Jobs removed by one script: about a millisecond of the server's time.
const JOBS: u64 = 40;
/// Entries of the feed removed by one script, which reads them: each may hold some hundred changes.
const ENTRIES: u64 = 32;

pub(crate) async fn prune(inner: &Inner, retention: &Retention, limit: u32) -> Result<Pruned> {
    let limit = u64::from(limit);
    let keep = |keep: Option<Duration>| keep.map_or(-1, micros);
    let Retention { completed, cancelled, discarded, .. } = retention;
    let kept = [completed, cancelled, discarded].map(|state| keep(*state));
    let jobs = |most: u64| kept.iter().fold(Args::new().int(most), |args, keep| args.int(keep));
    let mut done = Pruned::default();
    let (removed, more_jobs) = some(inner, &inner.scripts.prune_jobs, limit, JOBS, jobs).await?;
    let (mut events, mut more_events) = (0, false);
    if let Some(keep) = retention.events {
        let entries = |most: u64| Args::new().int(micros(keep)).int(most);
        let script = &inner.scripts.prune_events;
        (events, more_events) = some(inner, script, limit, ENTRIES, entries).await?;
    }
    (done.jobs, done.events, done.more) = (removed, events, more_jobs || more_events);
    done.blobs = blobs::doomed(inner).await?;
    Ok(done)
}

/// Runs a script until it is done or has reached the limit: how much it removed, and whether there is more.
async fn some(
    inner: &Inner,
    script: &Script,
    limit: u64,
    at_once: u64,
    args: impl Fn(u64) -> Args,
) -> Result<(u64, bool)> {
    let mut removed = 0;
    loop {
        let most = at_once.min(limit - removed);
        let [count, more] = wire::items(inner.call("prune", script, args(most)).await?)?;
        removed += wire::count(&count)?;
        let more = wire::int(&more)? == 1;
        if !more || removed >= limit || most == 0 {
            return Ok((removed, more));
        }
    }
}
