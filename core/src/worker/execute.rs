//! Running attempts: a task for the handler, and one that watches over it until its outcome is on its way.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::SemaphorePermit;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tracing::Instrument;

use super::attempt::{Attempt, CancelCause};
use super::claim::Taken;
use super::course::Course;
use super::handler::{Ended, Erased};
use super::outcome::{ended, error_text, failed, panic_text, stopped};
use super::settle::Item;
use super::shared::{Held, Shared};
use super::slots::Place;
use super::{lock, payloads};
use crate::{AttemptOutcome, FailureKind, Lease, Payload, Settlement, Stop, WorkerId};

/// How long a job that was claimed ahead waits for a slot before others may have it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Takes over what a claim gave. `lane` is held until the first of its attempts is settled.
pub(crate) fn admit(
    shared: &Arc<Shared>,
    worker: WorkerId,
    taken: Taken,
    mut lane: Option<SemaphorePermit<'static>>,
) {
    let Taken { leases, since } = taken;
    for lease in leases {
        let known = shared.handlers.get(&lease.kind);
        let delay = known
            .map(|known| known.backoff.delay(lease.attempt, fastrand::f64()))
            .unwrap_or_default();
        let handler = known.map(|known| known.handler.clone());
        let course = Course::new(shared.notes_wake.clone(), shared.options.notes_buffer);
        let mut lease = lease;
        let args = take_args(&mut lease);
        let attempt = Arc::new(Attempt::new(lease, shared.client.clone(), since, delay, course));
        if let (Some(pool), true) = (&shared.pool, handler.as_ref().is_some_and(|h| h.blocking())) {
            attempt.keep_thread(pool.keep());
        }
        if !shared.registry.admit(worker, &attempt) {
            lock(&shared.stats).lost += 1;
            continue;
        }
        let place = shared.slots.enter(&attempt.lease.queue, &attempt.lease.kind);
        let held = Held::new(shared.clone(), attempt, lane.take());
        let shared = shared.clone();
        tokio::spawn(async move {
            match handler {
                Some(handler) => begin(&shared, worker, held, place, handler, args).await,
                None => {
                    tracing::error!(kind = %held.attempt.lease.kind, "the backend gave a job of a kind that was not asked for");
                    settle(&shared, held, place, AttemptOutcome::Released).await;
                }
            }
        });
    }
}

fn take_args(lease: &mut Lease) -> Payload {
    let empty = Payload { encoding: lease.args.encoding, bytes: bytes::Bytes::new() };
    std::mem::replace(&mut lease.args, empty)
}

/// Waits for a slot and runs one attempt to its end.
async fn begin(
    shared: &Arc<Shared>,
    worker: WorkerId,
    held: Held,
    mut place: Place,
    handler: Arc<dyn Erased>,
    args: Payload,
) {
    let attempt = held.attempt.clone();
    // Nobody else should wait for a job that a stopping worker has claimed, or that is one too many here.
    let mut begins = !shared.stop.is_cancelled() && !place.is_surplus();
    if begins && !place.is_granted() {
        begins = tokio::select! {
            biased;
            () = place.granted() => true,
            () = attempt.token.cancelled() => false,
            () = shared.stop.cancelled() => false,
            () = tokio::time::sleep(PATIENCE) => false,
        };
    }
    if begins {
        supervise(shared, worker, held, place, handler, args).await;
        return;
    }
    // Its place may be no news to anybody; its thread is.
    if attempt.leave_thread() {
        shared.slots.look_again();
    }
    if attempt.course.begin_settling() {
        settle(shared, held, place, ended(&attempt)).await;
    } else {
        lock(&shared.stats).lost += 1;
    }
}

/// Runs one attempt to its end.
async fn supervise(
    shared: &Arc<Shared>,
    worker: WorkerId,
    held: Held,
    place: Place,
    handler: Arc<dyn Erased>,
    args: Payload,
) {
    let attempt = held.attempt.clone();
    let lease = &attempt.lease;
    let span = tracing::info_span!(
        "attempt",
        job = %lease.key.job,
        kind = %lease.kind,
        queue = %lease.queue,
        attempt = lease.attempt,
        %worker,
    );
    let call = {
        let (shared, attempt) = (shared.clone(), attempt.clone());
        async move {
            match payloads::resolve_args(&shared, args).await {
                Ok(args) => handler.call(args, attempt).await,
                Err(end) => end,
            }
        }
    };
    let task = tokio::spawn(call.instrument(span.clone()));
    attempt.course.set_abort(task.abort_handle());
    let ended = watch(shared, &attempt, task).await;
    attempt.leave_thread();
    async {
        // A lost attempt's slot is given back here, once its handler has ended.
        let Some(outcome) = outcome(shared, &attempt, ended).await else {
            lock(&shared.stats).lost += 1;
            tracing::warn!("the lease was lost: the attempt was aborted and is not settled");
            return;
        };
        settle(shared, held, place, outcome).await;
    }
    .instrument(span)
    .await;
}

