//! Lines of `docs/failures.md` as they apply to Redis.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{Place, completion, job, request};
use futures_util::StreamExt;
use windlass_core::{
    EventFilter, Heartbeat, NewJob, Queue, QueueName, Retention, Start, State, Store, WorkerInfo,
};
use windlass_redis::{RedisBackend, RedisOptions};
use windlass_test_servers::{Proxy, RedisServer, Stall};

const PATIENCE: Duration = Duration::from_secs(60);

/// A way to a new namespace that fails when told to.
async fn proxied() -> (Proxy, RedisOptions) {
    let server = RedisServer::shared().await.unwrap();
    let url = server.url(&format!("test-{}", windlass_core::JobId::new()));
    let port = url.rsplit(':').next().unwrap().split('/').next().unwrap();
    let proxy = Proxy::start(port.parse().unwrap()).await.unwrap();
    let url = url.replace(&format!(":{port}/"), &format!(":{}/", proxy.port()));
    (proxy, RedisOptions::from_url(&url).unwrap())
}

/// F3: the connection of everything else hangs, then that of the heartbeats: they go on, on a connection of their own, and then on a fresh one.
#[tokio::test]
async fn f03_heartbeats_do_not_wait_behind_other_calls() {
    let (proxy, options) = proxied().await;
    let backend = Arc::new(RedisBackend::open(options.response_timeout(PATIENCE)).await.unwrap());
    let info = WorkerInfo::new("test", Duration::from_secs(12), vec![common::queue()]);
    let worker = backend.register(&info).await.unwrap().worker;
    backend.insert(&[job()]).await.unwrap();

    proxy.stall_open(Stall::All);
    let hanging = tokio::spawn({
        let backend = backend.clone();
        async move { backend.insert(&[job()]).await }
    });
    let alive = |beat| assert!(matches!(beat, Heartbeat::Alive { .. }), "{beat:?}");
    alive(backend.heartbeat(worker, &[]).await.unwrap());
    proxy.stall_open(Stall::All);
    alive(backend.heartbeat(worker, &[]).await.unwrap());
    assert!(!hanging.is_finished(), "the other connection hangs all the while");
    proxy.stall(Stall::Off);
    hanging.await.unwrap().unwrap();
}

/// Waits until hints can, or can't, be relied on.
async fn until_hears(backend: &RedisBackend, hears: bool) {
    let changes = async {
        while backend.hears() != hears {
            // It may have ended at once, for news that nobody has looked at.
            backend.wait(&[common::queue()], Duration::from_millis(5)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, changes).await.unwrap();
}

#[tokio::test]
async fn hints_are_relied_on_while_the_subscription_stands() {
    let (proxy, options) = proxied().await;
    let backend = RedisBackend::open(options).await.unwrap();
    assert!(!backend.hears(), "it is not subscribed yet");
    for _ in 0..2 {
        until_hears(&backend, true).await;
        proxy.refuse().await;
        proxy.cut().await;
        until_hears(&backend, false).await;
        proxy.accept().await.unwrap();
    }
    until_hears(&backend, true).await;
}

/// The runtime of the first caller is not that of the backend.
#[tokio::test]
async fn nobody_hears_in_a_runtime_that_is_gone() {
    let place = Place::open().await;
    let backend = place.backend.clone();
    tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(until_hears(&backend, true));
    })
    .await
    .unwrap();
    assert!(!place.backend.hears());
    until_hears(&place.backend, true).await;
}

fn later() -> NewJob {
    let mut job = job();
    job.start = Start::In(Duration::from_secs(3_600));
    job
}

/// F30: what other queues hold is not even looked at, however much it is: here their lines can't be read at all.
#[tokio::test]
async fn f30_lines_of_other_queues_are_not_looked_at() {
    let mut place = Place::open().await;
    let worker = place.worker().await;
    let other = QueueName::new("other").unwrap();
    let mut there = job();
    there.queue = other;
    place.backend.insert(&[there, job(), job()]).await.unwrap();
    for key in [":r:other/k", ":x:other/k", ":run:other", ":r:q/kind"] {
        place.command("DEL", key, &[]).await;
        place.command("SET", key, &["what no script can read"]).await;
    }
    let leases = place.claim(worker).await.unwrap();
    assert_eq!(leases.len(), 2);
    let ends: Vec<_> = leases.iter().map(completion).collect();
    place.backend.settle(&ends).await.unwrap();
    place.backend.maintain(100).await.unwrap();
    place.backend.insert(&[job()]).await.unwrap();
    assert_eq!(place.claim(worker).await.unwrap().len(), 1);
}

/// How often something was published, or any value of the statistics of commands.
async fn calls(server: &RedisServer, command: &str) -> u64 {
    let told = server.command(&["INFO", "commandstats"]).await.unwrap();
    let begin = format!("cmdstat_{command}:calls=");
    let line = told.lines().find_map(|line| line.strip_prefix(begin.as_str()));
    line.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
}

