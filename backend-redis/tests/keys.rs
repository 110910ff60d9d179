//! A key of the namespace that holds something else: the call fails, names the role of the key, and has written nothing.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{Place, QUEUE, body, completion, job, queue, unique};
use windlass_core::{
    Backend, BlobKey, Change, ChangeRequest, Error, NewJob, Queue, QueueChange, Retention,
    Selector, Start, Store, UniqueUntil, WorkerInfo,
};

fn role_in(error: &Error, role: &str) {
    let Error::Backend { source, .. } = error else { panic!("{error:?}") };
    let told = source.to_string();
    assert!(told.contains(&format!("holds the {role} holds something else")), "{told}");
    assert!(!error.is_transient());
}

fn later() -> NewJob {
    let mut job = job();
    job.start = Start::In(Duration::from_secs(3_600));
    job
}

/// Each key that an insert writes, spoiled in turn.
#[tokio::test]
async fn an_insert_looks_at_its_keys_before_it_writes() {
    let hour = Duration::from_secs(3_600);
    let spoiled = [
        (":ids", "ids"),
        (":r:q/k", "ready"),
        (":due", "due"),
        (":unique", "unique keys"),
        (":windows", "windows"),
        (":counts", "counts"),
        (":depth", "depths"),
        (":feed", "feed"),
        (":refs", "references"),
        (":staged", "staged blobs"),
        (":queues", "queues"),
    ];
    for (key, role) in spoiled {
        let mut place = Place::open().await;
        place.command("SET", key, &["something else"]).await;
        let mut owner = job();
        owner.blobs = vec![BlobKey::new("blobs/a").unwrap()];
        let before = place.everything().await;
        let new = [owner, later(), unique("a", UniqueUntil::For(hour))];
        role_in(&place.backend.insert(&new).await.unwrap_err(), role);
        assert_eq!(place.everything().await, before, "{key}: nothing is written");
    }
}

#[tokio::test]
async fn the_key_of_a_job_is_looked_at_too() {
    let mut place = Place::open().await;
    let new = job();
    let key = place.key(":j:", new.id.as_bytes());
    let mut set = redis::cmd("SET");
    set.arg(&key).arg("something else");
    let () = set.query_async(&mut place.conn).await.unwrap();
    // An id that is taken is a duplicate of what is there, whatever it is.
    assert!(!place.backend.insert(std::slice::from_ref(&new)).await.unwrap()[0].is_new());
    let change = ChangeRequest::new(Selector::Ids(vec![new.id]), Change::Delete);
    role_in(&place.backend.change(&change).await.unwrap_err(), "job");
}

#[tokio::test]
async fn claims_and_settlements_look_at_their_keys_before_they_write() {
    for (key, role) in
        [(":own:", "own"), (":run:q", "running"), (":late", "late"), (":feed", "feed")]
    {
        let mut place = Place::open().await;
        let worker = place.worker().await;
        let mut new = job();
        new.timeout = Some(Duration::from_secs(60));
        place.backend.insert(&[new]).await.unwrap();
        if key == ":own:" {
            let own = place.key(key, worker.as_bytes());
            let mut set = redis::cmd("SET");
            set.arg(&own).arg("something else");
            let () = set.query_async(&mut place.conn).await.unwrap();
        } else {
            place.command("DEL", key, &[]).await;
            place.command("SET", key, &["something else"]).await;
        }
        let before = place.everything().await;
        role_in(&place.claim(worker).await.unwrap_err(), role);
        assert_eq!(place.everything().await, before, "{key}: nothing is written");
    }
    for (key, role) in [(":done:5", "finished"), (":counts", "counts"), (":feed", "feed")] {
        let mut place = Place::open().await;
        let worker = place.worker().await;
        let lease = place.run(worker, job()).await;
        place.command("DEL", key, &[]).await;
        place.command("SET", key, &["something else"]).await;
        let before = place.everything().await;
        role_in(&place.backend.settle(&[completion(&lease)]).await.unwrap_err(), role);
        assert_eq!(place.everything().await, before, "{key}: nothing is written");
    }
}

#[tokio::test]
async fn workers_queues_blobs_and_pruning_look_at_theirs() {
    let mut place = Place::open().await;
    for key in [":leases", ":queues", ":staged", ":done:5"] {
        place.command("SET", key, &["something else"]).await;
    }
    let before = place.everything().await;
    let backend = place.backend.clone();
    let info = WorkerInfo::new("test", Duration::from_secs(60), vec![queue()]);
    role_in(&backend.register(&info).await.unwrap_err(), "leases");
    let paused = QueueChange::default().paused(true);
    role_in(&backend.configure_queue(&queue(), &paused).await.unwrap_err(), "queues");
    let keys = [BlobKey::new("blobs/a").unwrap()];
    let minute = Duration::from_secs(60);
    role_in(&backend.stage_blobs(&keys, minute).await.unwrap_err(), "staged blobs");
    role_in(&backend.prune(&Retention::default(), 10).await.unwrap_err(), "finished");
    role_in(&backend.maintain(10).await.unwrap_err(), "leases");
    assert_eq!(place.everything().await, before, "nothing is written in {QUEUE}");
}

/// Blobs that are kept on the server, those of one chunk and those of several.
#[tokio::test]
async fn uploads_and_deletions_of_blobs_look_at_their_keys_before_they_write() {
    let small = || body(b"small".to_vec());
    let large = || body(vec![b'x'; 3 << 20]);
    let key = BlobKey::new("blobs/a").unwrap();
    for (spoiled, role) in [(":blobs", "blobs"), (":blobkeys", "keys of blobs")] {
        let mut place = Place::open().await;
        let storage = place.backend.storage();
        place.command("SET", spoiled, &["something else"]).await;
        let before = place.everything().await;
        role_in(&storage.put(&key, small()).await.unwrap_err(), role);
        assert_eq!(place.everything().await, before, "{spoiled}: nothing is written");
    }
    for (spoiled, role) in [(":uploads", "uploads"), (":chunks", "chunks")] {
        let mut place = Place::open().await;
        let storage = place.backend.storage();
        place.command("SET", spoiled, &["something else"]).await;
        let before = place.everything().await;
        role_in(&storage.put(&key, large()).await.unwrap_err(), role);
        assert_eq!(place.everything().await, before, "{spoiled}: nothing is written");
    }
    for (spoiled, role) in [(":sweep", "swept blobs"), (":blobkeys", "keys of blobs")] {
        let mut place = Place::open().await;
        let storage = place.backend.storage();
        storage.put(&key, small()).await.unwrap();
        place.command("DEL", spoiled, &[]).await;
        place.command("SET", spoiled, &["something else"]).await;
        let before = place.everything().await;
        role_in(&storage.delete(std::slice::from_ref(&key)).await.unwrap_err(), role);
        role_in(&storage.put(&key, small()).await.unwrap_err(), role);
        assert_eq!(place.everything().await, before, "{spoiled}: nothing is written");
    }
}
