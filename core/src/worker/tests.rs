//! What has no public door in this module: follow-up jobs, and completion in the host's own transaction.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::*;

#[derive(Serialize, Deserialize)]
struct Step(u32);

impl Job for Step {
    const KIND: &'static str = "step";
    type Output = u32;
    fn backoff() -> Backoff {
        Backoff::fixed(Duration::from_secs(10)).with_jitter(0.0)
    }
}

fn step(n: u32, max_attempts: u32) -> NewJob {
    let (kind, queue) = (Kind::new("step").unwrap(), QueueName::new("default").unwrap());
    let mut job = NewJob::new(kind, queue, Payload::json(&Step(n)).unwrap());
    job.max_attempts = max_attempts;
    job
}

fn world() -> (MemoryBackend, Client) {
    let memory = MemoryBackend::with_tokio_clock();
    (memory.clone(), Client::new(Arc::new(memory)).erase())
}

fn worker<H: Handler<Step, ()>>(client: &Client, handler: H) -> RunningWorker {
    let worker = Worker::new(client).options(|o| o.heartbeat_thread = false);
    worker.register(handler).queue("default", 2).start().unwrap()
}

/// Waits, in paused time, until no job waits or runs any more.
async fn all_final(memory: &MemoryBackend) -> Stats {
    for _ in 0..10_000 {
        let stats = memory.stats(&StatsQuery::default()).await.unwrap();
        let sum: u64 = stats.counts.iter().map(|c| c.jobs).sum();
        if State::FINAL.iter().map(|s| stats.in_state(*s)).sum::<u64>() == sum {
            return stats;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("some job never ended");
}

#[tokio::test(start_paused = true)]
async fn follow_ups_commit_with_the_completion_and_only_with_it() {
    let (memory, client) = world();
    memory.insert(&[step(0, 1), step(1, 1)]).await.unwrap();
    let _worker = worker(&client, |job: Step, cx: Context| async move {
        if job.0 < 2 {
            cx.add_follow_up(step(10 + job.0, 1))?;
        }
        match job.0 {
            1 => Err("after all, no".into()),
            n => Ok(n),
        }
    });
    let stats = all_final(&memory).await;
    assert_eq!((stats.in_state(State::Completed), stats.in_state(State::Discarded)), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn follow_ups_are_bounded_and_checked_where_they_are_added() {
    let (memory, client) = world();
    memory.insert(&[step(0, 1)]).await.unwrap();
    let _worker = worker(&client, |_: Step, cx: Context| async move {
        assert!(matches!(cx.add_follow_up(step(1, 0)), Err(Error::Invalid { .. })));
        for _ in 0..cx.client().limits().follow_ups {
            cx.add_follow_up(step(1, 1))?;
        }
        let error = cx.add_follow_up(step(1, 1)).unwrap_err();
        assert!(matches!(error, Error::LimitExceeded { .. }), "{error}");
        Err(Stop::discard("enough"))
    });
    let stats = all_final(&memory).await;
    assert_eq!((stats.in_state(State::Discarded), stats.in_state(State::Completed)), (1, 0));
}

fn completed() -> AttemptOutcome {
    AttemptOutcome::Completed { result: None, blobs: Vec::new() }
}

/// What the client's `complete_in` does, with the memory backend in the place of a transaction.
async fn commit(cx: &Context, memory: &MemoryBackend) {
    let (completing, settlement) = cx.begin_complete_in(completed()).await;
    let settled = memory.settle(&[settlement]).await.unwrap();
    assert_eq!(settled, [Settled::Applied { state: State::Completed }]);
    completing.applied();
}

/// The job stops running under its key in mid-run, by the handler's own doing: no reason to abort it.
#[tokio::test(start_paused = true)]
async fn a_job_completed_by_the_host_is_settled_once_and_its_handler_goes_on() {
    let (memory, client) = world();
    memory.insert(&[step(0, 1)]).await.unwrap();
    let backend = memory.clone();
    let worker = worker(&client, move |job: Step, cx: Context| {
        let backend = backend.clone();
        async move {
            cx.log(LogLevel::Info, "once");
            if job.0 == 0 {
                cx.add_follow_up(step(1, 1))?;
                commit(&cx, &backend).await;
                tokio::time::sleep(Duration::from_secs(60)).await; // several heartbeats
                assert_eq!(cx.cancel_cause(), None);
            }
            Ok(0)
        }
    });
    tokio::time::sleep(Duration::from_secs(120)).await;
    let stats = all_final(&memory).await;
    assert_eq!(stats.in_state(State::Completed), 2);
    assert_eq!((worker.stats().completed, worker.stats().lost), (2, 0));
    let feed = memory.events(&EventFilter::default(), None, 100).await.unwrap();
    let ends = feed
        .events
        .iter()
        .filter(|e| matches!(&e.body, EventBody::State { to, .. } if *to == State::Completed));
    assert_eq!(ends.count(), 2);
}

/// The transaction was rolled back, yet the handler returned Ok: the worker does not take its word for it.
#[tokio::test(start_paused = true)]
async fn a_completion_that_was_not_committed_is_a_failed_attempt() {
    let (memory, client) = world();
    let id = memory.insert(&[step(0, 2)]).await.unwrap()[0].id();
    let backend = memory.clone();
    let _worker = worker(&client, move |_: Step, cx: Context| {
        let backend = backend.clone();
        async move {
            match cx.attempt() {
                1 => cx.begin_complete_in(completed()).await.0.applied(),
                _ => commit(&cx, &backend).await,
            }
            Ok(0)
        }
    });
    all_final(&memory).await;
    let job = memory.get(id).await.unwrap().unwrap();
    assert_eq!((job.state, job.attempt), (State::Completed, 2));
    assert!(job.errors[0].message.contains("not committed"), "{}", job.errors[0].message);
}

/// Of what waits while the host's transaction is at it, nobody hears again by itself.
#[tokio::test(start_paused = true)]
async fn notes_are_recorded_after_a_completion_that_failed() {
    let (memory, client) = world();
    let id = memory.insert(&[step(0, 1)]).await.unwrap()[0].id();
    let _worker = worker(&client, |_: Step, cx: Context| async move {
        cx.log(LogLevel::Info, "a line");
        let (completing, settlement) = cx.begin_complete_in(completed()).await;
        assert_eq!(settlement.notes.len(), 1);
        tokio::time::sleep(Duration::from_secs(10)).await;
        drop(completing);
        tokio::time::sleep(Duration::from_secs(60)).await;
        Ok(0)
    });
    let lines = async || {
        let events = memory.history(id, None, 100).await.unwrap().events;
        events.iter().filter(|e| matches!(e.body, EventBody::Note(_))).count()
    };
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(lines().await, 0, "they are the host's");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(lines().await, 1);
}
