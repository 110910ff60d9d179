//! A server to which things happen.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{Place, body, completion, job, unique};
use windlass_core::{
    AttemptOutcome, Backend, BlobKey, Error, Heartbeat, Queue, Retention, Settled, State,
    StatsQuery, Store, UniqueUntil, WorkerOptions,
};
use windlass_test_servers::RedisServer;

/// A server that was restarted, or flushed, has forgotten the scripts.
#[tokio::test]
async fn scripts_that_were_forgotten_are_sent_again() {
    let server = RedisServer::builder().start().await.unwrap();
    let place = Place::on(&server).await;
    let worker = place.worker().await;
    for _ in 0..3 {
        server.command(&["SCRIPT", "FLUSH"]).await.unwrap();
        let lease = place.run(worker, job()).await;
        server.command(&["SCRIPT", "FLUSH"]).await.unwrap();
        let settled = place.backend.settle(&[completion(&lease)]).await.unwrap();
        assert_eq!(settled, [Settled::Applied { state: State::Completed }]);
        assert!(matches!(
            place.backend.heartbeat(worker, &[]).await.unwrap(),
            Heartbeat::Alive { .. }
        ));
    }
}

/// At its maximum of memory the server takes no new job, whole or in part; what is there runs to its end, and workers stay alive.
#[tokio::test]
async fn a_full_memory_refuses_whole_inserts_and_nothing_else() {
    let server = RedisServer::builder().start().await.unwrap();
    let mut place = Place::on(&server).await;
    let worker = place.worker().await;
    place.backend.insert(&[job(), job()]).await.unwrap();
    server.command(&["CONFIG", "SET", "maxmemory", "1"]).await.unwrap();
    let before = place.everything().await;
    let hundred = (0..100).map(|_| job()).collect();
    let with_key = || unique("key", UniqueUntil::Finished);
    // Without a key they go the short way, with one the long way.
    for new in [vec![job()], hundred, vec![with_key()], vec![job(), with_key()]] {
        let error = place.backend.insert(&new).await.unwrap_err();
        assert!(error.is_transient(), "{error:?}");
        let Error::Unavailable { source, .. } = &error else { panic!("{error:?}") };
        assert!(source.to_string().contains("maxmemory"), "{source}");
    }
    assert_eq!(place.everything().await, before, "nothing is written");

    // A process that starts now can work the jobs off.
    place.reopen().await;
    let leases = place.claim(worker).await.unwrap();
    assert_eq!(leases.len(), 2);
    let beat = place.backend.heartbeat(worker, &[leases[0].key]).await.unwrap();
    assert!(matches!(beat, Heartbeat::Alive { .. }), "{beat:?}");
    let ends: Vec<_> = leases.iter().map(completion).collect();
    for settled in place.backend.settle(&ends).await.unwrap() {
        assert_eq!(settled, Settled::Applied { state: State::Completed });
    }
    place.backend.maintain(10).await.unwrap();
    // Pruning is the way out.
    let mut retention = Retention::default();
    retention.completed = Some(std::time::Duration::ZERO);
    assert_eq!(place.backend.prune(&retention, 10).await.unwrap().jobs, 2);
    server.command(&["CONFIG", "SET", "maxmemory", "0"]).await.unwrap();
    place.backend.insert(&[job()]).await.unwrap();
}

