//! F7: a job that can't be read is in nobody's way, and `get` says what is wrong with it without a word of what is stored.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{Place, completion, job};
use windlass_core::{Error, JobQuery, NewJob, Queue, Settled, Start, State, Store};

const SECRET: &[u8] = b"s3cret";

fn soon() -> NewJob {
    let mut job = job();
    job.start = Start::In(Duration::from_millis(1));
    job
}

#[tokio::test]
async fn f07_a_damaged_job_is_passed_over_by_everyone() {
    let mut place = Place::open().await;
    let worker = place.worker().await;
    for field in ["s", "b"] {
        let (waiting, due, fine) = (job(), soon(), [job(), soon()]);
        place.backend.insert(&[waiting.clone(), due.clone()]).await.unwrap();
        place.backend.insert(&fine).await.unwrap();
        for bad in [&waiting, &due] {
            place.set_field(bad.id, field, SECRET).await;
        }
        for job in [&due, &fine[1]] {
            place.score(":due", job.id.as_bytes(), 1).await;
        }
        let done = place.backend.maintain(1).await.unwrap();
        assert_eq!((done.promoted, done.more), (1, false), "the damaged one is not in the way");
        assert_eq!(place.backend.maintain(9).await.unwrap().promoted, 0);
        let leases = place.claim(worker).await.unwrap();
        assert_eq!(leases.len(), 2, "{field}");
        let done: Vec<_> = leases.iter().map(completion).collect();
        place.backend.settle(&done).await.unwrap();
        let listed = place.backend.list(&JobQuery::default()).await.unwrap();
        for bad in [&waiting, &due] {
            assert!(listed.items.iter().all(|job| job.id != bad.id));
            let error = place.backend.get(bad.id).await.unwrap_err();
            let Error::Decode { what, .. } = &error else { panic!("{error:?}") };
            assert_eq!(*what, format!("column `{field}` of job {}", bad.id));
            assert!(!format!("{error:?}").contains("s3cret"), "F52: {error:?}");
        }
    }
}

/// What only the handler's side reads is found out at the claim: the job is discarded.
#[tokio::test]
async fn a_job_whose_progress_is_damaged_is_discarded_at_its_claim() {
    let mut place = Place::open().await;
    let worker = place.worker().await;
    let new = job();
    place.backend.insert(std::slice::from_ref(&new)).await.unwrap();
    place.set_field(new.id, "p", SECRET).await;
    assert!(place.claim(worker).await.unwrap().is_empty());
    let mut clear = redis::cmd("HDEL");
    clear.arg(place.key(":j:", new.id.as_bytes())).arg("p");
    let () = clear.query_async(&mut place.conn).await.unwrap();
    let job = place.backend.get(new.id).await.unwrap().unwrap();
    assert_eq!(job.state, State::Discarded);
    assert!(!job.errors[0].message.contains("s3cret"), "F52");
}

#[tokio::test]
async fn a_running_job_that_is_damaged_is_lost_and_holds_up_no_rescue() {
    let mut place = Place::open().await;
    let worker = place.worker().await;
    place.backend.insert(&[job(), job()]).await.unwrap();
    let leases = place.claim(worker).await.unwrap();
    place.set_field(leases[0].key.job, "s", SECRET).await;
    let settled = place.backend.settle(&[completion(&leases[0])]).await.unwrap();
    assert_eq!(settled, [Settled::Lost]);
    place.backend.deregister(worker).await.unwrap();
    let mut rescued = Vec::new();
    loop {
        let done = place.backend.maintain(1).await.unwrap();
        rescued.extend(done.rescued);
        if !done.more {
            break;
        }
    }
    assert_eq!(rescued, [leases[1].key.job]);
}

/// A count that is no number ends a script before it writes: what is half-written stays so.
#[tokio::test]
async fn a_damaged_count_is_found_before_anything_is_written() {
    for (key, field) in [(":counts", "q/k/2"), (":depth", "q")] {
        let mut place = Place::open().await;
        place.backend.insert(&[job()]).await.unwrap();
        assert_ne!(place.command("HGET", key, &[field]).await, redis::Value::Nil);
        place.command("HSET", key, &[field, "s3cret"]).await;
        let before = place.everything().await;
        let new = job();
        let error = place.backend.insert(std::slice::from_ref(&new)).await.unwrap_err();
        assert_eq!(place.everything().await, before, "{key}: nothing is written");
        let Error::Backend { source, .. } = &error else { panic!("{error:?}") };
        assert!(source.to_string().contains("a stored count can't be read"), "{source}");
        assert!(!format!("{error:?}").contains("s3cret"), "F52: {error:?}");
        place.command("HSET", key, &[field, "1"]).await;
        assert!(place.backend.insert(&[new]).await.unwrap()[0].is_new());
    }
}
