//! The worker on the memory backend, mostly under paused time: what becomes of jobs by what their handlers do.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests, too

mod worker_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use windlass_core::*;
use worker_support::*;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_job_runs_with_args_state_and_context_and_its_result_is_recorded() {
    let (memory, client) = paused();
    let id = insert_with(&memory, Alpha(20), |job| {
        job.meta.insert("trace".into(), "t1".into());
        job.tags = vec![Tag::new("red").unwrap()];
        job.timeout = Some(60 * SECOND);
    })
    .await;
    let worker = simulated(&client)
        .state(1_u64)
        .register(move |job: Alpha, cx: Context<u64>| async move {
            assert_eq!((cx.job_id(), cx.attempt(), cx.max_attempts()), (id, 1, 20));
            assert_eq!((cx.kind().as_str(), cx.queue().as_str()), ("alpha", "main"));
            assert_eq!((cx.meta()["trace"].as_str(), cx.tags()[0].as_str()), ("t1", "red"));
            assert_eq!(cx.idempotency_key(), id.to_string());
            assert!(cx.time_left().unwrap() <= 60 * SECOND && cx.cancel_cause().is_none());
            Ok(job.0 + cx.state())
        })
        .queue("main", 1)
        .start()
        .unwrap();
    let job = reaches(&memory, id, State::Completed).await;
    assert_eq!(job.result.unwrap().parse::<u64>().unwrap(), 21);
    assert_eq!(job.worker, worker.id());
    worker.shutdown();
    worker.join().await.unwrap();
    assert_eq!(memory.workers().await.unwrap(), []);
}

/// F50: one worker runs many kinds from many queues; closures need no type annotations beyond their args.
#[tokio::test(start_paused = true)]
async fn f50_one_worker_runs_many_kinds_from_many_queues() {
    let (memory, client) = paused();
    let ids = [
        insert(&memory, Alpha(1)).await,
        insert(&memory, Beta(2)).await,
        insert(&memory, Gamma(3)).await,
    ];
    async fn alpha(job: Alpha, _: Context) -> Outcome<u64> {
        Ok(job.0)
    }
    let _worker = simulated(&client)
        .register(alpha)
        .register(|job: Beta, _| async move { Ok(job.0) })
        .state("shared".to_owned())
        .register(|job: Gamma, cx: Context<String>| async move {
            assert_eq!(cx.state(), "shared");
            Ok(job.0)
        })
        .queue("main", 2)
        .queue("side", 2)
        .start()
        .unwrap();
    for id in ids {
        reaches(&memory, id, State::Completed).await;
    }
}

