//! [`Storage`](crate::Storage) beside put and list: reading, deleting, presigning.

use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;

use super::StorageHarness;
use super::storage_support::{
    LARGE, SMALL, assert_absent, assert_holds, body, bytes, key, names, put,
};
use crate::storage::{ByteStream, PresignMethod};
use crate::{BlobKey, Error};

pub async fn an_unknown_key_is_not_found<H: StorageHarness>(h: H) {
    let storage = h.storage();
    put(&*storage, "known/a", &bytes(SMALL, 1)).await;
    for name in ["unknown", "known", "known/b", "known/a/b", "known/A"] {
        let got = storage.get(&key(name)).await;
        assert!(matches!(&got, Err(Error::NotFound { .. })), "get of {name}: {got:?}");
        let text = got.unwrap_err().to_string();
        assert!(text.contains(name), "the error names the key: {text}");
        assert_eq!(storage.head(&key(name)).await.unwrap(), None, "head of {name}");
    }
}

pub async fn head_get_and_list_tell_the_same<H: StorageHarness>(h: H) {
    let storage = h.storage();
    put(&*storage, "a", &bytes(SMALL, 1)).await;
    let first = storage.head(&key("a")).await.unwrap().unwrap();
    assert_eq!((&first.key, first.len), (&key("a"), SMALL as u64));
    assert_eq!(storage.get(&key("a")).await.unwrap().meta, first);
    assert_eq!(storage.list("", None, 10).await.unwrap(), std::slice::from_ref(&first));

    put(&*storage, "a", &bytes(SMALL, 2)).await;
    let second = storage.head(&key("a")).await.unwrap().unwrap();
    assert!(second.modified_at >= first.modified_at, "{second:?} after {first:?}");
}

pub async fn delete_may_be_repeated_and_takes_nothing_else<H: StorageHarness>(h: H) {
    let storage = h.storage();
    for name in ["a", "b/a", "b/aa", "c"] {
        put(&*storage, name, &bytes(SMALL, 1)).await;
    }
    storage.delete(&[]).await.unwrap();
    for _ in 0..2 {
        storage
            .delete(&[key("b/a"), key("unknown"), key("b"), key("a"), key("a/b")])
            .await
            .unwrap();
        assert_eq!(names(&*storage, "", None, 10).await, ["b/aa", "c"]);
    }
    assert_absent(&*storage, "a").await;
    assert_holds(&*storage, "b/aa", &bytes(SMALL, 1)).await;
    put(&*storage, "a", &bytes(SMALL, 2)).await;
    assert_holds(&*storage, "a", &bytes(SMALL, 2)).await;
}

pub async fn many_are_deleted_at_once<H: StorageHarness>(h: H) {
    let storage = h.storage();
    let keys: Vec<BlobKey> = (0..1_500).map(|n| key(&format!("many/{n}"))).collect();
    for some in keys.iter().step_by(100) {
        storage.put(some, body(&bytes(1, 1), 1)).await.unwrap();
    }
    put(&*storage, "other", &bytes(1, 1)).await;
    storage.delete(&keys).await.unwrap();
    assert_eq!(names(&*storage, "", None, 10).await, ["other"]);
}

/// Reads on from an open blob: the whole old content, or an error. Never a mixture and never a part.
async fn assert_whole_or_error(mut stream: ByteStream, mut begun: Vec<u8>, old: &Bytes) {
    loop {
        match stream.try_next().await {
            Ok(Some(chunk)) => begun.extend_from_slice(&chunk),
            Ok(None) => break assert!(begun == *old, "a read gave {} other bytes", begun.len()),
            Err(_) => break,
        }
    }
}

pub async fn an_open_read_never_mixes_two_blobs<H: StorageHarness>(h: H) {
    let storage = h.storage();
    let old = bytes(LARGE, 1);
    for replaced in [true, false] {
        put(&*storage, "a", &old).await;
        let mut stream = storage.get(&key("a")).await.unwrap().stream;
        let begun = stream.try_next().await.unwrap().unwrap().to_vec();
        let unread = storage.get(&key("a")).await.unwrap().stream;
        if replaced {
            put(&*storage, "a", &bytes(LARGE, 2)).await;
            assert_holds(&*storage, "a", &bytes(LARGE, 2)).await;
        } else {
            storage.delete(&[key("a")]).await.unwrap();
            assert_absent(&*storage, "a").await;
        }
        assert_whole_or_error(stream, begun, &old).await;
        assert_whole_or_error(unread, Vec::new(), &old).await;
    }
}

pub async fn a_dropped_read_is_in_nobodys_way<H: StorageHarness>(h: H) {
    let storage = h.storage();
    put(&*storage, "a", &bytes(LARGE, 1)).await;
    for _ in 0..50 {
        let mut stream = storage.get(&key("a")).await.unwrap().stream;
        stream.try_next().await.unwrap().unwrap();
    }
    put(&*storage, "a", &bytes(SMALL, 2)).await;
    assert_holds(&*storage, "a", &bytes(SMALL, 2)).await;
}

pub async fn presign_gives_a_url_or_says_that_it_cannot<H: StorageHarness>(h: H) {
    let storage = h.storage();
    put(&*storage, "a", &bytes(SMALL, 1)).await;
    for method in [PresignMethod::Get, PresignMethod::Put] {
        let signed = storage.presign(&key("a"), method, Duration::from_secs(60)).await;
        if H::presigns() {
            let url = signed.unwrap();
            assert!(url.contains("://"), "not a URL: {url}");
        } else {
            assert!(matches!(signed, Err(Error::Unsupported { .. })), "{signed:?}");
        }
    }
}
