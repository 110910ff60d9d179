//! Settlements that can't be applied: they hold up neither others nor the end of the worker. Paused time throughout.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests, too

mod worker_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::sleep;
use windlass_core::storage::{BlobBody, ByteStream, PresignMethod};
use windlass_core::*;
use worker_support::double::*;
use worker_support::log::Log;
use worker_support::*;

const SECOND: Duration = Duration::from_secs(1);

fn broken() -> Error {
    Error::Backend { backend: "double", during: "settle", source: "a row can't be read".into() }
}

/// A backend that chokes on one job's settlements as the test says.
fn choking_on(poison: JobId, memory: &MemoryBackend, error: fn() -> Error) -> Client<Double> {
    let mut calls = MockCalls::new();
    let m = memory.clone();
    calls.expect_settle().returning(move |all| {
        if all.iter().any(|s| s.key.job == poison) {
            return Err(error());
        }
        now(m.settle(all))
    });
    calls.over(memory)
}

async fn others_settle(error: fn() -> Error) {
    let memory = MemoryBackend::with_tokio_clock();
    let poison = insert(&memory, Alpha(0)).await;
    let client = choking_on(poison, &memory, error);
    let worker = simulated(&client)
        .options(|o| o.settle_buffer = 2)
        .register(|job: Alpha, _| async move { Ok(job.0) })
        .queue("main", 4)
        .start()
        .unwrap();
    until("the first one runs", || async { worker.stats().claimed == 1 }).await;
    // They come one after the other, so that no batch holds the poison and all of them.
    for n in 1..20 {
        let id = insert(&memory, Alpha(n)).await;
        reaches(&memory, id, State::Completed).await;
        sleep(SECOND).await;
    }
    // Readiness follows the last call: that was one for the poison, or for another.
    for n in 20..100 {
        if worker.ready() {
            return;
        }
        let id = insert(&memory, Alpha(n)).await;
        reaches(&memory, id, State::Completed).await;
    }
    panic!("the worker does not become ready again");
}

/// F14: one settlement that the backend chokes on does not keep later ones from being received.
#[tokio::test(start_paused = true)]
async fn f14_a_settlement_that_fails_for_good_does_not_end_settling() {
    others_settle(broken).await;
}

#[tokio::test(start_paused = true)]
async fn f14_a_settlement_that_can_not_be_read_does_not_end_settling() {
    let error = || Error::Decode { what: "the row of a job".into(), source: "a broken row".into() };
    others_settle(error).await;
}

#[tokio::test(start_paused = true)]
async fn f14_a_settlement_that_is_never_answered_does_not_end_settling() {
    others_settle(hangs).await;
}

/// An outcome that fails for good becomes a failed attempt that says why, and the slot is free again.
#[tokio::test(start_paused = true)]
async fn an_outcome_that_fails_for_good_becomes_a_failed_attempt() {
    let memory = MemoryBackend::with_tokio_clock();
    let mut calls = MockCalls::new();
    let m = memory.clone();
    calls.expect_settle().returning(move |all| {
        if all.iter().any(|s| matches!(s.outcome, AttemptOutcome::Completed { .. })) {
            return Err(broken());
        }
        now(m.settle(all))
    });
    let client = calls.over(&memory);
    let id = insert_with(&memory, Alpha(1), |job| job.max_attempts = 1).await;
    let worker = simulated(&client)
        .register(|job: Alpha, _| async move { Ok(job.0) })
        .queue("main", 1)
        .start()
        .unwrap();
    let job = reaches(&memory, id, State::Discarded).await;
    assert!(job.errors[0].message.contains("a row can't be read"), "{}", job.errors[0].message);
    until("its slot is free", || async { worker.stats().running == 0 }).await;
}

/// F11: a call for log lines that hangs does not cost a finished job its outcome at the shutdown.
#[tokio::test(start_paused = true)]
async fn f11_notes_that_hang_do_not_keep_a_finished_job_from_being_settled() {
    let memory = MemoryBackend::with_tokio_clock();
    let mut calls = MockCalls::new();
    let recording = Arc::new(AtomicBool::new(false));
    let seen = recording.clone();
    calls.expect_record().returning(move |_| {
        seen.store(true, Ordering::SeqCst);
        Err(hangs())
    });
    let client = calls.over(&memory);
    let id = insert(&memory, Alpha(1)).await;
    let worker = simulated(&client)
        .options(|o| o.call_timeout = 3_600 * SECOND)
        .register(|job: Alpha, cx: Context| async move {
            cx.log(LogLevel::Info, "a line");
            cx.cancelled().await;
            Ok(job.0)
        })
        .queue("main", 1)
        .start()
        .unwrap();
    until("a line is on its way", || async { recording.load(Ordering::SeqCst) }).await;
    worker.shutdown();
    worker.join().await.unwrap();
    assert_eq!(get(&memory, id).await.state, State::Completed);
}

/// A storage that can't delete one key, or none while it is away.
#[derive(Debug)]
struct Stubborn {
    inner: Arc<dyn Storage>,
    key: Option<BlobKey>,
    away: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
}

