//! Settling: outcomes are gathered, settled in batches, and repeated until they are answered or the lease ends. What
//! fails goes aside, each outcome for itself, and holds up no others.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::backoff::Pause;
use super::outcome::failure;
use super::shared::{Held, Shared};
use super::{error_text, lock};
use crate::{AttemptOutcome, Error, FailureKind, Result, Settled, Settlement, State};

/// Failed calls after which the settlements of a batch are tried one by one, so that none holds up the others.
const TOGETHER: u32 = 3;
/// Calls at once for settlements that are tried one by one.
const ASIDE: usize = 4;
/// Failures for good after which a settlement is changed, and in the end dropped; about a quarter of a minute.
const TRIES: u32 = 8;

/// An outcome on its way.
pub(crate) struct Item {
    settlement: Settlement,
    /// The attempt; none for a job that this worker only gives back.
    held: Option<Held>,
    refusals: u32,
}

impl Item {
    pub(crate) fn new(settlement: Settlement, held: Option<Held>) -> Self {
        Self { settlement, held, refusals: 0 }
    }

    /// Whether it is still worth sending.
    fn is_wanted(&self) -> bool {
        self.held.as_ref().is_none_or(Held::is_owned)
    }

    fn tell_failure(&self, text: &str) {
        let Some((failure, held)) = self.settlement.outcome.failure().zip(self.held.as_ref())
        else {
            return;
        };
        let lease = &held.attempt.lease;
        tracing::info!(
            job = %lease.key.job,
            kind = %lease.kind,
            queue = %lease.queue,
            attempt = lease.attempt,
            failure = ?failure.kind,
            error = %failure.message,
            "{text}"
        );
    }

    /// What to settle after a refusal: without notes, then as a failure, then as the end. False when all was refused.
    fn fall_back(&mut self, shared: &Shared, reason: &str) -> bool {
        let Some(held) = &self.held else { return false };
        tracing::warn!(job = %self.settlement.key.job, reason, "a settlement was refused");
        if !self.settlement.notes.is_empty() {
            self.settlement.notes.clear();
            return true;
        }
        self.settlement.follow_ups.clear();
        let text = format!("the outcome was refused: {reason}");
        let failure = failure(shared.client.limits(), FailureKind::Error, &text);
        self.settlement.outcome = match self.refusals {
            0 => held.attempt.failed(failure, None),
            1 => AttemptOutcome::Discarded { failure },
            _ => return false,
        };
        self.refusals += 1;
        true
    }
}

/// Settles what comes, until the worker ends.
pub(crate) async fn run(shared: Arc<Shared>, mut items: mpsc::Receiver<Item>) {
    let mut aside = Aside::new();
    loop {
        // What is aside counts as waiting, so that an outage holds back claims.
        let room = aside.tasks.len() < shared.options.settle_buffer;
        let first = tokio::select! {
            biased;
            () = shared.halt.cancelled() => return,
            Some(end) = aside.tasks.join_next() => {
                ended(end);
                continue;
            }
            item = items.recv(), if room => item,
        };
        let Some(first) = first else { return };
        let mut batch = vec![first];
        gather(&shared, &mut items, &mut batch).await;
        if batch.len() >= shared.options.settle_batch.min(shared.options.settle_buffer) {
            // The buffer may have been full, which holds back claims.
            shared.slots.look_again();
        }
        for item in settle(&shared, batch).await {
            aside.put(&shared, item);
        }
    }
}

/// Items that are tried each for itself, with pauses of their own. Dropped, and with it the items, when the worker ends.
struct Aside {
    tasks: JoinSet<()>,
    calls: Arc<Semaphore>,
}

impl Aside {
    fn new() -> Self {
        Self { tasks: JoinSet::new(), calls: Arc::new(Semaphore::new(ASIDE)) }
    }

    fn put(&mut self, shared: &Arc<Shared>, item: Item) {
        self.tasks.spawn(alone(shared.clone(), self.calls.clone(), item));
    }
}

/// A panic goes on to where the parts of the worker are watched.
fn ended(end: Result<(), JoinError>) {
    if let Err(error) = end
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}

/// Adds what waits already, and what comes within the gather window.
async fn gather(shared: &Shared, items: &mut mpsc::Receiver<Item>, batch: &mut Vec<Item>) {
    let most = shared.options.settle_batch;
    let until = Instant::now() + shared.options.settle_gather;
    while batch.len() < most {
        if let Ok(item) = items.try_recv() {
            batch.push(item);
        } else if shared.options.settle_gather.is_zero() {
            return;
        } else {
            match tokio::time::timeout_at(until, items.recv()).await {
                Ok(Some(item)) => batch.push(item),
                _ => return,
            }
        }
    }
}

