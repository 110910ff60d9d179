//! Inserts that wait for replicas.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{job, queue, unique};
use windlass_core::{Error, Inserted, JobId, NewJob, QueueChange, State, Store, UniqueUntil};
use windlass_redis::{RedisBackend, RedisOptions};
use windlass_test_servers::RedisServer;

async fn pair() -> (RedisServer, RedisServer) {
    let primary = RedisServer::builder().start().await.unwrap();
    let replica = RedisServer::builder().replica_of(&primary).start().await.unwrap();
    replica.until_info("master_link_status", "up").await.unwrap();
    (primary, replica)
}

async fn open(server: &RedisServer, more: &str) -> RedisBackend {
    RedisBackend::connect(&format!("{}{more}", server.url("jobs"))).await.unwrap()
}

/// How many waits the server has seen.
async fn waits(server: &RedisServer) -> u64 {
    let told = server.info("cmdstat_wait").await.unwrap();
    let calls = told.strip_prefix("calls=").and_then(|rest| rest.split(',').next());
    calls.unwrap().parse().unwrap()
}

fn short(error: &Error) -> String {
    let Error::Unavailable { source, .. } = error else { panic!("{error:?}") };
    assert!(source.to_string().contains("the jobs are stored and will run"), "{source}");
    source.to_string()
}

/// Inserts each job by a call of its own, and tells which were answered.
async fn insert_each(backend: &RedisBackend, jobs: &[NewJob]) -> Vec<JobId> {
    let inserts = jobs.iter().map(|job| backend.insert(std::slice::from_ref(job)));
    let inserted = futures_util::future::join_all(inserts).await;
    let answered = jobs.iter().zip(inserted).filter(|(_, inserted)| inserted.is_ok());
    answered.map(|(job, _)| job.id).collect()
}

/// F45: with a replica that follows, an insert that was answered is on it.
#[tokio::test]
async fn f45_an_insert_that_waited_is_on_the_replica() {
    let (primary, replica) = pair().await;
    let backend = open(&primary, "&wait_replicas=1&wait_timeout=20s").await;
    let hasty = open(&primary, "&wait_replicas=1&wait_timeout=200ms").await;
    let jobs: Vec<_> = (0..30).map(|_| job()).collect();
    let (heard, unheard) = jobs.split_at(20);
    let mut answered = insert_each(&backend, heard).await;
    assert_eq!(answered.len(), heard.len());
    // The replica hears of these no more, so that only a wait keeps them from being answered.
    replica.pause().await.unwrap();
    primary.command(&["CLIENT", "KILL", "TYPE", "replica"]).await.unwrap();
    answered.extend(insert_each(&hasty, unheard).await);
    primary.kill_9().await.unwrap();
    replica.resume().await.unwrap();
    replica.command(&["REPLICAOF", "NO", "ONE"]).await.unwrap();
    let promoted = open(&replica, "").await;
    for job in answered {
        assert!(promoted.get(job).await.unwrap().is_some(), "an insert that was answered is lost");
    }
    for job in unheard {
        assert!(promoted.get(job.id).await.unwrap().is_none(), "the replica was not cut off");
    }
}

/// F45: without one that does, the call says that the jobs are there and may be lost; it may be repeated.
#[tokio::test]
async fn f45_a_replica_that_hangs_is_told_and_the_repeat_waits_again() {
    let (primary, replica) = pair().await;
    let backend = open(&primary, "&wait_replicas=1&wait_timeout=300ms").await;
    let patient = open(&primary, "&wait_replicas=1&wait_timeout=20s").await;
    replica.pause().await.unwrap();
    let new = [job(), unique("a", UniqueUntil::Finished)];
    let text = short(&backend.insert(&new).await.unwrap_err());
    assert!(text.contains("0 of 1 replicas"), "{text}");
    let stored = open(&primary, "").await.get(new[0].id).await.unwrap().unwrap();
    assert_eq!(stored.state, State::Available);
    // What the repeat finds there is no more on the replica than before.
    short(&backend.insert(&new).await.unwrap_err());
    // Nor does a connection that wrote nothing see it there.
    short(
        &open(&primary, "&wait_replicas=1&wait_timeout=300ms")
            .await
            .insert(&new)
            .await
            .unwrap_err(),
    );
    // Others share their waits: ten take no ten times as long. Nobody is shown what another's wait found before.
    let before = waits(&primary).await;
    let singles: Vec<_> = (0..10).map(|_| [job()]).collect();
    let all = singles.iter().map(|one| backend.insert(one));
    for inserted in futures_util::future::join_all(all).await {
        short(&inserted.unwrap_err());
    }
    let sent = waits(&primary).await - before;
    assert!(sent < 5, "{sent} waits for ten inserts");
    // Who does not ask for it does not wait.
    open(&primary, "").await.insert(&[job()]).await.unwrap();

    let repeat = tokio::spawn(async move { patient.insert(&new).await });
    replica.resume().await.unwrap();
    for inserted in repeat.await.unwrap().unwrap() {
        assert!(matches!(inserted, Inserted::Duplicate { .. }), "{inserted:?}");
    }
}