#[tokio::test]
async fn f50_what_is_wrong_with_a_worker_is_named_with_the_way_out() {
    let (_, client) = real();
    let ok = |job: Alpha, _: Context| async move { Ok(job.0) };
    let text = |worker: Worker| worker.start().unwrap_err().to_string();
    let cases = [
        (Worker::new(&client).queue("main", 1), ".register(handler)"),
        (Worker::new(&client).register(ok), ".queue("),
        (Worker::new(&client).register(ok).queue("no good", 1), "A-Z a-z 0-9"),
        (Worker::new(&client).register(ok).queue("main", 0), "at least 1"),
        (Worker::new(&client).register(ok).queue("main", 1).queue("main", 2), "named twice"),
        (Worker::new(&client).register(ok).register(ok).queue("main", 1), "two handlers"),
        (
            Worker::new(&client).register(ok).kind_concurrency::<Beta>(1).queue("main", 1),
            "no handler",
        ),
        (
            Worker::new(&client).register(ok).queue("main", 1).options(|o| o.lease = SECOND),
            "`heartbeat`",
        ),
    ];
    for (worker, part) in cases {
        let text = text(worker);
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn f5_a_panic_fails_the_attempt_and_gives_its_slot_back() {
    let (memory, client) = paused();
    let id = insert_with(&memory, Alpha(1), |job| job.max_attempts = 2).await;
    let worker = simulated(&client)
        .register(|job: Alpha, cx: Context| async move {
            assert!(cx.attempt() > 1, "number {}", job.0);
            Ok(1)
        })
        .queue("main", 1)
        .start()
        .unwrap();
    let job = reaches(&memory, id, State::Completed).await;
    assert_eq!((job.attempt, job.crashes), (2, 0));
    assert_eq!(job.errors[0].kind, FailureKind::Panic);
    assert!(job.errors[0].message.contains("number 1"), "{}", job.errors[0].message);
    assert_eq!(worker.stats().running, 0);
}

/// F20, F51: failed attempts are followed by the job's own backoff, and there are no more than it asked for.
#[tokio::test(start_paused = true)]
async fn f20_f51_retries_wait_for_their_backoff_and_end_with_max_attempts() {
    let (memory, client) = paused();
    let starts = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = starts.clone();
    let id = insert_with(&memory, Alpha(1), |job| job.max_attempts = 3).await;
    let worker = simulated(&client)
        .register(move |_: Alpha, _: Context| {
            seen.lock().unwrap().push(Instant::now());
            async { Err(std::io::Error::other("no luck").into()) }
        })
        .queue("main", 4)
        .start()
        .unwrap();
    let job = reaches(&memory, id, State::Discarded).await;
    assert_eq!(job.errors.len(), 3);
    assert!(job.errors.iter().all(|e| e.kind == FailureKind::Error && e.message == "no luck"));
    let starts = starts.lock().unwrap().clone();
    assert_eq!(starts.len(), 3);
    for pair in starts.windows(2) {
        let gap = pair[1] - pair[0];
        assert!(gap >= BACKOFF && gap < BACKOFF + 5 * SECOND, "{gap:?}");
    }
    let stats = worker.stats();
    assert_eq!((stats.retried, stats.discarded, stats.completed), (2, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn each_stop_leads_to_its_end() {
    let (memory, client) = paused();
    let _worker = simulated(&client)
        .register(|job: Alpha, cx: Context| async move {
            match (job.0, cx.attempt()) {
                (1, _) => Err(Stop::cancel("not wanted")),
                (2, _) => Err(Stop::discard("hopeless")),
                (3, 1) => Err(Stop::retry_after(100 * SECOND, "later")),
                _ => Ok(0),
            }
        })
        .queue("main", 4)
        .start()
        .unwrap();
    let begin = Instant::now();
    let ids = [
        insert(&memory, Alpha(1)).await,
        insert(&memory, Alpha(2)).await,
        insert(&memory, Alpha(3)).await,
    ];
    let job = reaches(&memory, ids[0], State::Cancelled).await;
    assert_eq!((job.errors[0].kind, job.attempt), (FailureKind::Cancelled, 1));
    let job = reaches(&memory, ids[1], State::Discarded).await;
    assert_eq!((job.errors[0].message.as_str(), job.attempt), ("hopeless", 1));
    reaches(&memory, ids[2], State::Completed).await;
    assert!(begin.elapsed() >= 100 * SECOND);
}

#[tokio::test]
async fn snoozes_give_the_attempt_back_until_they_are_used_up() {
    let mut limits = Limits::default();
    limits.snoozes = 3;
    let memory = MemoryBackend::with_limits(limits);
    let client = Client::new(Arc::new(memory.clone()));
    let id = insert_with(&memory, Alpha(1), |job| job.max_attempts = 1).await;
    let runs = Arc::new(AtomicU64::new(0));
    let count = runs.clone();
    let _worker = simulated(&client)
        .register(move |_: Alpha, cx: Context| {
            count.fetch_add(1, Ordering::Relaxed);
            assert_eq!(cx.attempt(), 1);
            async { Err(Stop::snooze(Duration::from_millis(1))) }
        })
        .queue("main", 1)
        .start()
        .unwrap();
    let job = reaches(&memory, id, State::Discarded).await;
    assert_eq!((job.snoozes, job.attempt, runs.load(Ordering::Relaxed)), (3, 1, 4));
    assert!(job.errors[0].message.contains("Limits::snoozes"), "{}", job.errors[0].message);
}

/// F12: a handler that takes no notice of its token loses its slot soon after its deadline.
#[tokio::test(start_paused = true)]
async fn f12_a_handler_past_its_deadline_is_told_then_aborted_and_its_slot_is_free() {
    let (memory, client) = paused();
    let told = Arc::new(AtomicU64::new(0));
    let seen = told.clone();
    let deaf = insert_with(&memory, Alpha(1), |job| {
        job.timeout = Some(5 * SECOND);
        job.max_attempts = 1;
    })
    .await;
    let _worker = simulated(&client)
        .register(move |job: Alpha, cx: Context| {
            let seen = seen.clone();
            async move {
                if job.0 == 1 {
                    assert_eq!(cx.cancelled().await, CancelCause::Deadline);
                    seen.store(1, Ordering::Relaxed);
                    std::future::pending::<()>().await;
                }
                Ok(0)
            }
        })
        .queue("main", 1)
        .start()
        .unwrap();
    let begin = Instant::now();
    let next = insert(&memory, Alpha(2)).await;
    let job = reaches(&memory, deaf, State::Discarded).await;
    assert_eq!(job.errors[0].kind, FailureKind::Timeout);
    assert!(begin.elapsed() >= 5 * SECOND && begin.elapsed() < 5 * SECOND + DEADLINE_GRACE);
    assert_eq!(told.load(Ordering::Relaxed), 1);
    reaches(&memory, next, State::Completed).await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_ends_at_its_deadline_still_completes() {
    let (memory, client) = paused();
    let id = insert_with(&memory, Alpha(1), |job| job.timeout = Some(5 * SECOND)).await;
    let _worker = simulated(&client)
        .register(|_: Alpha, cx: Context| async move {
            cx.cancelled().await;
            Ok(7)
        })
        .queue("main", 1)
        .start()
        .unwrap();
    reaches(&memory, id, State::Completed).await;
}

/// F13: the request is durable; the heartbeat brings it, whatever hints do.
#[tokio::test(start_paused = true)]
async fn f13_a_cancel_request_fires_the_token_and_only_success_survives_it() {
    let (memory, client) = paused();
    let _worker = simulated(&client)
        .register(|job: Alpha, cx: Context| async move {
            assert_eq!(cx.cancelled().await, CancelCause::Requested);
            if job.0 == 1 { Ok(1) } else { Err("stopped half-way".into()) }
        })
        .queue("main", 2)
        .start()
        .unwrap();
    let ids = [insert(&memory, Alpha(1)).await, insert(&memory, Alpha(2)).await];
    for id in ids {
        reaches(&memory, id, State::Running).await;
    }
    let changed = memory
        .change(&ChangeRequest::new(Selector::Ids(ids.to_vec()), Change::Cancel { reason: None }))
        .await
        .unwrap();
    assert_eq!(changed.count, 2);
    reaches(&memory, ids[0], State::Completed).await;
    let job = reaches(&memory, ids[1], State::Cancelled).await;
    assert_eq!(job.errors[0].kind, FailureKind::Cancelled);
}

/// F49: args that don't parse fail the attempt like any error; the worker lives on.
#[tokio::test(start_paused = true)]
async fn f49_args_that_do_not_parse_fail_the_attempt_and_the_worker_lives_on() {
    let (memory, client) = paused();
    let bad = insert_with(&memory, Alpha(1), |job| {
        job.args = Payload::json("secret text").unwrap();
        job.max_attempts = 2;
    })
    .await;
    let worker = simulated(&client)
        .register(|job: Alpha, _| async move { Ok(job.0) })
        .queue("main", 1)
        .start()
        .unwrap();
    let job = reaches(&memory, bad, State::Discarded).await;
    assert_eq!(job.errors.len(), 2);
    assert_eq!(job.errors[0].kind, FailureKind::BadArgs);
    let message = &job.errors[0].message;
    assert!(message.contains(&format!("args of kind `{}`", Alpha::KIND)), "{message}");
    assert!(message.contains("invalid type: string") && message.contains("default"), "{message}");
    // F52: the content stays out of the error.
    assert!(!message.contains("secret"), "{message}");
    let good = insert(&memory, Alpha(1)).await;
    reaches(&memory, good, State::Completed).await;
    assert!(worker.ready());
}

/// F9: jobs of kinds that this worker doesn't know are left alone.
#[tokio::test(start_paused = true)]
async fn f9_unknown_kinds_stay_untouched() {
    let (memory, client) = paused();
    let unknown = insert(&memory, Beta(1)).await;
    let known = insert(&memory, Alpha(1)).await;
    let _worker = simulated(&client)
        .register(|job: Alpha, _| async move { Ok(job.0) })
        .queue("main", 1)
        .start()
        .unwrap();
    reaches(&memory, known, State::Completed).await;
    let job = get(&memory, unknown).await;
    assert_eq!((job.state, job.attempt, job.epoch), (State::Available, 0, Epoch(0)));
}

#[tokio::test(start_paused = true)]
async fn progress_lines_and_events_stand_in_the_history_before_the_end() {
    let (memory, client) = paused();
    let id = insert(&memory, Alpha(1)).await;
    let _worker = simulated(&client)
        .register(|_: Alpha, cx: Context| async move {
            if cx.attempt() == 2 {
                assert_eq!(cx.last_progress().unwrap().done, 3);
                return Ok(1);
            }
            cx.progress((1, 4));
            cx.progress((2, 4));
            cx.log(LogLevel::Info, "half");
            cx.emit(EventName::new("page").unwrap(), &serde_json::json!({"n": 1}))?;
            tokio::time::sleep(5 * SECOND).await; // several times the time that notes gather
            cx.progress((3, 4));
            Err("again".into())
        })
        .queue("main", 1)
        .start()
        .unwrap();
    reaches(&memory, id, State::Completed).await;
    let page = memory.history(id, None, 100).await.unwrap();
    let told: Vec<String> = page
        .events
        .iter()
        .filter_map(|event| match &event.body {
            EventBody::Note(Note::Progress(p)) => Some(format!("progress {}", p.done)),
            EventBody::Note(Note::Log { message, .. }) => Some(message.clone()),
            EventBody::Note(Note::Host { name, data }) => Some(format!("{name} {}", data.get())),
            EventBody::State { to, .. } => Some(to.to_string()),
            _ => None,
        })
        .collect();
    let expected = [
        "available",
        "running",
        "progress 2",
        "half",
        "page {\"n\":1}",
        "progress 3",
        "retryable",
        "available",
        "running",
        "completed",
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn large_args_and_results_travel_through_the_storage() {
    let mut limits = Limits::default();
    limits.inline_result = 300; // room for a handle
    let memory = MemoryBackend::with_limits(limits);
    let client = Client::new(Arc::new(memory.clone()));
    let storage = memory.storage();
    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    struct Text(String);
    impl Job for Text {
        const KIND: &'static str = "text";
        type Output = String;
    }
    let text = "x".repeat(1_000);
    let key = BlobKey::new("args/1").unwrap();
    memory.stage_blobs(std::slice::from_ref(&key), 60 * SECOND).await.unwrap();
    let args = Payload::json(&Text(text.clone())).unwrap();
    let (args, blob) = storage::offload(&*storage, &key, args, 10, 10_000).await.unwrap();
    assert!(blob.is_some());
    let id = insert_with(&memory, Text(String::new()), |job| {
        job.args = args;
        job.blobs = vec![key];
    })
    .await;
    let _worker = simulated(&client)
        .register(|job: Text, _| async move { Ok(job.0) })
        .queue("default", 1)
        .start()
        .unwrap();
    let job = reaches(&memory, id, State::Completed).await;
    let result = job.result.unwrap();
    assert_eq!(result.encoding, Encoding::Blob);
    let result = storage::load(&*storage, result, 10_000).await.unwrap();
    assert_eq!(result.parse::<String>().unwrap(), text);
    // The blob belongs to the job: nobody is told to delete it while the job is kept, staged or not.
    memory.advance(48 * 3_600 * SECOND);
    assert_eq!(memory.prune(&Retention::keep_all(), 100).await.unwrap().blobs, []);
}

#[tokio::test(start_paused = true)]
async fn nothing_returned_is_no_result() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Quiet;
    impl Job for Quiet {
        const KIND: &'static str = "quiet";
        type Output = ();
    }
    let (memory, client) = paused();
    let id = insert(&memory, Quiet).await;
    let _worker = simulated(&client)
        .register(|_: Quiet, _| async { Ok(()) })
        .queue("default", 1)
        .start()
        .unwrap();
    assert_eq!(reaches(&memory, id, State::Completed).await.result, None);
}

/// Pruning takes jobs past their retention, and then the blobs that nothing refers to any more.
#[tokio::test(start_paused = true)]
async fn finished_jobs_are_pruned_with_their_blobs() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Report(Option<Blob>);
    impl Job for Report {
        const KIND: &'static str = "report";
        type Output = ();
    }
    let (memory, client) = paused();
    let storage = memory.storage();
    let key = BlobKey::new("reports/1").unwrap();
    memory.stage_blobs(std::slice::from_ref(&key), 3_600 * SECOND).await.unwrap();
    let blob = storage::put_bytes(&*storage, &key, &b"text"[..]).await.unwrap();
    let id = insert_with(&memory, Report(Some(blob)), |job| job.blobs = vec![key.clone()]).await;
    let _worker = simulated(&client)
        .options(|o| {
            let mut retention = Retention::keep_all();
            retention.completed = Some(600 * SECOND);
            o.retention = Some(retention);
        })
        .register(|_: Report, _| async { Ok(()) })
        .queue("default", 1)
        .start()
        .unwrap();
    reaches(&memory, id, State::Completed).await;
    tokio::time::sleep(500 * SECOND).await;
    assert!(storage.head(&key).await.unwrap().is_some());
    until("the job is pruned", || async { memory.get(id).await.unwrap().is_none() }).await;
    until("its blob is deleted", || async { storage.head(&key).await.unwrap().is_none() }).await;
    // It was confirmed: nobody is told again.
    assert_eq!(memory.prune(&Retention::keep_all(), 100).await.unwrap().blobs, []);
}
