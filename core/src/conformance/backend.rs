//! `Backend`: name, health, blob storage, closing.

use futures_util::{StreamExt, stream};

use super::Harness;
use super::support::*;
use crate::{Backend, BlobKey, Error, Queue, Store};

pub async fn it_answers_pings<H: Harness>(h: H) {
    let b = &*h.backend();
    assert!(!b.name().is_empty());
    b.ping().await.unwrap();
    insert(b, job()).await;
    b.ping().await.unwrap();
}

pub async fn it_brings_a_storage_of_its_own<H: Harness>(h: H) {
    let b = &*h.backend();
    let key = BlobKey::new("a/b").unwrap();
    let body = stream::iter([Ok("bytes".into())]).boxed();
    assert_eq!(b.storage().put(&key, body).await.unwrap(), 5);
    let mut stream = b.storage().get(&key).await.unwrap().stream;
    assert_eq!(&*stream.next().await.unwrap().unwrap(), b"bytes", "every storage is the same one");
}

pub async fn other_handles_see_the_same_blobs<H: Harness>(h: H) {
    let second = second(&h).await;
    let key = BlobKey::new("a").unwrap();
    let body = stream::iter([Ok("bytes".into())]).boxed();
    h.backend().storage().put(&key, body).await.unwrap();
    let head = second.storage().head(&key).await.unwrap();
    assert_eq!(head.map(|m| m.len), Some(5));
}

pub async fn calls_after_the_end_say_that_it_is_closed<H: Harness>(h: H) {
    fn is_closed<T: std::fmt::Debug>(answer: crate::Result<T>) {
        match answer {
            Err(Error::Closed(_)) => {}
            other => panic!("a closed backend says so, instead of {other:?}"),
        }
    }
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    b.close().await.unwrap();
    is_closed(b.insert(&[job()]).await);
    is_closed(b.get(lease.key.job).await);
    is_closed(b.claim(&request(w, 1)).await);
    is_closed(b.settle(&[crate::Settlement::new(lease.key, completed())]).await);
    is_closed(b.heartbeat(w, &[]).await);
    is_closed(b.maintain(1).await);
    is_closed(b.stats(&Default::default()).await);
    is_closed(b.ping().await);
}

pub async fn closing_again_is_no_error<H: Harness>(h: H) {
    let b = &*h.backend();
    b.close().await.unwrap();
    b.close().await.unwrap();
}

/// Closing does not leave waiters hanging.
pub async fn closing_ends_waits<H: Harness>(h: H) {
    let b = h.backend();
    let waiter = tokio::spawn({
        let b = b.clone();
        async move { b.wait(&[queue(Q)], HOUR).await }
    });
    tokio::task::yield_now().await;
    b.close().await.unwrap();
    // Either a hint or the error: the caller looks again, and learns.
    waiter.await.unwrap().ok();
}
