//! Upkeep that any worker may do: moving time on, pruning, and following the queues' settings. None of it is a job.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::backoff::{Pause, jittered};
use super::error_text;
use super::shared::Shared;
use crate::{Maintained, Result, Retention};

/// Time between two readings of the settings, however many hints come.
const SETTINGS: Duration = Duration::from_secs(1);

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
            () = sleep_until(next) => return true,
            () = shared.due_changed.notified() => {}
            () = shared.halt.cancelled() => return false,
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
            () = sleep(jittered(shared.options.prune)) => {}
            () = shared.halt.cancelled() => return,
        }
        if let Err(error) = prune_all(&shared, &retention).await {
            tracing::warn!(error = %error_text(&error), "pruning failed and is repeated later");
        }
    }
}

/// In bounded batches: rows first, then the blobs that nothing refers to, then the word that these are gone.
async fn prune_all(shared: &Shared, retention: &Retention) -> Result<()> {
    while !shared.stop.is_cancelled() {
        let call = shared.backend().prune(retention, shared.options.prune_batch);
        let pruned = shared.call("prune", call).await?;
        if !pruned.blobs.is_empty() {
            shared.call("delete", shared.client.storage().delete(&pruned.blobs)).await?;
            shared.call("blobs_deleted", shared.backend().blobs_deleted(&pruned.blobs)).await?;
        }
        if !pruned.more {
            return Ok(());
        }
    }
    Ok(())
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
        () = follow => {}
        () = shared.halt.cancelled() => {}
    }
}