/// Sends a batch until every item is answered or not wanted any more. Answers what is better tried one by one.
async fn settle(shared: &Shared, mut batch: Vec<Item>) -> Vec<Item> {
    let mut pause = Pause::after_error();
    let mut failures = 0;
    loop {
        drop_lost(shared, &mut batch);
        if batch.is_empty() {
            return batch;
        }
        let error = match send(shared, &batch).await {
            Ok(answers) => {
                let (mut busy, mut again) = (Vec::new(), Vec::new());
                for (item, answer) in batch.into_iter().zip(answers) {
                    match answer {
                        Settled::Busy => busy.push(item),
                        answer => again.extend(take(shared, item, answer)),
                    }
                }
                if !busy.is_empty() {
                    busy.append(&mut again);
                    return busy;
                }
                batch = again;
                continue; // refused ones go again, at once
            }
            Err(error) => error,
        };
        failures += 1;
        tracing::warn!(jobs = batch.len(), error = %error_text(&error), "settling failed and is repeated");
        if failures >= TOGETHER || !error.is_transient() {
            return batch;
        }
        tokio::select! {
            biased;
            () = tokio::time::sleep(pause.next()) => {}
            () = shared.halt.cancelled() => return Vec::new(),
        }
    }
}

/// Sends one item until it is answered, not wanted any more, or given up.
async fn alone(shared: Arc<Shared>, calls: Arc<Semaphore>, mut item: Item) {
    let mut pause = Pause::after_error();
    let mut failures = 0;
    while item.is_wanted() {
        let answer = {
            // Never closed. A call that hangs keeps its place, and leaves the others to the rest.
            let _place = calls.acquire().await;
            send(&shared, std::slice::from_ref(&item)).await
        };
        let error = match answer.map(|answers| answers.into_iter().next()) {
            Ok(Some(Settled::Busy)) => {
                tracing::debug!(job = %item.settlement.key.job, "somebody else is changing a job; settling it is repeated");
                tokio::time::sleep(pause.next()).await;
                continue;
            }
            Ok(Some(answer)) => match take(&shared, item, answer) {
                Some(again) => {
                    item = again;
                    continue;
                }
                None => return,
            },
            Ok(None) => continue, // `send` counts the answers
            Err(error) => error,
        };
        if !error.is_transient() {
            failures += 1;
            if (is_callers(&error) || failures >= TRIES)
                && !item.fall_back(&shared, &error_text(&error))
            {
                give_up(&shared, &item, &error);
                return;
            }
        }
        tracing::warn!(job = %item.settlement.key.job, error = %error_text(&error), "settling one job failed and is repeated");
        tokio::time::sleep(pause.next()).await;
    }
    lock(&shared.stats).lost += 1;
}

/// The job runs on in the store, under this worker: a heartbeat will name it as unknown here, and it is released.
fn give_up(shared: &Shared, item: &Item, error: &Error) {
    lock(&shared.stats).lost += 1;
    tracing::error!(
        job = %item.settlement.key.job,
        error = %error_text(error),
        "the outcome can't be settled and is dropped: the job is released once the backend lets it be"
    );
}

fn drop_lost(shared: &Shared, batch: &mut Vec<Item>) {
    let before = batch.len();
    batch.retain(Item::is_wanted);
    lock(&shared.stats).lost += (before - batch.len()) as u64;
}

/// Whether the error is about the settlement itself, so that repeating it is no use.
fn is_callers(error: &Error) -> bool {
    matches!(error, Error::Invalid { .. } | Error::LimitExceeded { .. } | Error::Encode { .. })
}

/// One call. Readiness tells of one that failed, but not of a single settlement that the backend can't take.
async fn send(shared: &Shared, batch: &[Item]) -> Result<Vec<Settled>> {
    let settlements: Vec<Settlement> = batch.iter().map(|item| item.settlement.clone()).collect();
    let answers = shared.call("settle", shared.backend().settle(&settlements)).await;
    match &answers {
        Ok(_) => {
            shared.health.settle.store(true, Ordering::Relaxed);
            lock(&shared.stats).settle_calls += 1;
        }
        Err(error) if batch.len() > 1 || error.is_transient() => {
            shared.health.settle.store(false, Ordering::Relaxed);
        }
        Err(_) => {}
    }
    let answers = answers?;
    if answers.len() == batch.len() {
        return Ok(answers);
    }
    Err(Error::Backend {
        backend: shared.backend().name(),
        during: "settle",
        source: format!("{} answers to {} settlements", answers.len(), batch.len()).into(),
    })
}

/// Takes an answer; gives the item back when it is to be sent again in another form.
fn take(shared: &Shared, mut item: Item, answer: Settled) -> Option<Item> {
    match answer {
        Settled::Applied { state } | Settled::Already { state } => {
            lock(&shared.stats).count(&item.settlement.outcome, state);
            // Only now: a job that the host's transaction completed is settled as a failure as well, in vain.
            if state != State::Completed {
                item.tell_failure("the attempt failed");
            }
            if let AttemptOutcome::Retry { delay, .. } | AttemptOutcome::Snoozed { delay } =
                item.settlement.outcome
                && let Some(at) = Instant::now().checked_add(delay)
            {
                shared.due_at(at);
            }
            None
        }
        Settled::Lost => {
            lock(&shared.stats).lost += 1;
            tracing::warn!(job = %item.settlement.key.job, "the lease was lost before the outcome was settled");
            item.tell_failure("the attempt had failed");
            None
        }
        Settled::Refused { reason } => item.fall_back(shared, &reason).then_some(item),
        Settled::Busy => Some(item),
    }
}
