//! Blobs on their way in and out: sums, damage, limits, memory.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use windlass_core::job::Encoding;
use windlass_core::storage::{
    BlobBody, ByteStream, PresignMethod, blobs_in, load, offload, open_blob, put_blob, put_bytes,
    put_file, read_blob,
};
use windlass_core::{
    Blob, BlobKey, BlobMeta, Error, MemoryStorage, Payload, Result, Storage, Timestamp,
};

const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const MAX: u64 = 1 << 30;

fn key(text: &str) -> BlobKey {
    BlobKey::new(text).unwrap()
}

fn chunks(of: &[&'static str]) -> ByteStream {
    stream::iter(of.iter().map(|s| Ok(Bytes::from_static(s.as_bytes()))).collect::<Vec<_>>())
        .boxed()
}

/// Keeps nothing that is put. Gives the bytes it is told to and tells that length.
#[derive(Debug, Default)]
struct Fake {
    bytes: Vec<&'static str>,
    len: u64,
    lost: u64,
}

#[async_trait]
impl Storage for Fake {
    async fn put(&self, _: &BlobKey, body: ByteStream) -> Result<u64> {
        let len = body.try_fold(0, |sum, chunk| async move { Ok(sum + chunk.len() as u64) });
        Ok(len.await? - self.lost)
    }
    async fn get(&self, key: &BlobKey) -> Result<BlobBody> {
        let meta = BlobMeta { key: key.clone(), len: self.len, modified_at: Timestamp::now() };
        Ok(BlobBody { meta, stream: chunks(&self.bytes) })
    }
    async fn head(&self, _: &BlobKey) -> Result<Option<BlobMeta>> {
        Ok(None)
    }
    async fn delete(&self, _: &[BlobKey]) -> Result<()> {
        Ok(())
    }
    async fn list(&self, _: &str, _: Option<&BlobKey>, _: usize) -> Result<Vec<BlobMeta>> {
        Ok(Vec::new())
    }
    async fn presign(&self, _: &BlobKey, _: PresignMethod, _: Duration) -> Result<String> {
        Err(Error::Unsupported { what: "presign".into(), by: "a test".into() })
    }
}

#[tokio::test]
async fn a_blob_knows_its_length_and_sum_whatever_the_chunks() {
    let storage = MemoryStorage::new();
    for body in [chunks(&["abc"]), chunks(&["", "a", "", "bc", ""])] {
        let blob = put_blob(&storage, &key("x"), body).await.unwrap();
        assert_eq!((blob.len, blob.sha256.as_str()), (3, ABC));
        assert_eq!(read_blob(&storage, &blob, 3).await.unwrap(), "abc");
    }
    let empty = put_blob(&storage, &key("x"), chunks(&[])).await.unwrap();
    assert_eq!((empty.len, empty.sha256.as_str()), (0, NOTHING));
    assert_eq!(read_blob(&storage, &empty, 0).await.unwrap(), "");
}

#[tokio::test]
async fn a_damaged_blob_ends_in_corrupt() {
    let blob = Blob::new(key("x"), 3, ABC.to_owned());
    let cases: [(&str, Vec<&'static str>); 6] = [
        ("flipped", vec!["abd"]),
        ("flipped in chunks", vec!["xb", "c"]),
        ("short", vec!["ab"]),
        ("nothing", vec![]),
        ("long in the last chunk", vec!["ab", "cd"]),
        ("long by a chunk", vec!["abc", "", "d"]),
    ];
    for (name, bytes) in cases {
        let storage = Fake { bytes, len: 3, lost: 0 };
        let read = read_blob(&storage, &blob, MAX).await;
        assert!(matches!(read, Err(Error::Corrupt { .. })), "{name}: {read:?}");
    }
    let open = open_blob(&Fake { bytes: vec!["abcd"], len: 4, lost: 0 }, &blob).await;
    assert!(matches!(open, Err(Error::Corrupt { .. })), "{open:?}");

    let empty = Blob::new(key("x"), 0, ABC.to_owned());
    let read = read_blob(&Fake::default(), &empty, MAX).await;
    assert!(matches!(read, Err(Error::Corrupt { .. })), "an empty blob with another's sum");
}

#[tokio::test]
async fn the_last_chunk_waits_for_the_sum() {
    let blob = Blob::new(key("x"), 3, ABC.to_owned());
    let storage = Fake { bytes: vec!["ab", "d"], len: 3, lost: 0 };
    let mut stream = open_blob(&storage, &blob).await.unwrap().stream;
    assert_eq!(stream.next().await.unwrap().unwrap(), "ab");
    assert!(matches!(stream.next().await, Some(Err(Error::Corrupt { .. }))));
}

#[tokio::test]
async fn a_storage_that_loses_bytes_is_noticed() {
    let put = put_bytes(&Fake { lost: 1, ..Fake::default() }, &key("x"), "abc").await;
    assert!(matches!(put, Err(Error::Corrupt { .. })), "{put:?}");
}

#[tokio::test]
async fn a_failing_stream_keeps_the_old_blob_and_its_own_error() {
    let storage = MemoryStorage::new();
    let old = put_bytes(&storage, &key("x"), "abc").await.unwrap();
    let failing = stream::iter([Ok(Bytes::from_static(b"new")), Err(Error::Closed("upload"))]);
    let put = put_blob(&storage, &key("x"), failing.boxed()).await;
    assert!(matches!(put, Err(Error::Closed("upload"))), "{put:?}");
    assert_eq!(read_blob(&storage, &old, MAX).await.unwrap(), "abc");
}

#[tokio::test]
async fn reading_into_memory_is_limited() {
    let storage = MemoryStorage::new();
    let blob = put_bytes(&storage, &key("x"), "abc").await.unwrap();
    let read = read_blob(&storage, &blob, 2).await;
    assert!(matches!(read, Err(Error::LimitExceeded { actual: 3, limit: 2, .. })), "{read:?}");
}

#[tokio::test]
async fn files_are_streamed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("in");
    let content: Vec<u8> = (0..1_000_003u32).map(|n| n.to_le_bytes()[n as usize % 4]).collect();
    std::fs::write(&path, &content).unwrap();
    let storage = MemoryStorage::new();
    let blob = put_file(&storage, &key("x"), &path).await.unwrap();
    assert_eq!(blob.len, content.len() as u64);
    assert_eq!(read_blob(&storage, &blob, MAX).await.unwrap(), content);

    let missing = put_file(&storage, &key("y"), dir.path().join("none")).await;
    assert!(matches!(&missing, Err(Error::NotFound { .. })), "{missing:?}");
    let folder = put_file(&storage, &key("y"), dir.path()).await;
    assert!(matches!(&folder, Err(Error::Invalid { .. })), "{folder:?}");
    assert!(folder.unwrap_err().to_string().contains(dir.path().to_str().unwrap()));
    assert!(storage.head(&key("y")).await.unwrap().is_none());
}

/// A chunk that counts how many of its kind are alive.
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
async fn a_huge_stream_takes_no_more_memory_than_a_chunk() {
    let (alive, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let body = {
        let (alive, most) = (alive.clone(), most.clone());
        stream::iter(0..512u32).map(move |_| {
            let now = alive.fetch_add(1, Ordering::Relaxed) + 1;
            most.fetch_max(now, Ordering::Relaxed);
            Ok(Bytes::from_owner(Counted(vec![7; 64 << 10], alive.clone())))
        })
    };
    let blob = put_blob(&Fake::default(), &key("x"), body.boxed()).await.unwrap();
    assert_eq!(blob.len, 32 << 20);
    assert!(most.load(Ordering::Relaxed) <= 2, "{most:?} chunks were alive at once");
    assert_eq!(alive.load(Ordering::Relaxed), 0);
}

#[derive(Serialize, Deserialize)]
struct Args {
    blob: Blob,
    maybe: Option<Blob>,
    none: Option<Blob>,
    many: Vec<(u32, Blob)>,
    map: BTreeMap<String, Vec<Blob>>,
    either: Either,
    text: String,
}

#[derive(Serialize, Deserialize)]
enum Either {
    Tagged { inner: Blob },
}

fn blob(name: &str) -> Blob {
    Blob::new(key(name), 3, ABC.to_owned())
}

#[test]
fn blobs_are_found_wherever_they_stand() {
    let args = Args {
        blob: blob("blobs/a").with_content_type("text/plain"),
        maybe: Some(blob("blobs/b")),
        none: None,
        many: vec![(1, blob("blobs/c")), (2, blob("blobs/a")), (3, blob("kept").keep())],
        map: BTreeMap::from([("k".to_owned(), vec![blob("blobs/d"), blob("blobs/e")])]),
        either: Either::Tagged { inner: blob("blobs/f") },
        text: "{\"$blob\":\"not-me\"}".to_owned(),
    };
    let found = blobs_in(&Payload::json(&args).unwrap().bytes).unwrap();
    assert_eq!(found, ["a", "b", "c", "d", "e", "f"].map(|k| key(&format!("blobs/{k}"))));
    assert_eq!(
        blobs_in(&Payload::json(&blob("blobs/top")).unwrap().bytes).unwrap(),
        [key("blobs/top")]
    );
}

#[test]
fn only_whole_handles_count_as_blobs() {
    let sum = format!("\"sha256\":\"{ABC}\"");
    for (json, count) in [
        ("{}".to_owned(), 0),
        ("[1,-2,0.5,null,true,\"$blob\"]".to_owned(), 0),
        ("{\"$blob\":\"args/a\"}".to_owned(), 0),
        (format!("{{\"$blob\":\"args/a\",{sum}}}"), 0),
        (format!("{{\"$blob\":\"args/a\",\"len\":-3,{sum}}}"), 0),
        (format!("{{\"$blob\":\"../a\",\"len\":3,{sum}}}"), 0),
        (format!("{{\"$blob\":\"args/a\",\"len\":3,{sum},\"keep\":true}}"), 0),
        (format!("{{\"$blob\":\"args/a\",\"len\":3,{sum},\"keep\":false}}"), 1),
        (format!("{{\"more\":[],\"len\":3,{sum},\"$blob\":\"args/a\"}}"), 1),
        (
            format!(
                " [{{\"$blob\":\"args/a\",\"len\":3,{sum}}},{{\"$blob\":\"results/b\",\"len\":3,{sum}}}] "
            ),
            2,
        ),
        // Keys that the library did not make: whoever writes the args can't get these deleted.
        (format!("{{\"$blob\":\"kept/a\",\"len\":3,{sum}}}"), 0),
        (format!("{{\"$blob\":\"customers/a\",\"len\":3,{sum}}}"), 0),
    ] {
        assert_eq!(blobs_in(json.as_bytes()).unwrap().len(), count, "{json}");
    }
}

#[test]
fn f52_an_error_in_json_does_not_quote_it() {
    let error = blobs_in(b"{\"$blob\": secret}").unwrap_err();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text += &inner.to_string();
        cause = inner.source();
    }
    assert!(text.contains("line 1") && !text.contains("secret"), "{text}");
    assert!(blobs_in(b"{\"$blob\":1} more").is_err());
    assert!(blobs_in(b"\"\xff\"").is_err());
}

#[tokio::test]
async fn large_payloads_go_out_and_come_back() {
    let storage = MemoryStorage::new();
    let payload = Payload::json(&"x".repeat(100)).unwrap();
    let (row, out) = offload(&storage, &key("args/p"), payload.clone(), 102, 1_000).await.unwrap();
    assert_eq!((row, out), (payload.clone(), None), "within the limit");

    let (row, out) = offload(&storage, &key("args/p"), payload.clone(), 101, 1_000).await.unwrap();
    assert_eq!(row.encoding, Encoding::Blob);
    assert_eq!(out.unwrap().key, key("args/p"));
    assert_eq!(blobs_in(&row.bytes).unwrap(), [key("args/p")]);
    assert_eq!(load(&storage, row.clone(), 1_000).await.unwrap(), payload);
    assert_eq!(load(&storage, payload.clone(), 1).await.unwrap(), payload, "not moved");
    let (again, out) = offload(&storage, &key("q"), row.clone(), 1, 1_000).await.unwrap();
    assert_eq!((again, out), (row.clone(), None), "moved already");

    let over = offload(&storage, &key("q"), payload.clone(), 10, 99).await;
    assert!(matches!(over, Err(Error::LimitExceeded { limit: 99, .. })), "{over:?}");
    assert!(storage.head(&key("q")).await.unwrap().is_none());
    let over = load(&storage, row.clone(), 99).await;
    assert!(matches!(over, Err(Error::LimitExceeded { limit: 99, .. })), "{over:?}");

    put_bytes(&storage, &key("args/p"), "y".repeat(102)).await.unwrap();
    let swapped = load(&storage, row, 1_000).await;
    assert!(matches!(swapped, Err(Error::Corrupt { .. })), "{swapped:?}");
}

#[test]
fn fresh_keys_differ_and_follow_the_time() {
    let keys: Vec<_> = (0..100).map(|_| BlobKey::fresh("blobs").unwrap()).collect();
    assert!(keys.windows(2).all(|pair| pair[0] < pair[1]), "{keys:?}");
    assert!(keys[0].as_str().starts_with("blobs/"));
    assert!(BlobKey::fresh("").is_err() && BlobKey::fresh("a/").is_err());
}
