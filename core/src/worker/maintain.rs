//! Upkeep that any worker may do: moving time on, pruning, and following the queues' settings. None of it is a job.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::backoff::{Pause, jittered};
use super::error_text;
use super::shared::Shared;
use crate::{BlobKey, Maintained, Result, Retention};

/// Time between two readings of the settings, however many hints come.
const SETTINGS: Duration = Duration::from_secs(1);
/// Blobs deleted in one call.
const BLOBS: usize = 500;
/// How often such a call is halved to find the keys at fault; enough for two of them.
const HALVINGS: u32 = 20;

/// Promotes what is due and rescues what is lost, at each interval and when a job is known to be due.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut pause = Pause::after_error();
    loop {
        shared.clear_due();
        let call = shared.backend().maintain(shared.options.maintenance_batch);
        let rest = match shared.call("maintain", call).await {
            Ok(done) => {
                pause.reset();
                maintained(&shared, &done)
            }
            Err(error) => {
                tracing::warn!(error = %error_text(&error), "maintenance failed and is repeated");
                pause.next()
            }
        };
        if !until_due(&shared, Instant::now() + rest).await {
            return;
        }
    }
}

/// Tells what was done; answers how long to rest.
fn maintained(shared: &Shared, done: &Maintained) -> Duration {
    if done.promoted > 0 || !done.rescued.is_empty() {
        shared.look.notify_one();
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
    jittered(shared.options.maintenance)
}

/// Sleeps until then, or until a job is due before. False when the worker ends.
async fn until_due(shared: &Shared, at: Instant) -> bool {
    // A job that is due but can't be promoted must not make a loop.
    let soonest = Instant::now() + Duration::from_millis(1);
    loop {
        let next = shared.due().map_or(at, |due| due.max(soonest).min(at));
        tokio::select! {
            biased;
            () = shared.halt.cancelled() => return false,
            () = sleep_until(next) => return true,
            () = shared.due_changed.notified() => {}
        }
    }
}

/// Removes what is past its retention, from time to time.
pub(crate) async fn prune(shared: Arc<Shared>) {
    let Some(retention) = shared.options.retention.clone() else {
        return shared.halt.cancelled().await;
    };
    loop {
        tokio::select! {
            biased;
            () = sleep(jittered(shared.options.prune)) => {}
            () = shared.halt.cancelled() => return,
        }
        if let Err(error) = prune_all(&shared, &retention).await {
            tracing::warn!(error = %error_text(&error), "pruning failed and is repeated later");
        }
    }
}

/// In bounded batches: rows first, then the blobs that nothing refers to, then the word that these are gone. Blobs that
/// can't be deleted are named again in the next round, and keep no rows.
async fn prune_all(shared: &Shared, retention: &Retention) -> Result<()> {
    let mut failed = HashSet::new();
    while !shared.stop.is_cancelled() {
        let call = shared.backend().prune(retention, shared.options.prune_batch);
        let mut pruned = shared.call("prune", call).await?;
        pruned.blobs.retain(|key| !failed.contains(key));
        for chunk in pruned.blobs.chunks(BLOBS) {
            delete_blobs(shared, chunk, &mut failed).await;
        }
        if !pruned.more {
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

/// Follows the settings of the worker's queues: at each hint, at most once a second, and from time to time.
pub(crate) async fn settings(shared: Arc<Shared>) {
    let queues = shared.slots.queues();
    let longest = shared.options.poll_max.max(SETTINGS);
    let follow = async {
        loop {
            match shared.call("queue_settings", shared.backend().queue_settings(&queues)).await {
                Ok(settings) => shared.slots.resize(&settings),
                Err(error) => {
                    tracing::debug!(error = %error_text(&error), "can't read the settings of the queues yet");
                }
            }
            sleep(SETTINGS).await;
            let _ = timeout(longest, shared.settings_hint.notified()).await;
        }
    };
    tokio::select! {
        biased;
        () = follow => {}
        () = shared.halt.cancelled() => {}
    }
}
