//! Jobs that wait for a handler that this worker doesn't have. They stay untouched, so without a word nobody would see
//! that a deploy forgot one.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::backoff::jittered;
use super::maintain::until_halt;
use super::shared::Shared;
use super::{error_text, lock};
use crate::{Count, Error, State, StatsQuery};

/// Time between two looks: one reading of the counts of all queues of the client's workers.
const LOOK: Duration = Duration::from_secs(60);

/// Looks for the workers of the client, in turn with the others.
pub(crate) async fn run(shared: Arc<Shared>) {
    let upkeep = shared.upkeep();
    upkeep.strangers.by(Instant::now() + jittered(LOOK));
    let rounds = async {
        loop {
            let turn = upkeep.strangers.take(shared.patience()).await;
            let query = StatsQuery { queues: upkeep.queues() };
            match shared.call("stats", shared.backend().stats(&query)).await {
                Ok(stats) => upkeep.members().iter().for_each(|member| tell(member, &stats.counts)),
                Err(Error::Closed(_)) => return,
                Err(error) => {
                    tracing::debug!(error = %error_text(&error), "can't look for jobs without a handler yet");
                }
            }
            turn.done(Instant::now() + jittered(LOOK));
        }
    };
    until_halt(&shared, rounds).await;
}

/// Tells of each kind once.
fn tell(shared: &Shared, counts: &[Count]) {
    let queues = shared.slots.queues();
    let is_strange = |count: &&Count| {
        count.state == State::Available
            && queues.contains(&count.queue)
            && !shared.handlers.contains_key(&count.kind)
    };
    let mut told = lock(&shared.told);
    for Count { queue, kind, jobs, .. } in counts.iter().filter(is_strange) {
        if told.insert((queue.clone(), kind.clone())) {
            tracing::warn!(
                "{jobs} available jobs of kind `{kind}` in queue `{queue}`, for which this worker has no handler: \
                 register one, or cancel them"
            );
        }
    }
}
