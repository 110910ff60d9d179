//! Upkeep that any worker may do: moving time on, pruning, and following the queues' settings. None of it is a job.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::backoff::jittered;
use super::error_text;
use super::options::WorkerOptions;
use super::shared::Shared;
use super::upkeep::HELD_UP;
use crate::{BlobKey, Error, Maintained, Result, Retention};

/// Time between two readings of the settings, however many hints come.
pub(crate) const SETTINGS: Duration = Duration::from_secs(1);
/// Blobs deleted in one call.
const BLOBS: usize = 500;
/// How often such a call is halved to find the keys at fault; enough for two of them.
const HALVINGS: u32 = 20;

/// Promotes what is due and rescues what is lost, in turn with the other workers of the client: at each interval and when a job is known to be due.
pub(crate) async fn run(shared: Arc<Shared>) {
    let rounds = async {
        loop {
            let turn = shared.upkeep().maintenance.take(HELD_UP).await;
            let call = shared.backend().maintain(shared.options.maintenance_batch);
            let rest = match shared.call("maintain", call).await {
                Ok(done) => maintained(&shared, &done),
                Err(Error::Closed(_)) => return,
                Err(error) => {
                    tracing::warn!(error = %error_text(&error), "maintenance failed and is repeated");
                    shared.upkeep().not_maintained()
                }
            };
            turn.done(Instant::now() + rest);
        }
    };
    until_halt(&shared, rounds).await;
}

/// Does something until the worker ends. What ends by itself has left its turn to the others.
pub(crate) async fn until_halt(shared: &Shared, rounds: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = rounds => shared.halt.cancelled().await,
        () = shared.halt.cancelled() => {}
    }
}

/// Tells what was done; answers how long to rest.
fn maintained(shared: &Shared, done: &Maintained) -> Duration {
    let rest = shared.upkeep().maintained(done.workers);
    if done.promoted > 0 || !done.rescued.is_empty() {
        shared.look.notify_one();
        if !shared.hears() {
            shared.upkeep().members().iter().for_each(|member| member.look.notify_one());
        }
    }
    if !done.rescued.is_empty() {
        tracing::warn!(
            jobs = done.rescued.len(),
            "jobs of lost workers or past their deadline were rescued"
        );
    }
    if done.more {
        return Duration::ZERO;
    }
    if let Some(at) = done.next_due.and_then(|due| Instant::now().checked_add(due)) {
        shared.due_at(at);
    }
    rest
}

/// Removes what is past its retention, from time to time, in turn with those that have the same.
pub(crate) async fn prune(shared: Arc<Shared>) {
    let Some(retention) = &shared.options.retention else {
        return shared.halt.cancelled().await;
    };
    let prune = shared.upkeep().prune(retention, shared.options.prune);
    let rounds = async {
        loop {
            let turn = prune.turns.take(shared.options.prune.max(shared.patience())).await;
            let same =
                |o: &WorkerOptions| (o.retention.as_ref() == Some(retention)).then_some(o.prune);
            let interval = shared.upkeep().shortest(same).unwrap_or(shared.options.prune);
            let share = shared.upkeep().pruned(interval);
            if share > interval && prune.begins() {
                // Clients that start together are not to prune together.
                turn.done(Instant::now() + share.mul_f64(fastrand::f64()));
                continue;
            }
            let rest = match prune_all(&shared, retention).await {
                Ok(()) => share,
                Err(Error::Closed(_)) => return,
                Err(error) => {
                    tracing::warn!(error = %error_text(&error), "pruning failed and is repeated later");
                    jittered(interval)
                }
            };
            if shared.stop.is_cancelled() {
                // It may have stopped in the middle: the others go on.
                return;
            }
            turn.done(Instant::now() + rest);
        }
    };
    until_halt(&shared, rounds).await;
}

/// In bounded batches: rows first, then the blobs that nothing refers to, then the word that these are gone. Blobs that
/// can't be deleted are named again in the next round, and keep no rows: where nothing but these comes, the round is over.
async fn prune_all(shared: &Shared, retention: &Retention) -> Result<()> {
    let mut failed = HashSet::new();
    while !shared.stop.is_cancelled() {
        let call = shared.backend().prune(retention, shared.options.prune_batch);
        let mut pruned = shared.call("prune", call).await?;
        pruned.blobs.retain(|key| !failed.contains(key));
        let nothing_new = pruned.jobs == 0 && pruned.events == 0 && pruned.blobs.is_empty();
        for chunk in pruned.blobs.chunks(BLOBS) {
            delete_blobs(shared, chunk, &mut failed).await;
        }
        if !pruned.more || nothing_new {
            break;
        }
    }
    if !failed.is_empty() {
        tracing::warn!(blobs = failed.len(), "blobs could not be deleted: tried again later");
    }
    Ok(())
}

/// Deletes blobs and confirms them, halving what fails for good until the keys at fault stand alone.
async fn delete_blobs(shared: &Shared, chunk: &[BlobKey], failed: &mut HashSet<BlobKey>) {
    let mut halvings = HALVINGS;
    let mut parts = vec![chunk];
    while let Some(part) = parts.pop() {
        if shared.halt.is_cancelled() {
            return;
        }
        let deleted = async {
            shared.call("delete", shared.client.storage().delete(part)).await?;
            shared.call("blobs_deleted", shared.backend().blobs_deleted(part)).await
        };
        let Err(error) = deleted.await else { continue };
        if part.len() > 1 && halvings > 0 && !error.is_transient() {
            halvings -= 1;
            let (first, second) = part.split_at(part.len() / 2);
            parts.extend([second, first]);
            continue;
        }
        tracing::warn!(blobs = part.len(), error = %error_text(&error), "can't delete blobs");
        failed.extend(part.iter().cloned());
    }
}

/// Follows the settings of the queues of all workers of the client: at each hint, at most once a second, and from time to time.
pub(crate) async fn settings(shared: Arc<Shared>) {
    let upkeep = shared.upkeep();
    let rounds = async {
        loop {
            let turn = upkeep.settings.take(HELD_UP).await;
            let queues = upkeep.queues();
            match shared.call("queue_settings", shared.backend().queue_settings(&queues)).await {
                Ok(settings) => {
                    upkeep.members().iter().for_each(|member| member.slots.resize(&settings));
                }
                Err(Error::Closed(_)) => return,
                Err(error) => {
                    tracing::debug!(error = %error_text(&error), "can't read the settings of the queues yet");
                }
            }
            turn.done(Instant::now() + settings_rest(&shared));
        }
    };
    until_halt(&shared, rounds).await;
}

fn settings_rest(shared: &Shared) -> Duration {
    let polled = shared.upkeep().shortest(|o| Some(o.poll_max)).unwrap_or(shared.options.poll_max);
    let polled = SETTINGS + polled.max(SETTINGS);
    if !shared.hears() {
        return polled;
    }
    let idle = shared.upkeep().shortest(|o| Some(o.idle_poll)).unwrap_or(shared.options.idle_poll);
    jittered(idle.max(polled))
}
