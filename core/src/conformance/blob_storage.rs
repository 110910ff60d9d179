//! `Storage`: named blobs, whole or not at all.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::StorageHarness;
use super::support::{HOUR, ms};
use crate::storage::{ByteStream, PresignMethod};
use crate::{BlobKey, Error, Storage};

fn key(text: &str) -> BlobKey {
    BlobKey::new(text).unwrap()
}

fn body(chunks: &[&[u8]]) -> ByteStream {
    let chunks: Vec<_> = chunks.iter().map(|c| Ok(Bytes::copy_from_slice(c))).collect();
    stream::iter(chunks).boxed()
}

async fn put(s: &dyn Storage, name: &str, bytes: &[u8]) {
    let len = s.put(&key(name), body(&[bytes])).await.unwrap();
    assert_eq!(len, bytes.len() as u64, "put answers the length");
}

async fn drain(mut stream: ByteStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk.unwrap());
    }
    bytes
}

async fn read(s: &dyn Storage, name: &str) -> Vec<u8> {
    let body = s.get(&key(name)).await.unwrap();
    let len = body.meta.len;
    let bytes = drain(body.stream).await;
    assert_eq!(len, bytes.len() as u64, "the length said is the length read");
    bytes
}

async fn assert_unknown(s: &dyn Storage, name: &str) {
    let error = s.get(&key(name)).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    assert_eq!(s.head(&key(name)).await.unwrap(), None);
}

async fn keys(s: &dyn Storage, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    let after = after.map(key);
    let found = s.list(prefix, after.as_ref(), limit).await.unwrap();
    found.into_iter().map(|m| m.key.to_string()).collect()
}

/// Bytes that differ from place to place, so that swapped or lost chunks show.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
}

pub async fn what_is_put_is_got<H: StorageHarness>(h: H) {
    let s = &*h.storage();
    for bytes in [&b"hello"[..], b"\0\xff\n", &pattern(100_000)] {
        put(s, "a", bytes).await;
        assert!(read(s, "a").await == bytes, "the very bytes come back");
    }
}

pub async fn no_bytes_are_a_blob<H: StorageHarness>(h: H) {
    let s = &*h.storage();
    put(s, "empty", b"").await;
    assert_eq!(s.put(&key("none"), body(&[])).await.unwrap(), 0);
    assert!(read(s, "empty").await.is_empty());
    assert!(read(s, "none").await.is_empty());
    assert_eq!(s.head(&key("none")).await.unwrap().unwrap().len, 0);
    assert_eq!(keys(s, "", None, 9).await, ["empty", "none"]);
}

pub async fn chunks_of_any_size_are_joined<H: StorageHarness>(h: H) {
    let s = &*h.storage();
    let chunks: [&[u8]; 7] = [b"a", b"", b"bcd", &[7; 70_000], b"", b"e", b""];
    let len = s.put(&key("a"), body(&chunks)).await.unwrap();
    assert_eq!(len, 70_005);
    assert!(read(s, "a").await == chunks.concat());
}

pub async fn ten_mebibytes_are_streamed<H: StorageHarness>(h: H) {
    let s = &*h.storage();
    let bytes = pattern(10 << 20);
    let chunks: Vec<_> = bytes.chunks(60_001).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
    let len = s.put(&key("big"), stream::iter(chunks).boxed()).await.unwrap();
    assert_eq!(len, 10 << 20);
    assert!(read(s, "big").await == bytes);
    assert_eq!(s.head(&key("big")).await.unwrap().unwrap().len, 10 << 20);
}

pub async fn unknown_keys_are_not_found<H: StorageHarness>(h: H) {
    let s = &*h.storage();
    put(s, "a/b", b"x").await;
    for name in ["a", "a/b/c", "b", "A/b"] {
        assert_unknown(s, name).await;
    }
}

