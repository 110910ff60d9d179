//! [`Storage::put`]: a blob is there whole or not at all.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, future, stream};
use tokio::sync::Notify;

use super::StorageHarness;
use super::storage_support::{
    LARGE, SMALL, assert_absent, assert_holds, body, bytes, key, names, put, read,
};
use crate::storage::ByteStream;
use crate::{Error, Storage};

pub async fn put_answers_the_length_and_get_gives_the_bytes<H: StorageHarness>(h: H) {
    let storage = h.storage();
    put(&*storage, "a", &bytes(SMALL, 1)).await;
    put(&*storage, "folder/b", &bytes(SMALL + 1, 2)).await;
    assert_holds(&*storage, "a", &bytes(SMALL, 1)).await;
    assert_holds(&*storage, "folder/b", &bytes(SMALL + 1, 2)).await;
}

pub async fn a_blob_of_zero_bytes_is_a_blob<H: StorageHarness>(h: H) {
    let storage = h.storage();
    put(&*storage, "empty", &Bytes::new()).await;
    let only_empty_chunks = stream::iter([Ok(Bytes::new()), Ok(Bytes::new())]).boxed();
    assert_eq!(storage.put(&key("empty-chunks"), only_empty_chunks).await.unwrap(), 0);
    for name in ["empty", "empty-chunks"] {
        assert_holds(&*storage, name, &Bytes::new()).await;
        assert_eq!(storage.head(&key(name)).await.unwrap().unwrap().len, 0);
    }
    assert_eq!(names(&*storage, "", None, 10).await, ["empty", "empty-chunks"]);
}

pub async fn chunks_of_any_size_make_the_same_blob<H: StorageHarness>(h: H) {
    let storage = h.storage();
    let content = bytes(LARGE, 3);
    for (name, chunk) in [("small", 1_021), ("middle", 300_007), ("whole", LARGE)] {
        let len = storage.put(&key(name), body(&content, chunk)).await.unwrap();
        assert_eq!(len, LARGE as u64);
        assert_holds(&*storage, name, &content).await;
    }
}

pub async fn put_replaces_a_blob_whole<H: StorageHarness>(h: H) {
    let storage = h.storage();
    for (seed, len) in [(1, LARGE), (2, SMALL), (3, 0), (4, LARGE - 1)] {
        put(&*storage, "a", &bytes(len, seed)).await;
        assert_holds(&*storage, "a", &bytes(len, seed)).await;
        assert_eq!(storage.head(&key("a")).await.unwrap().unwrap().len, len as u64);
        assert_eq!(names(&*storage, "", None, 10).await, ["a"]);
    }
}

fn failing(len: usize) -> ByteStream {
    let end = stream::once(future::ready(Err(Error::Closed("the test's stream"))));
    body(&bytes(len, 9), 100_003).chain(end).boxed()
}

pub async fn a_failing_stream_leaves_no_blob<H: StorageHarness>(h: H) {
    let storage = h.storage();
    for len in [0, SMALL, LARGE] {
        let failed = storage.put(&key("a"), failing(len)).await;
        assert!(
            matches!(failed, Err(Error::Closed("the test's stream"))),
            "the stream's own error after {len} bytes, not {failed:?}"
        );
        assert_absent(&*storage, "a").await;
    }
}

pub async fn a_failing_stream_keeps_the_old_blob<H: StorageHarness>(h: H) {
    let storage = h.storage();
    put(&*storage, "a", &bytes(SMALL, 1)).await;
    for len in [0, SMALL, LARGE] {
        storage.put(&key("a"), failing(len)).await.unwrap_err();
        assert_holds(&*storage, "a", &bytes(SMALL, 1)).await;
    }
}

/// Begins to put a blob of which `len` bytes come and then nothing more, and drops the future there.
async fn drop_a_put(storage: &Arc<dyn Storage>, name: &str, len: usize) {
    let reached = Arc::new(Notify::new());
    let signal = reached.clone();
    let stall = stream::once(async move {
        signal.notify_one();
        future::pending().await
    });
    let stalling = body(&bytes(len, 9), 100_003).chain(stall).boxed();
    let name = key(name);
    tokio::select! {
        ended = storage.put(&name, stalling) => panic!("a put ended before its stream: {ended:?}"),
        () = reached.notified() => {}
    }
}

pub async fn a_dropped_put_leaves_no_blob<H: StorageHarness>(h: H) {
    let storage = h.storage();
    for len in [0, SMALL, LARGE] {
        drop_a_put(&storage, "a", len).await;
        assert_absent(&*storage, "a").await;
    }
    put(&*storage, "a", &bytes(SMALL, 1)).await;
    assert_holds(&*storage, "a", &bytes(SMALL, 1)).await;
}

pub async fn a_dropped_put_keeps_the_old_blob<H: StorageHarness>(h: H) {
    let storage = h.storage();
    put(&*storage, "a", &bytes(SMALL, 1)).await;
    for len in [0, SMALL, LARGE] {
        drop_a_put(&storage, "a", len).await;
        assert_holds(&*storage, "a", &bytes(SMALL, 1)).await;
    }
}

pub async fn nothing_is_seen_of_a_put_under_way<H: StorageHarness>(h: H) {
    let storage = h.storage();
    let (reached, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (signal, wait) = (reached.clone(), go_on.clone());
    let pause = stream::once(async move {
        signal.notify_one();
        wait.notified().await;
        Ok(Bytes::new())
    });
    let content = bytes(LARGE, 1);
    let paused = body(&content, 100_003).chain(pause).boxed();
    let name = key("a");
    let putting = storage.put(&name, paused);
    let looking = async {
        reached.notified().await;
        assert_absent(&*storage, "a").await;
        go_on.notify_one();
    };
    let (put, ()) = tokio::join!(putting, looking);
    put.unwrap();
    assert_holds(&*storage, "a", &content).await;
}

pub async fn of_puts_at_once_one_wins_whole<H: StorageHarness>(h: H) {
    let storage = h.storage();
    let putting = (0..8u8).map(|seed| {
        let storage = storage.clone();
        tokio::spawn(async move { put(&*storage, "a", &bytes(1 << 20, seed)).await })
    });
    for done in future::join_all(putting.collect::<Vec<_>>()).await {
        done.unwrap();
    }
    let found = read(&*storage, "a").await;
    assert!((0..8u8).any(|seed| found == bytes(1 << 20, seed)), "a mixture of blobs");
    assert_eq!(names(&*storage, "", None, 10).await, ["a"]);
}
