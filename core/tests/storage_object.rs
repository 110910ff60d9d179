//! What is particular about `ObjectStorage`, beyond the conformance suite.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, future, stream};
use object_store::memory::InMemory;
use tokio::sync::Notify;
use windlass_core::storage::{ByteStream, ObjectStorage, PresignMethod, put_bytes, read_blob};
use windlass_core::{BlobKey, Error, Result, Storage};

fn key(text: &str) -> BlobKey {
    BlobKey::new(text).unwrap()
}

async fn names(storage: &dyn Storage, prefix: &str, limit: usize) -> Vec<String> {
    let listed = storage.list(prefix, None, limit).await.unwrap();
    listed.into_iter().map(|meta| meta.key.to_string()).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}

/// 20 chunks of 1 MiB, more than fits into one request.
fn large() -> impl futures_util::Stream<Item = Result<Bytes>> + Send + 'static {
    stream::repeat_with(|| Ok(Bytes::from(vec![7; 1 << 20]))).take(20)
}

#[tokio::test]
async fn a_damaged_file_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let storage = ObjectStorage::local(dir.path()).await.unwrap();
    let content: Vec<u8> = (0..600_000u32).map(|n| n.to_le_bytes()[0]).collect();
    let blob = put_bytes(&storage, &key("in/x"), content.clone()).await.unwrap();
    assert_eq!(read_blob(&storage, &blob, u64::MAX).await.unwrap(), content);

    let mut flipped = content.clone();
    flipped[300_000] ^= 1;
    let longer = [&content[..], b"!"].concat();
    for bytes in [&flipped[..], &content[..599_999], &longer, b""] {
        fs::write(dir.path().join("in/x"), bytes).unwrap();
        let read = read_blob(&storage, &blob, u64::MAX).await;
        assert!(matches!(read, Err(Error::Corrupt { .. })), "{} bytes: {read:?}", bytes.len());
    }
}

#[tokio::test]
async fn uploads_that_end_early_leave_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let storage = ObjectStorage::local(dir.path()).await.unwrap();
    let failing = large().chain(stream::once(async { Err(Error::Closed("the test's stream")) }));
    storage.put(&key("a"), failing.boxed()).await.unwrap_err();
    assert!(files(dir.path()).is_empty(), "{:?}", files(dir.path()));

    let reached = Arc::new(Notify::new());
    let signal = reached.clone();
    let stall = stream::once(async move {
        signal.notify_one();
        future::pending().await
    });
    let name = key("a");
    tokio::select! {
        ended = storage.put(&name, large().chain(stall).boxed()) => panic!("it ended: {ended:?}"),
        () = reached.notified() => {}
    }
    // The removal goes on behind the dropped future.
    let removed = async {
        while !files(dir.path()).is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), removed).await.unwrap();
}

struct Counted(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_huge_upload_holds_a_few_parts_only() {
    let dir = tempfile::tempdir().unwrap();
    let storage = ObjectStorage::local(dir.path()).await.unwrap();
    let (alive, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let body: ByteStream = {
        let (alive, most) = (alive.clone(), most.clone());
        let chunks = stream::iter(0..200u8).map(move |_| {
            most.fetch_max(alive.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            Ok(Bytes::from_owner(Counted(vec![7; 1 << 20], alive.clone())))
        });
        chunks.boxed()
    };
    assert_eq!(storage.put(&key("a"), body).await.unwrap(), 200 << 20);
    assert_eq!(storage.head(&key("a")).await.unwrap().unwrap().len, 200 << 20);
    // Four parts of 8 MiB on their way, the one being filled, and what stands across their borders.
    let most = most.load(Ordering::Relaxed);
    assert!(most <= 5 * 8 + 6, "{most} MiB were alive at once");
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let taken = dir.path().join("taken");
    fs::write(&taken, "").unwrap();
    for folder in [taken.clone(), taken.join("below")] {
        let error = ObjectStorage::local(&folder).await.unwrap_err();
        assert!(matches!(error, Error::Config(_)), "{error:?}");
        assert!(error.to_string().contains(folder.to_str().unwrap()), "{error}");
    }
}

#[tokio::test]
async fn files_that_are_no_blobs_are_not_listed() {
    let dir = tempfile::tempdir().unwrap();
    let storage = ObjectStorage::local(dir.path()).await.unwrap();
    put_bytes(&storage, &key("a/x"), "1").await.unwrap();
    for other in ["a/with space", "a/x#1", "a/größe"] {
        fs::write(dir.path().join(other), "2").unwrap();
    }
    fs::create_dir(dir.path().join("a/empty")).unwrap();
    assert_eq!(names(&storage, "", 10).await, ["a/x"]);
}

#[tokio::test]
async fn keys_that_a_folder_cannot_hold_are_refused_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let storage = ObjectStorage::local(dir.path()).await.unwrap();
    put_bytes(&storage, &key("a"), "1").await.unwrap();
    let long = "x".repeat(300);
    for bad in ["a/b", &long] {
        let error = put_bytes(&storage, &key(bad), "2").await.unwrap_err();
        assert!(matches!(error, Error::Backend { .. }) && !error.is_transient(), "{error:?}");
        assert!(storage.head(&key(bad)).await.unwrap().is_none());
        storage.delete(&[key(bad)]).await.unwrap();
    }
    assert_eq!(names(&storage, "", 10).await, ["a"]);
}

#[tokio::test]
async fn prefixes_keep_uses_apart() {
    let store = Arc::new(InMemory::new());
    let at = |prefix: &str| ObjectStorage::new(store.clone()).with_prefix(key(prefix));
    let (one, two, inner) = (at("one"), at("one2"), at("one/in"));
    for (storage, name) in [(&one, "x"), (&two, "y"), (&inner, "z")] {
        put_bytes(storage, &key(name), "1").await.unwrap();
    }
    assert_eq!(names(&one, "", 10).await, ["in/z", "x"]);
    assert_eq!(names(&two, "", 10).await, ["y"]);
    assert_eq!(names(&inner, "", 10).await, ["z"]);
    let all = ObjectStorage::new(store.clone());
    assert_eq!(names(&all, "one", 10).await, ["one/in/z", "one/x", "one2/y"]);
    assert_eq!(names(&all, "one", 2).await, ["one/in/z", "one/x"]);
    one.delete(&[key("y"), key("x")]).await.unwrap();
    assert_eq!(names(&all, "", 10).await, ["one/in/z", "one2/y"]);
    assert_eq!(names(&all.clone().lists_in_order(), "one/", 10).await, ["one/in/z"]);
}

#[tokio::test]
async fn without_a_presigner_there_are_no_urls() {
    let storage = ObjectStorage::new(Arc::new(InMemory::new()));
    let signed = storage.presign(&key("a"), PresignMethod::Get, Duration::from_secs(1)).await;
    assert!(matches!(signed, Err(Error::Unsupported { .. })), "{signed:?}");
}