pub async fn head_tells_key_length_and_time<H: StorageHarness>(h: H) {
    let s = &*h.storage();
    put(s, "a/b", b"four").await;
    let head = s.head(&key("a/b")).await.unwrap().unwrap();
    assert_eq!((head.key.as_str(), head.len), ("a/b", 4));
    let listed = s.list("a", None, 9).await.unwrap();
    assert_eq!(listed, std::slice::from_ref(&head), "the listing says the same");
    assert_eq!(s.get(&key("a/b")).await.unwrap().meta, head, "and so does reading");
}

pub async fn a_put_replaces<H: StorageHarness>(h: H) {
    let s = &*h.storage();
    let (long, short) = (pattern(300_000), pattern(10));
    for bytes in [&long, &short, &long, &Vec::new()] {
        put(s, "a", bytes).await;
        assert!(read(s, "a").await == *bytes, "nothing of the old blob is left");
    }
    assert_eq!(keys(s, "", None, 9).await.len(), 1);
}

fn failing(first: usize) -> ByteStream {
    let chunks = (0..first).map(|_| Ok(Bytes::from(vec![1; 300_000])));
    let error = Error::invalid("test stream", "it breaks off");
    stream::iter(chunks.chain([Err(error)])).boxed()
}

pub async fn a_failing_stream_leaves_nothing<H: StorageHarness>(h: H) {
    let s = &*h.storage();
    for chunks in [0, 1, 20] {
        let error = s.put(&key("a"), failing(chunks)).await.unwrap_err();
        let text = format!("{error:?}");
        assert!(text.contains("it breaks off"), "the stream's own error comes back, not {text}");
        assert_unknown(s, "a").await;
        assert!(keys(s, "", None, 9).await.is_empty(), "nor does the listing show half a blob");
    }
}

pub async fn a_failing_stream_keeps_the_old_blob<H: StorageHarness>(h: H) {
    let s = &*h.storage();
    put(s, "a", b"old").await;
    for chunks in [0, 1, 20] {
        s.put(&key("a"), failing(chunks)).await.unwrap_err();
        assert_eq!(read(s, "a").await, b"old");
    }
}

