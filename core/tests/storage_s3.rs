//! `ObjectStorage::s3` against a server that speaks the protocol and checks signatures.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use windlass_core::conformance::StorageHarness;
use windlass_core::storage::{ObjectStorage, PresignMethod, S3Options, put_bytes, read_blob};
use windlass_core::{BlobKey, Error, Storage};
use windlass_test_servers::S3Server;

fn open(server: &S3Server, url: &str) -> ObjectStorage {
    let options = S3Options::from_url(url).unwrap();
    ObjectStorage::s3(options.credentials(server.key_id(), server.secret())).unwrap()
}

struct Bucket {
    storage: ObjectStorage,
    _server: S3Server,
}

impl StorageHarness for Bucket {
    async fn open() -> Self {
        let server = S3Server::start().await.unwrap();
        Self { storage: open(&server, &server.url()), _server: server }
    }

    fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(self.storage.clone())
    }

    fn presigns() -> bool {
        true
    }
}

// The server keeps objects as files and directories, which have limits that S3 doesn't have.
windlass_core::conformance_storage!(Bucket, skip: {
    storage_list::keys_come_back_as_they_went_in => "the server's file system takes no such long names",
    storage_read::an_unknown_key_is_not_found => "the server fails for a key below another",
    storage_read::delete_may_be_repeated_and_takes_nothing_else => "the server fails for a key below another",
    storage_read::head_get_and_list_tell_the_same => "the server lists times with fractions of a second, S3 without",
});

fn key(text: &str) -> BlobKey {
    BlobKey::new(text).unwrap()
}

#[tokio::test]
async fn a_presigned_url_reads_the_blob_without_credentials() {
    let server = S3Server::start().await.unwrap();
    let storage = open(&server, &server.url().replace("s3://test", "s3://test/an/app"));
    put_bytes(&storage, &key("a"), "content").await.unwrap();
    assert!(server.objects().join("an/app/a").exists());
    let url = storage.presign(&key("a"), PresignMethod::Get, Duration::from_secs(60)).await;
    let url = url.unwrap();
    let answer = reqwest::get(&url).await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "content");
    let unsigned = url.split_once('?').unwrap().0;
    assert_eq!(reqwest::get(unsigned).await.unwrap().status(), 403);
}

#[tokio::test]
async fn a_large_blob_travels_in_parts() {
    let server = S3Server::start().await.unwrap();
    let storage = open(&server, &server.url());
    let body = stream::repeat_with(|| Ok(vec![7; 1 << 20].into())).take(20);
    let blob = windlass_core::storage::put_blob(&storage, &key("a"), body.boxed()).await.unwrap();
    assert_eq!(read_blob(&storage, &blob, u64::MAX).await.unwrap(), vec![7; 20 << 20]);
}

#[tokio::test]
async fn a_wrong_key_is_refused_and_not_shown() {
    let server = S3Server::start().await.unwrap();
    let options = S3Options::from_url(&server.url()).unwrap();
    let options = options.credentials(server.key_id(), "other-secret");
    assert!(!format!("{options:?}").contains("other-secret"));
    let storage = ObjectStorage::s3(options).unwrap();
    let error = put_bytes(&storage, &key("a"), "content").await.unwrap_err();
    assert!(matches!(error, Error::Backend { .. }), "{error:?}");
    assert!(!format!("{error:?} {storage:?}").contains("other-secret"));
}
