//! Blobs, large args, and pruning both.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use windlass_core::*;

use crate::flaky::{Fault, Flaky};
use crate::{client, completed, mail, settle};

const DAY: Duration = Duration::from_secs(24 * 3_600);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Thumbnail {
    images: Vec<Blob>,
    note: String,
}

impl Job for Thumbnail {
    const KIND: &'static str = "mail";
    type Output = ();
}

async fn stored<B: Backend>(client: &Client<B>) -> usize {
    client.storage().list("", None, 100).await.unwrap().len()
}

#[tokio::test]
async fn bytes_streams_and_files_become_blobs_and_come_back() {
    let client = client();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"hello").unwrap();
    let chunks = stream::iter(["he", "llo"].map(|part| Ok(Bytes::from(part)))).boxed();
    let blobs = [
        client.put_blob("hello").content_type("text/plain").await.unwrap(),
        client.put_blob(b"hello".to_vec()).await.unwrap(),
        client.put_blob(chunks).await.unwrap(),
        client.put_blob(file.path()).await.unwrap(),
    ];
    assert_eq!(blobs[0].content_type.as_deref(), Some("text/plain"));
    for blob in &blobs {
        assert_eq!((blob.len, &blob.sha256), (5, &blobs[0].sha256));
        assert_eq!(client.read_blob(blob, 5).await.unwrap(), "hello");
        let parts: Vec<Bytes> =
            client.open_blob(blob).await.unwrap().stream.try_collect().await.unwrap();
        assert_eq!(parts.concat(), b"hello");
    }
    assert!(matches!(client.read_blob(&blobs[0], 4).await, Err(Error::LimitExceeded { .. })));
    let missing = client.put_blob(std::path::Path::new("no/such/file")).await.unwrap_err();
    assert!(missing.to_string().contains("no/such/file"), "{missing}");
}

#[tokio::test]
async fn a_blob_lives_as_long_as_its_job_or_a_day_without_one() {
    let client = client();
    let used = client.put_blob("used").await.unwrap();
    let unused = client.put_blob("unused").await.unwrap();
    let kept = client.put_blob("kept").keep().await.unwrap();
    let job = Thumbnail { images: vec![used.clone(), kept.clone()], note: String::new() };
    client.enqueue(job).await.unwrap();
    client.backend().advance(DAY * 2);
    let pruned = client.prune(&Retention::default()).await.unwrap();
    assert_eq!((pruned.jobs, pruned.blobs), (0, 1));
    assert!(matches!(client.read_blob(&unused, 9).await, Err(Error::NotFound { .. })));
    assert_eq!(client.read_blob(&used, 9).await.unwrap(), "used");

    settle(&client, completed(&())).await;
    client.backend().advance(DAY * 2);
    let pruned = client.prune(&Retention::default()).await.unwrap();
    assert_eq!((pruned.jobs, pruned.blobs), (1, 1));
    assert!(matches!(client.read_blob(&used, 9).await, Err(Error::NotFound { .. })));
    assert_eq!(client.read_blob(&kept, 9).await.unwrap(), "kept");
    assert!(client.delete_blob(&unused).await.is_err());
    client.delete_blob(&kept).await.unwrap();
    assert_eq!(stored(&client).await, 0);
}

#[tokio::test]
async fn large_args_go_to_the_storage_and_come_back_by_themselves() {
    let client = client();
    let image = client.put_blob("image").await.unwrap();
    let job = || Thumbnail { images: vec![image.clone()], note: "x".repeat(300 << 10) };
    let record = client.enqueue(job()).await.unwrap().record().await.unwrap().unwrap();
    assert_eq!(record.args.encoding, Encoding::Blob);
    assert!(record.args.bytes.len() < 1_000);
    assert_eq!(client.args::<Thumbnail>(&record).await.unwrap(), job());
    assert_eq!(stored(&client).await, 2);

    settle(&client, completed(&())).await;
    client.backend().advance(DAY * 2);
    assert_eq!(client.prune(&Retention::default()).await.unwrap().blobs, 2);
    assert_eq!(stored(&client).await, 0);
}

#[tokio::test]
async fn large_args_whose_insert_fails_leave_nothing_behind() {
    let client = Client::new(Arc::new(Flaky::default()));
    client.backend().next("insert", Fault::Broken);
    assert!(client.enqueue(mail(&"x".repeat(300 << 10))).await.is_err());
    assert_eq!(stored(&client).await, 1);
    client.backend().advance(DAY * 2);
    assert_eq!(client.prune(&Retention::default()).await.unwrap().blobs, 1);
    assert_eq!(stored(&client).await, 0);
}

#[tokio::test]
async fn args_above_every_limit_are_refused_with_a_way_out() {
    let mut limits = Limits::default();
    (limits.inline_args, limits.payload) = (100, 1_000);
    let client = Client::new(Arc::new(MemoryBackend::with_limits(limits)));
    let error = client.enqueue(mail(&"x".repeat(2_000))).await.unwrap_err();
    assert!(matches!(error, Error::LimitExceeded { limit: 1_000, .. }), "{error}");
    assert!(error.to_string().contains("`Blob`"), "{error}");
    assert_eq!(stored(&client).await, 0);
}

#[tokio::test]
async fn a_prepared_job_is_ready_to_be_inserted_elsewhere() {
    let client = client();
    let image = client.put_blob("image").await.unwrap();
    let job = Thumbnail { images: vec![image.clone()], note: "x".repeat(300 << 10) };
    let prepared = client.prepare(Draft::new(job).queue("media")).await.unwrap();
    assert_eq!(prepared.blobs.len(), 2);
    assert_eq!(prepared.blobs[0], image.key);
    assert_eq!((prepared.args.encoding, prepared.queue.as_str()), (Encoding::Blob, "media"));
    let blobs = prepared.blobs.clone();
    // Inserting prepares again, which changes nothing any more.
    let id = client.insert(vec![prepared]).await.unwrap()[0].id();
    assert_eq!(stored(&client).await, 2);
    assert_eq!(blobs.len(), 2);
    assert!(client.get(id).await.unwrap().is_some());
}

#[tokio::test]
async fn a_blob_whose_storage_fails_is_named_again_until_it_is_gone() {
    let client = Client::new(Arc::new(Flaky::default()));
    client.put_blob("unused").await.unwrap();
    client.backend().advance(DAY * 2);
    client.backend().next("blobs_deleted", Fault::Away);
    assert!(client.prune(&Retention::default()).await.is_err());
    assert_eq!(client.prune(&Retention::default()).await.unwrap().blobs, 1);
    assert_eq!(client.prune(&Retention::default()).await.unwrap().blobs, 0);
}

#[tokio::test]
async fn pruning_takes_as_many_batches_as_it_needs() {
    let client = client();
    for chunk in 0..3 {
        let jobs = (0..500).map(|n| mail(&format!("{chunk}/{n}")));
        client.enqueue_many(jobs).await.unwrap();
    }
    client.cancel_all(JobFilter::default()).await.unwrap();
    client.enqueue(mail("stays")).await.unwrap();
    client.backend().advance(DAY * 8);
    let pruned = client.prune(&Retention::default()).await.unwrap();
    assert_eq!(pruned.jobs, 1_500);
    assert_eq!(client.list(JobQuery::default()).await.unwrap().items.len(), 1);
}