/// What became of the handler's task; `None` when it was aborted.
type TaskEnd = Option<Ended>;

/// Waits for the handler to end by itself, or ends it.
async fn watch(shared: &Shared, attempt: &Attempt, mut task: JoinHandle<Ended>) -> TaskEnd {
    let deadline = async {
        match attempt.deadline {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    };
    let cause = tokio::select! {
        biased;
        end = &mut task => return joined(end),
        () = attempt.lost.cancelled() => CancelCause::LeaseLost,
        () = shared.drained.cancelled() => CancelCause::Shutdown,
        () = deadline => CancelCause::Deadline,
    };
    attempt.cancel(cause);
    if cause != CancelCause::LeaseLost {
        let grace = Instant::now() + shared.options.grace;
        tokio::select! {
            biased;
            end = &mut task => return joined(end),
            () = attempt.lost.cancelled() => {}
            () = tokio::time::sleep_until(grace) => {}
        }
    }
    task.abort();
    // A task that never yields can't be aborted; its slot is worth more than its end.
    let bound = timeout(shared.options.grace, &mut task).await;
    bound.ok().and_then(joined)
}

fn joined(end: Result<Ended, tokio::task::JoinError>) -> TaskEnd {
    match end {
        Ok(ended) => Some(ended),
        Err(error) => error.try_into_panic().ok().map(Ended::Panicked),
    }
}

/// The outcome to settle; `None` when the lease is lost.
async fn outcome(
    shared: &Arc<Shared>,
    attempt: &Arc<Attempt>,
    end: TaskEnd,
) -> Option<AttemptOutcome> {
    let outcome = match end {
        None | Some(Ended::NotRun) => ended(attempt),
        Some(Ended::Returned(Ok(_))) if attempt.course.is_completed_in() => {
            let text = "complete_in was called but its transaction was not committed: commit it \
                        before the handler returns";
            failed(attempt, FailureKind::Error, text)
        }
        Some(Ended::Returned(Ok(result))) => completed(shared, attempt, result).await,
        Some(Ended::Returned(Err(stop))) => guarded(attempt, stop),
        Some(Ended::BadArgs(error)) => failed(attempt, FailureKind::BadArgs, &error_text(&error)),
        Some(Ended::BadResult(error)) => failed(attempt, FailureKind::Error, &error_text(&error)),
        Some(Ended::Panicked(panic)) => failed(attempt, FailureKind::Panic, &panic_text(&*panic)),
    };
    attempt.course.begin_settling().then_some(outcome)
}

/// The error's own `Display` is the user's code and may panic, too.
fn guarded(attempt: &Attempt, stop: Stop) -> AttemptOutcome {
    std::panic::catch_unwind(AssertUnwindSafe(|| stopped(attempt, stop)))
        .unwrap_or_else(|panic| failed(attempt, FailureKind::Panic, &panic_text(&*panic)))
}

async fn completed(
    shared: &Arc<Shared>,
    attempt: &Arc<Attempt>,
    result: Payload,
) -> AttemptOutcome {
    let stored = payloads::offload_result(shared, result);
    let stored = tokio::select! {
        biased;
        stored = stored => stored,
        () = attempt.lost.cancelled() => return AttemptOutcome::Released, // dropped with the lease
    };
    match stored {
        Ok((result, blobs)) => AttemptOutcome::Completed { result, blobs },
        Err(error) => failed(
            attempt,
            FailureKind::Error,
            &format!("the result can't be stored\n{}", error_text(&error)),
        ),
    }
}

/// Hands an outcome to the settler, with all that belongs to it.
async fn settle(shared: &Arc<Shared>, held: Held, place: Place, outcome: AttemptOutcome) {
    let attempt = held.attempt.clone();
    let mut settlement = Settlement::new(attempt.key(), outcome);
    if matches!(settlement.outcome, AttemptOutcome::Completed { .. }) {
        settlement.follow_ups = attempt.follow_ups();
    } else if !attempt.course.is_completed_in() {
        let jobs = attempt.follow_ups().len();
        if jobs > 0 {
            tracing::warn!(job = %attempt.key().job, jobs, "the attempt did not complete: its follow-up jobs are dropped");
        }
    }
    // What is on its way shall arrive before, but an outcome is worth more than notes. Half of the flush is left for the settling itself.
    let _ = timeout(shared.options.flush / 2, attempt.course.landed()).await;
    settlement.notes = attempt.course.take();
    // Waits while the buffer is full, with the slot taken. Fails only when the worker has ended.
    let _ = shared.settlements.send(Item::new(settlement, Some(held))).await;
    drop(place);
}

/// Runs a part of the worker; a panic in it is an error that ends the worker, not a silent loss.
pub(crate) async fn guard(
    what: &'static str,
    part: impl Future<Output = ()> + Send,
) -> crate::Result<()> {
    AssertUnwindSafe(part).catch_unwind().await.map_err(|panic| crate::Error::Backend {
        backend: "worker",
        during: what,
        source: panic_text(&*panic).into(),
    })
}
