//! Jobs that wait for a handler that this worker doesn't have. They stay untouched, so without a word nobody would see
//! that a deploy forgot one.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::backoff::jittered;
use super::error_text;
use super::shared::Shared;
use crate::{Count, Kind, QueueName, State, StatsQuery};

/// Time between two looks: one reading of the counts of all queues of the worker.
const LOOK: Duration = Duration::from_secs(60);

/// Tells of each kind once.
pub(crate) async fn run(shared: Arc<Shared>) {
    let query = StatsQuery { queues: shared.slots.queues() };
    let mut told = HashSet::new();
    loop {
        tokio::select! {
            biased;
            () = sleep(jittered(LOOK)) => {}
            () = shared.halt.cancelled() => return,
        }
        match shared.call("stats", shared.backend().stats(&query)).await {
            Ok(stats) => tell(&shared, &stats.counts, &mut told),
            Err(error) => {
                tracing::debug!(error = %error_text(&error), "can't look for jobs without a handler yet");
            }
        }
    }
}

fn tell(shared: &Shared, counts: &[Count], told: &mut HashSet<(QueueName, Kind)>) {
    let is_strange = |count: &&Count| {
        count.state == State::Available && !shared.handlers.contains_key(&count.kind)
    };
    for Count { queue, kind, jobs, .. } in counts.iter().filter(is_strange) {
        if told.insert((queue.clone(), kind.clone())) {
            tracing::warn!(
                "{jobs} available jobs of kind `{kind}` in queue `{queue}`, for which this worker has no handler: \
                 register one, or cancel them"
            );
        }
    }
}