/// F34: calls that find nothing to do write nothing and tell nobody anything.
#[tokio::test]
async fn f34_idle_calls_write_nothing() {
    let server = RedisServer::builder().start().await.unwrap();
    let mut place = Place::on(&server).await;
    let worker = place.worker().await;
    place.backend.insert(&[later()]).await.unwrap();
    let figures = async || {
        let written: u64 =
            server.info("rdb_changes_since_last_save").await.unwrap().parse().unwrap();
        (written, calls(&server, "publish").await)
    };
    let (before, keys) = (figures().await, place.everything().await);
    for _ in 0..20 {
        assert!(place.claim(worker).await.unwrap().is_empty());
        place.backend.settle(&[]).await.unwrap();
        place.backend.maintain(100).await.unwrap();
        place.backend.prune(&Retention::default(), 100).await.unwrap();
        place.backend.events(&EventFilter::default(), None, 9).await.unwrap();
        place.backend.stats(&Default::default()).await.unwrap();
    }
    assert_eq!(figures().await, before);
    assert_eq!(place.everything().await, keys);
    place.backend.insert(&[job()]).await.unwrap();
    let after = figures().await;
    assert!(after.0 > before.0 && after.1 > before.1, "the check sees writes: {after:?}");
}

/// F34: settlements, heartbeats and maintenance that change nothing claimable wake nobody: an idle worker stays idle.
#[tokio::test]
async fn f34_what_makes_nothing_claimable_wakes_nobody() {
    let server = RedisServer::builder().start().await.unwrap();
    let place = Place::on(&server).await;
    let worker = place.worker().await;
    place.backend.insert(&[job(), job()]).await.unwrap();
    let channel = format!("{}:wake", place.namespace);
    let client = redis::Client::open(server.base_url()).unwrap();
    let mut heard = client.get_async_pubsub().await.unwrap();
    heard.subscribe(&channel).await.unwrap();
    let mut heard = heard.into_on_message();
    let mut next = async || -> Vec<u8> {
        let message = tokio::time::timeout(PATIENCE, heard.next()).await.unwrap().unwrap();
        message.get_payload_bytes().to_vec()
    };
    let leases = place.claim(worker).await.unwrap();
    assert_eq!(leases.len(), 2);
    for lease in &leases {
        place.backend.settle(&[completion(lease)]).await.unwrap();
        place.backend.heartbeat(worker, &[]).await.unwrap();
        place.backend.maintain(100).await.unwrap();
        place.backend.prune(&Retention::default(), 100).await.unwrap();
        assert!(place.claim(worker).await.unwrap().is_empty());
    }
    place.backend.insert(&[later()]).await.unwrap();
    // Messages come in the order in which they were sent.
    server.command(&["PUBLISH", &channel, "the end"]).await.unwrap();
    assert_eq!(next().await, b"the end");
    place.backend.insert(&[job()]).await.unwrap();
    assert_eq!(next().await, common::QUEUE.as_bytes());
}

/// F35: while one call prunes thousands of jobs, others come and go in between its scripts.
#[tokio::test(flavor = "multi_thread")]
async fn f35_pruning_is_in_no_workers_way() {
    const OLD: u64 = 10_000;
    let server = RedisServer::builder().setting("appendfsync", "no").start().await.unwrap();
    let place = Place::on(&server).await;
    let worker = place.worker().await;
    let (backend, mut asked) = (place.backend.clone(), request(worker));
    asked.queues[0].limit = 100;
    for _ in 0..OLD / 100 {
        let new: Vec<_> = (0..100).map(|_| job()).collect();
        backend.insert(&new).await.unwrap();
        let leases = backend.claim(&asked).await.unwrap().leases;
        let ends: Vec<_> = leases.iter().map(completion).collect();
        backend.settle(&ends).await.unwrap();
    }
    let (started, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let working = tokio::spawn({
        let (backend, ended) = (backend.clone(), ended.clone());
        let (asked, started) = (request(worker), started.clone());
        async move {
            let mut rounds = 0_u64;
            while !ended.load(Ordering::SeqCst) {
                started.store(true, Ordering::SeqCst);
                backend.insert(&[job()]).await.unwrap();
                let leases = backend.claim(&asked).await.unwrap().leases;
                assert_eq!(leases.len(), 1);
                backend.settle(&[completion(&leases[0])]).await.unwrap();
                rounds += u64::from(!ended.load(Ordering::SeqCst));
            }
            rounds
        }
    });
    while !started.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
    let mut old = Retention::keep_all();
    old.completed = Some(Duration::ZERO);
    let pruned = backend.prune(&old, u32::try_from(OLD).unwrap()).await.unwrap();
    ended.store(true, Ordering::SeqCst);
    let rounds = working.await.unwrap();
    println!(
        "one call pruned {} jobs; meanwhile {rounds} jobs were inserted, claimed and settled",
        pruned.jobs
    );
    assert_eq!(pruned.jobs, OLD);
    // Two or three if the server did all of it in one go.
    assert!(rounds >= 6, "only {rounds} jobs found a gap");
    let open = backend.stats(&Default::default()).await.unwrap();
    assert_eq!(open.in_state(State::Running), 0);
}
