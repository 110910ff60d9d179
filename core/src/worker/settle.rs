//! Settling: outcomes are gathered, settled in batches, and repeated until they are answered or the lease ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::backoff::Pause;
use super::outcome::failure;
use super::shared::{Held, Shared};
use super::{error_text, lock};
use crate::{AttemptOutcome, Error, FailureKind, Result, Settled, Settlement};

/// Failed calls after which the settlements of a batch are tried one by one, so that none holds up the others.
const TOGETHER: u32 = 3;

/// An outcome on its way.
pub(crate) struct Item {
    settlement: Settlement,
    /// The slots of the attempt; none for a job that this worker only gives back.
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
    loop {
        let first = tokio::select! {
            biased;
            item = items.recv() => item,
            () = shared.halt.cancelled() => return,
        };
        let Some(first) = first else { return };
        let mut batch = vec![first];
        gather(&shared, &mut items, &mut batch).await;
        settle(&shared, batch).await;
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

/// Sends a batch until every item is answered or not wanted any more.
async fn settle(shared: &Shared, mut batch: Vec<Item>) {
    let mut pause = Pause::after_error();
    let mut failures = 0;
    loop {
        drop_lost(shared, &mut batch);
        if batch.is_empty() {
            return;
        }
        let (left, error) = if failures >= TOGETHER {
            one_by_one(shared, batch).await
        } else {
            together(shared, batch).await
        };
        batch = left;
        let Some(error) = error else {
            failures = 0;
            continue; // refused ones go again, at once
        };
        if is_callers(&error) && failures < TOGETHER {
            failures = TOGETHER;
            continue;
        }
        shared.health.settle.store(false, Ordering::Relaxed);
        failures = failures.saturating_add(1);
        tracing::warn!(jobs = batch.len(), error = %error_text(&error), "settling failed and is repeated");
        tokio::select! {
            () = tokio::time::sleep(pause.next()) => {}
            () = shared.halt.cancelled() => return,
        }
    }
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

/// One call for all. Answers what is left, and the error if there was one.
async fn together(shared: &Shared, batch: Vec<Item>) -> (Vec<Item>, Option<Error>) {
    match send(shared, &batch).await {
        Ok(answers) => {
            shared.health.settle.store(true, Ordering::Relaxed);
            lock(&shared.stats).settle_calls += 1;
            let answered = batch.into_iter().zip(answers);
            (answered.filter_map(|(item, answer)| take(shared, item, answer)).collect(), None)
        }
        Err(error) => (batch, Some(error)),
    }
}

/// A call for each.
async fn one_by_one(shared: &Shared, batch: Vec<Item>) -> (Vec<Item>, Option<Error>) {
    let mut left = Vec::new();
    let mut last = None;
    for item in batch {
        let (mut item, error) = together(shared, vec![item]).await;
        match error {
            Some(error) if is_callers(&error) => {
                item.retain_mut(|item| item.fall_back(shared, &error_text(&error)));
            }
            Some(error) => last = Some(error),
            None => {}
        }
        left.append(&mut item);
    }
    (left, last)
}

async fn send(shared: &Shared, batch: &[Item]) -> Result<Vec<Settled>> {
    let settlements: Vec<Settlement> = batch.iter().map(|item| item.settlement.clone()).collect();
    let answers = shared.call("settle", shared.backend().settle(&settlements)).await?;
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
            None
        }
        Settled::Refused { reason } => item.fall_back(shared, &reason).then_some(item),
    }
}