/// At its maximum of memory a settlement brings its follow-up jobs in, and what writes blobs is refused: an attempt with a large result can't complete until there is room.
#[tokio::test]
async fn a_full_memory_takes_follow_ups_and_refuses_blobs() {
    let server = RedisServer::builder().start().await.unwrap();
    let mut place = Place::on(&server).await;
    let worker = place.worker().await;
    place.backend.insert(&[job(), job()]).await.unwrap();
    let leases = place.claim(worker).await.unwrap();
    server.command(&["CONFIG", "SET", "maxmemory", "1"]).await.unwrap();
    let (key, storage) = (BlobKey::new("blobs/a").unwrap(), place.backend.storage());
    let keys = std::slice::from_ref(&key);
    let before = place.everything().await;
    let refused = |error: Error| {
        assert!(error.is_transient(), "{error:?}");
        let Error::Unavailable { source, .. } = &error else { panic!("{error:?}") };
        assert!(source.to_string().contains("maxmemory"), "{source}");
    };
    refused(place.backend.stage_blobs(keys, Duration::from_secs(60)).await.unwrap_err());
    refused(storage.put(&key, body(b"small".to_vec())).await.unwrap_err());
    refused(storage.put(&key, body(vec![b'x'; 3 << 20])).await.unwrap_err());
    assert_eq!(place.everything().await, before, "nothing is written");

    let (mut small, next) = (completion(&leases[0]), job());
    small.follow_ups = vec![next.clone()];
    let settled = place.backend.settle(&[small]).await.unwrap();
    assert_eq!(settled, [Settled::Applied { state: State::Completed }]);
    assert!(place.backend.get(next.id).await.unwrap().is_some());

    server.command(&["CONFIG", "SET", "maxmemory", "0"]).await.unwrap();
    place.backend.stage_blobs(keys, Duration::from_secs(60)).await.unwrap();
    storage.put(&key, body(vec![b'x'; 3 << 20])).await.unwrap();
    let mut large = completion(&leases[1]);
    large.outcome = AttemptOutcome::Completed { result: None, blobs: keys.to_vec() };
    let settled = place.backend.settle(&[large]).await.unwrap();
    assert_eq!(settled, [Settled::Applied { state: State::Completed }]);
}

/// F48: connections that were cut, and a server that was killed and came back with its append-only file, are found again.
#[tokio::test]
async fn f48_a_server_that_comes_back_is_found_again() {
    let server = RedisServer::builder().start().await.unwrap();
    let place = Place::on(&server).await;
    let worker = place.worker().await;
    let lease = place.run(worker, job()).await;
    server.command(&["CLIENT", "KILL", "TYPE", "normal"]).await.unwrap();
    // The first call after it may find the connection dead.
    let _ = place.backend.get(lease.key.job).await;
    let _ = place.backend.maintain(1).await;
    assert!(place.backend.get(lease.key.job).await.unwrap().is_some());

    server.kill_9().await.unwrap();
    let error = place.backend.insert(&[job()]).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert!(place.backend.ping().await.unwrap_err().is_transient());
    server.start().await.unwrap();
    let beat = place.backend.heartbeat(worker, &[lease.key]).await.unwrap();
    assert!(matches!(beat, Heartbeat::Alive { .. }), "{beat:?}");
    let settled = place.backend.settle(&[completion(&lease)]).await.unwrap();
    assert_eq!(settled, [Settled::Applied { state: State::Completed }]);
}

/// What is past its retention goes with all that belongs to it.
#[tokio::test]
async fn f47_finished_jobs_leave_nothing_behind() {
    assert_eq!(WorkerOptions::default().retention, Some(Retention::default()), "workers prune");
    assert!(Retention::default().completed.is_some() && Retention::default().events.is_some());
    let server = RedisServer::builder().start().await.unwrap();
    let mut place = Place::on(&server).await;
    let worker = place.worker().await;
    let keys = |all: Vec<(Vec<u8>, redis::Value)>| -> Vec<Vec<u8>> {
        all.into_iter().map(|(key, _)| key).collect()
    };
    let before = keys(place.everything().await);
    let total = 1_000;
    let new: Vec<_> = (0..total).map(|_| job()).collect();
    place.backend.insert(&new).await.unwrap();
    loop {
        let leases = place.claim(worker).await.unwrap();
        if leases.is_empty() {
            break;
        }
        let ends: Vec<_> = leases.iter().map(completion).collect();
        place.backend.settle(&ends).await.unwrap();
    }
    let mut retention = Retention::default();
    (retention.completed, retention.events) = (Some(Duration::ZERO), Some(Duration::ZERO));
    let mut pruned = 0;
    loop {
        let done = place.backend.prune(&retention, 10_000).await.unwrap();
        pruned += done.jobs;
        if !done.more {
            break;
        }
    }
    assert_eq!(pruned, total);
    // What is left does not grow with the jobs that were: counters, the worker, the end of the feed.
    let left = keys(place.everything().await);
    let more: Vec<_> = left.iter().filter(|key| !before.contains(key)).collect();
    assert!(
        more.len() <= 4,
        "left behind: {:?}",
        more.iter().map(|k| String::from_utf8_lossy(k)).collect::<Vec<_>>()
    );
    assert_eq!(place.backend.stats(&StatsQuery::default()).await.unwrap().counts, []);
}