#[async_trait::async_trait]
impl Storage for Stubborn {
    async fn put(&self, key: &BlobKey, body: ByteStream) -> Result<u64> {
        self.inner.put(key, body).await
    }
    async fn get(&self, key: &BlobKey) -> Result<BlobBody> {
        self.inner.get(key).await
    }
    async fn head(&self, key: &BlobKey) -> Result<Option<BlobMeta>> {
        self.inner.head(key).await
    }
    async fn delete(&self, keys: &[BlobKey]) -> Result<()> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        assert!(keys.len() <= 500, "{} keys at once", keys.len());
        if self.away.load(Ordering::SeqCst) {
            assert!(self.calls.load(Ordering::SeqCst) < 1_000, "again and again");
            return Err(lost_reply());
        }
        if self.key.as_ref().is_some_and(|key| keys.contains(key)) {
            return Err(broken());
        }
        self.inner.delete(keys).await
    }
    async fn list(&self, p: &str, after: Option<&BlobKey>, n: usize) -> Result<Vec<BlobMeta>> {
        self.inner.list(p, after, n).await
    }
    async fn presign(&self, key: &BlobKey, method: PresignMethod, ttl: Duration) -> Result<String> {
        self.inner.presign(key, method, ttl).await
    }
}

/// A blob that can't be deleted keeps neither other blobs nor finished jobs.
#[tokio::test(start_paused = true)]
async fn a_blob_that_can_not_be_deleted_is_not_in_the_way_of_pruning() {
    let (memory, client) = paused();
    let keys: Vec<_> =
        (0..1_200).map(|n| BlobKey::new(format!("reports/{n:04}")).unwrap()).collect();
    memory.stage_blobs(&keys, SECOND).await.unwrap();
    let calls = Arc::new(AtomicU64::new(0));
    let inner = memory.storage();
    let (key, away) = (Some(keys[0].clone()), Arc::default());
    let storage = Stubborn { inner, key, away, calls: calls.clone() };
    let client = client.with_storage(Arc::new(storage));
    let ids = [insert(&memory, Alpha(1)).await, insert(&memory, Alpha(2)).await];
    let _worker = simulated(&client)
        .options(|o| {
            let mut retention = Retention::keep_all();
            retention.completed = Some(SECOND);
            o.retention = Some(retention);
            o.prune_batch = 1;
        })
        .register(|job: Alpha, _| async move { Ok(job.0) })
        .queue("main", 2)
        .start()
        .unwrap();
    sleep(120 * SECOND).await;
    for id in ids {
        assert_eq!(memory.get(id).await.unwrap(), None);
    }
    // Only the one that can't go is named again.
    assert_eq!(memory.prune(&Retention::keep_all(), 1).await.unwrap().blobs, keys[..1]);
    assert!(calls.load(Ordering::SeqCst) < 100);
}

/// Where a storage is away, what more there is than fits into one call is left to the next round.
#[tokio::test(start_paused = true)]
async fn pruning_rests_while_the_storage_is_away() {
    let (memory, client) = paused();
    let batch = memory.limits().batch;
    let keys: Vec<_> =
        (0..2 * batch).map(|n| BlobKey::new(format!("reports/{n:05}")).unwrap()).collect();
    for keys in keys.chunks(batch) {
        memory.stage_blobs(keys, SECOND).await.unwrap();
    }
    let (away, calls) = (Arc::new(AtomicBool::new(true)), Arc::default());
    let storage = Stubborn {
        inner: memory.storage(),
        key: None,
        away: away.clone(),
        calls: Arc::clone(&calls),
    };
    let client = client.with_storage(Arc::new(storage));
    let work = |job: Alpha, _: Context| async move { Ok(job.0) };
    let _worker = simulated(&client).register(work).queue("main", 2).start().unwrap();
    sleep(600 * SECOND).await;
    assert!(calls.load(Ordering::SeqCst) > 50, "it is tried again");
    away.store(false, Ordering::SeqCst);
    sleep(200 * SECOND).await;
    let left = memory.prune(&Retention::keep_all(), 1).await.unwrap().blobs;
    assert_eq!(left.len(), 0);
}

/// Follow-up jobs commit with the completion only; an attempt that drops some by ending otherwise says so.
#[tokio::test(start_paused = true)]
async fn dropped_follow_ups_are_told() {
    let (log, _guard) = Log::capture();
    let (memory, client) = paused();
    let told = || log.count("follow-up");
    let _worker = simulated(&client)
        .register(|job: Alpha, cx: Context| async move {
            cx.follow_up(Gamma(1)).await?;
            if job.0 == 1 { Err("no".into()) } else { Ok(job.0) }
        })
        .queue("main", 1)
        .start()
        .unwrap();
    let id = insert(&memory, Alpha(0)).await;
    reaches(&memory, id, State::Completed).await;
    assert_eq!(told(), 0);
    let id = insert_with(&memory, Alpha(1), |job| job.max_attempts = 1).await;
    reaches(&memory, id, State::Discarded).await;
    assert_eq!(told(), 1);
}

/// What the handler returned is no failure when the job turns out to be completed, as after `complete_in`.
async fn logged_as_failed(state: State) -> usize {
    let (log, _guard) = Log::capture();
    let memory = MemoryBackend::with_tokio_clock();
    let mut calls = MockCalls::new();
    calls
        .expect_settle()
        .returning(move |all| Ok(all.iter().map(|_| Settled::Already { state }).collect()));
    insert(&memory, Alpha(1)).await;
    let worker = simulated(&calls.over(&memory))
        .register(|_: Alpha, _| async { Err::<u64, _>("no".into()) })
        .queue("main", 1)
        .start()
        .unwrap();
    until("it is settled", || async { worker.stats().settle_calls == 1 }).await;
    log.count("the attempt failed")
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_once_it_is_settled_as_one() {
    assert_eq!(logged_as_failed(State::Completed).await, 0);
    assert_eq!(logged_as_failed(State::Retryable).await, 1);
}