/// Polls a put until its stream is waited for, then drops it.
async fn put_and_drop(s: &dyn Storage, name: &str) {
    let (sent, mut seen) = tokio::sync::watch::channel(0);
    let endless = stream::unfold((0, sent), |(n, sent)| async move {
        if n == 20 {
            std::future::pending::<()>().await;
        }
        sent.send_replace(n + 1);
        Some((Ok(Bytes::from(vec![2; 300_000])), (n + 1, sent)))
    });
    let name = key(name);
    let mut put = pin!(s.put(&name, endless.boxed()));
    let mut all_sent = pin!(seen.wait_for(|n| *n == 20));
    std::future::poll_fn(|cx| {
        assert!(put.as_mut().poll(cx).is_pending(), "the stream has not ended");
        match all_sent.as_mut().poll(cx) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
}

pub async fn a_dropped_put_leaves_nothing<H: StorageHarness>(h: H) {
    let s = &*h.storage();
    put_and_drop(s, "a").await;
    assert_unknown(s, "a").await;
    assert!(keys(s, "", None, 9).await.is_empty());
    put(s, "a", b"new").await;
    assert_eq!(read(s, "a").await, b"new", "the key can be written afterwards");
}

pub async fn a_dropped_put_keeps_the_old_blob<H: StorageHarness>(h: H) {
    let s = &*h.storage();
    put(s, "a", b"old").await;
    put_and_drop(s, "a").await;
    assert_eq!(read(s, "a").await, b"old");
}

/// Until the last byte has come, readers see what was there before.
pub async fn a_put_under_way_is_not_seen<H: StorageHarness>(h: H) {
    let s = h.storage();
    put(&*s, "a", b"old").await;
    let (go, wait) = tokio::sync::oneshot::channel::<()>();
    let first = stream::iter([Ok(Bytes::from(vec![3; 600_000]))]);
    let (half, mut is_half) = tokio::sync::watch::channel(false);
    let last = stream::once(async move {
        half.send_replace(true);
        wait.await.ok();
        Ok(Bytes::from_static(b"end"))
    });
    let writer = tokio::spawn({
        let s = s.clone();
        async move { s.put(&key("a"), first.chain(last).boxed()).await }
    });
    is_half.wait_for(|half| *half).await.unwrap();
    assert_eq!(read(&*s, "a").await, b"old");
    assert_eq!(s.head(&key("a")).await.unwrap().unwrap().len, 3);
    go.send(()).unwrap();
    assert_eq!(writer.await.unwrap().unwrap(), 600_003);
    assert_eq!(read(&*s, "a").await.len(), 600_003);
}

/// A reader gets one version or an error, never a mixture of two.
pub async fn a_reader_never_sees_two_versions<H: StorageHarness>(h: H) {
    let s = &*h.storage();
    put(s, "a", &vec![1; 2 << 20]).await;
    let mut stream = s.get(&key("a")).await.unwrap().stream;
    let mut bytes = stream.next().await.unwrap().unwrap().to_vec();
    put(s, "a", &vec![2; 2 << 20]).await;
    while let Some(chunk) = stream.next().await {
        match chunk {
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(_) => return,
        }
    }
    assert!(bytes.len() == 2 << 20 && bytes.iter().all(|b| *b == bytes[0]), "one version, whole");
}

pub async fn deleted_blobs_are_gone<H: StorageHarness>(h: H) {
    let s = &*h.storage();
    for name in ["a", "a/b", "ab", "b"] {
        put(s, name.replace('/', ".").as_str(), b"x").await;
    }
    s.delete(&[key("a"), key("b")]).await.unwrap();
    assert_unknown(s, "a").await;
    assert_unknown(s, "b").await;
    assert_eq!(keys(s, "", None, 9).await, ["a.b", "ab"], "others stay");
    put(s, "a", b"again").await;
    assert_eq!(read(s, "a").await, b"again");
}

pub async fn deleting_again_is_no_error<H: StorageHarness>(h: H) {
    let s = &*h.storage();
    put(s, "a", b"x").await;
    for _ in 0..2 {
        s.delete(&[key("a"), key("never/there"), key("a")]).await.unwrap();
    }
    s.delete(&[]).await.unwrap();
    assert_unknown(s, "a").await;
}

pub async fn many_are_deleted_in_one_call<H: StorageHarness>(h: H) {
    let s = &*h.storage();
    let names: Vec<_> = (0..300).map(|n| format!("d/{n}")).collect();
    for name in &names {
        put(s, name, b"x").await;
    }
    let doomed: Vec<_> = names[..299].iter().map(|n| key(n)).collect();
    s.delete(&doomed).await.unwrap();
    assert_eq!(keys(s, "", None, 9).await, ["d/299"]);
}

pub async fn a_listing_is_in_byte_order<H: StorageHarness>(h: H) {
    let s = &*h.storage();
    let mut names = ["b", "a/b", "a.c", "a/B", "a-1", "a_1", "Z", "a:x", "9", "a/b.c", "ab/c/d"];
    for name in names {
        put(s, name, b"x").await;
    }
    names.sort_unstable();
    assert_eq!(keys(s, "", None, 99).await, names);
    for (n, after) in names.iter().enumerate() {
        assert_eq!(keys(s, "", Some(after), 99).await, names[n + 1..], "after {after}");
    }
}

pub async fn a_prefix_is_any_text<H: StorageHarness>(h: H) {
    let s = &*h.storage();
    for name in ["in/a1", "in/a2", "in/b", "ina", "out", "in2/x"] {
        put(s, name, b"x").await;
    }
    assert_eq!(keys(s, "in/", None, 9).await, ["in/a1", "in/a2", "in/b"]);
    assert_eq!(keys(s, "in/a", None, 9).await, ["in/a1", "in/a2"], "also within a segment");
    assert_eq!(keys(s, "in", None, 9).await, ["in/a1", "in/a2", "in/b", "in2/x", "ina"]);
    assert_eq!(keys(s, "out", None, 9).await, ["out"], "also a whole key");
    for odd in ["%", "_", "in*", "'", "in/a?", "é", "../", "/", "in/a1/"] {
        assert!(keys(s, odd, None, 9).await.is_empty(), "{odd:?} is text, no pattern");
    }
}

pub async fn a_listing_goes_on_after_a_key<H: StorageHarness>(h: H) {
    let s = &*h.storage();
    let names: Vec<_> = (0..25).map(|n| format!("p/{n:02}")).collect();
    for name in &names {
        put(s, name, b"x").await;
    }
    put(s, "o", b"x").await;
    put(s, "q", b"x").await;
    let mut found: Vec<String> = Vec::new();
    loop {
        let page = keys(s, "p/", found.last().map(String::as_str), 10).await;
        assert!(page.len() <= 10);
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    assert_eq!(found, names);
    assert_eq!(keys(s, "p/", Some("p/095"), 2).await, ["p/10", "p/11"], "after an unknown key");
    assert!(keys(s, "p/", Some("z"), 9).await.is_empty());
    assert_eq!(keys(s, "p/", Some("a"), 1).await, ["p/00"], "after a key before the prefix");
    assert!(keys(s, "p/", None, 0).await.is_empty());
}

pub async fn keys_of_every_form_are_kept<H: StorageHarness>(h: H) {
    let s = &*h.storage();
    let long = ["segment-of-a-key"; 30].join("/");
    let names = ["a:b", "A", "x/..y/z.", "-._:", "a/b/c/d/e", &long];
    for name in names {
        put(s, name, name.as_bytes()).await;
    }
    for name in names {
        assert_eq!(read(s, name).await, name.as_bytes());
    }
    let mut wanted = names.to_vec();
    wanted.sort_unstable();
    assert_eq!(keys(s, "", None, 99).await, wanted, "the listing gives the very keys");
}

pub async fn concurrent_puts_leave_one_whole_blob<H: StorageHarness>(h: H) {
    let s = h.storage();
    let writers: Vec<_> = (0..8_u8)
        .map(|n| {
            let s = s.clone();
            tokio::spawn(async move { put(&*s, "a", &vec![n; 200_000 + usize::from(n)]).await })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let bytes = read(&*s, "a").await;
    assert_eq!(bytes.len(), 200_000 + usize::from(bytes[0]));
    assert!(bytes.iter().all(|b| *b == bytes[0]), "one of them, whole");
}

pub async fn a_reader_may_stop_half_way<H: StorageHarness>(h: H) {
    let s = &*h.storage();
    put(s, "a", &pattern(3 << 20)).await;
    for _ in 0..20 {
        let mut stream = s.get(&key("a")).await.unwrap().stream;
        stream.next().await.unwrap().unwrap();
    }
    assert_eq!(read(s, "a").await.len(), 3 << 20);
    s.delete(&[key("a")]).await.unwrap();
    assert_unknown(s, "a").await;
}

pub async fn the_time_of_writing_moves_on<H: StorageHarness>(h: H) {
    let s = &*h.storage();
    put(s, "a", b"x").await;
    let first = s.head(&key("a")).await.unwrap().unwrap().modified_at;
    tokio::time::sleep(ms(5)).await;
    put(s, "a", b"y").await;
    let second = s.head(&key("a")).await.unwrap().unwrap().modified_at;
    assert!(second >= first);
}

pub async fn presign_gives_a_url_or_says_that_it_cannot<H: StorageHarness>(h: H) {
    let s = &*h.storage();
    put(s, "a", b"x").await;
    for method in [PresignMethod::Get, PresignMethod::Put] {
        match s.presign(&key("a"), method, HOUR).await {
            Ok(url) => assert!(H::presigns() && url.starts_with("http"), "{url}"),
            Err(error) => {
                assert!(!H::presigns(), "{error}");
                assert!(matches!(error, Error::Unsupported { .. }), "{error}");
            }
        }
    }
}