/// A job that is stored while its replica hangs; a backend that waits for the replica, and one that doesn't.
async fn known_and_hung() -> ([RedisServer; 2], NewJob, RedisBackend, RedisBackend) {
    let (primary, replica) = pair().await;
    let backend = open(&primary, "").await;
    let hasty = open(&primary, "&wait_replicas=1&wait_timeout=300ms").await;
    let known = job();
    backend.insert(std::slice::from_ref(&known)).await.unwrap();
    replica.pause().await.unwrap();
    ([primary, replica], known, hasty, backend)
}

/// F45: what a call says is stored is stored, also when an id that is known sends it the long way.
#[tokio::test]
async fn f45_an_insert_with_a_known_job_is_stored_when_it_says_so() {
    let (_servers, known, hasty, backend) = known_and_hung().await;
    let new = job();
    short(&hasty.insert(&[new.clone(), known]).await.unwrap_err());
    assert!(backend.get(new.id).await.unwrap().is_some(), "it is said to be stored");
}

/// F45: the same of those that share a script. What is known waits too.
#[tokio::test]
async fn f45_single_inserts_with_a_known_job_are_stored_when_they_say_so() {
    let (_servers, known, hasty, backend) = known_and_hung().await;
    let mut singles: Vec<_> = (0..50).map(|_| job()).collect();
    singles[25] = known;
    let inserts = singles.iter().map(|job| hasty.insert(std::slice::from_ref(job)));
    let inserted = futures_util::future::join_all(inserts).await;
    for (job, inserted) in singles.iter().zip(inserted) {
        short(&inserted.unwrap_err());
        assert!(backend.get(job.id).await.unwrap().is_some(), "it is said to be stored");
    }
}

/// F45: what is refused has nothing to wait for.
#[tokio::test]
async fn f45_a_full_queue_refuses_without_a_wait() {
    let (primary, replica) = pair().await;
    let (backend, hasty) =
        (open(&primary, "").await, open(&primary, "&wait_replicas=1&wait_timeout=300ms").await);
    backend.configure_queue(&queue(), &QueueChange::default().max_depth(Some(1))).await.unwrap();
    replica.pause().await.unwrap();
    short(&hasty.insert(&[job()]).await.unwrap_err());
    let before = waits(&primary).await;
    for new in [vec![job()], vec![job(), job()], vec![job(), unique("a", UniqueUntil::Finished)]] {
        let error = hasty.insert(&new).await.unwrap_err();
        assert!(matches!(error, Error::QueueFull { depth: 1, .. }), "{error:?}");
    }
    assert_eq!(waits(&primary).await, before, "a refusal waits for nothing");
}

#[tokio::test]
async fn more_replicas_than_there_are_are_never_enough() {
    let (primary, _replica) = pair().await;
    let backend = open(&primary, "&wait_replicas=2&wait_timeout=200ms").await;
    // A busy replica may answer too late.
    let asked = async {
        while !short(&backend.insert(&[job()]).await.unwrap_err()).contains("1 of 2 replicas") {}
    };
    tokio::time::timeout(Duration::from_secs(60), asked).await.unwrap();
}

/// F45: a wait for disks takes a command of newer servers. Those that have none are refused, and those that have it are waited for.
#[tokio::test]
async fn f45_a_wait_for_disks_waits_or_is_refused() {
    let server = async |setting: &str, value: &str| {
        RedisServer::builder().setting(setting, value).start().await.unwrap()
    };
    let always = server("appendfsync", "always").await;
    let url = |server: &RedisServer, timeout: &str| {
        format!("{}&wait_on_disk=on&wait_timeout={timeout}", server.url("jobs"))
    };
    if always.command(&["COMMAND", "INFO", "WAITAOF"]).await.unwrap().trim().is_empty() {
        println!("this server has no WAITAOF: that a wait for disks is refused is tested");
        let error = RedisBackend::connect(&url(&always, "1s")).await.unwrap_err();
        assert!(matches!(&error, Error::Config(told) if told.contains("`WAITAOF`")), "{error:?}");
    } else {
        println!("this server has WAITAOF: that inserts wait for disks is tested");
        let backend = RedisBackend::connect(&url(&always, "20s")).await.unwrap();
        assert!(backend.insert(&[job()]).await.unwrap()[0].is_new());
        // One that never asks its disk to have written: the jobs are in, and it is said that they may be lost.
        let never = server("appendfsync", "no").await;
        let backend = RedisBackend::connect(&url(&never, "300ms")).await.unwrap();
        let new = job();
        short(&backend.insert(std::slice::from_ref(&new)).await.unwrap_err());
        assert!(backend.get(new.id).await.unwrap().is_some());
        let none = server("appendonly", "no").await;
        let error = RedisBackend::connect(&url(&none, "1s")).await.unwrap_err();
        assert!(
            matches!(&error, Error::Config(told) if told.contains("`appendonly no`")),
            "{error:?}"
        );
    }
    let server = always;
    let options = RedisOptions::from_url(&server.url("jobs")).unwrap().wait_replicas(1);
    let options = options.wait_timeout(Duration::from_secs(60));
    let error = RedisBackend::open(options).await.unwrap_err();
    assert!(error.to_string().contains("shorter than"), "{error}");
}
