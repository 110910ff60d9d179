//! What the cases on [`Storage`] share.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::storage::ByteStream;
use crate::{BlobKey, Error, Storage};

/// Larger than what a storage would send in one piece.
pub(super) const LARGE: usize = (9 << 20) + 7;
pub(super) const SMALL: usize = 1_000;

pub(super) fn key(text: &str) -> BlobKey {
    BlobKey::new(text).unwrap()
}

/// Bytes in which no part looks like another.
pub(super) fn bytes(len: usize, seed: u8) -> Bytes {
    let mut next = u64::from(seed) << 32 | 1;
    let words = std::iter::repeat_with(|| {
        next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        next.to_le_bytes()
    });
    words.take(len.div_ceil(8)).flatten().take(len).collect()
}

/// The bytes as a stream, in chunks of this size.
pub(super) fn body(bytes: &Bytes, chunk: usize) -> ByteStream {
    let mut rest = bytes.clone();
    stream::iter(std::iter::from_fn(move || {
        let size = rest.len().min(chunk);
        (size > 0).then(|| Ok(rest.split_to(size)))
    }))
    .boxed()
}

pub(super) async fn put(storage: &dyn Storage, name: &str, content: &Bytes) {
    let len = storage.put(&key(name), body(content, 100_003)).await.unwrap();
    assert_eq!(len, content.len() as u64, "put answers the length");
}

/// Reads a blob; the bytes must be as many as the storage says.
pub(super) async fn read(storage: &dyn Storage, name: &str) -> Bytes {
    let opened = storage.get(&key(name)).await.unwrap();
    let mut all = Vec::new();
    let mut stream = opened.stream;
    while let Some(chunk) = stream.try_next().await.unwrap() {
        all.extend_from_slice(&chunk);
    }
    assert_eq!(opened.meta.len, all.len() as u64, "the length of the blob {name}");
    assert_eq!(opened.meta.key, key(name));
    all.into()
}

pub(super) async fn assert_holds(storage: &dyn Storage, name: &str, content: &Bytes) {
    let found = read(storage, name).await;
    // Not assert_eq: megabytes of differing bytes help nobody.
    assert!(found == *content, "blob {name}: {} other bytes came back", found.len());
}

pub(super) async fn assert_absent(storage: &dyn Storage, name: &str) {
    let got = storage.get(&key(name)).await;
    assert!(matches!(got, Err(Error::NotFound { .. })), "get of no blob: {got:?}");
    assert_eq!(storage.head(&key(name)).await.unwrap(), None, "head of no blob");
    let listed = storage.list(name, None, 10).await.unwrap();
    assert!(listed.iter().all(|m| m.key != key(name)), "no blob, but listed: {listed:?}");
}

pub(super) async fn names(
    storage: &dyn Storage,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Vec<String> {
    let listed = storage.list(prefix, after.map(key).as_ref(), limit).await.unwrap();
    listed.into_iter().map(|meta| meta.key.to_string()).collect()
}
