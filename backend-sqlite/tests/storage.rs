//! Blobs in the database: the conformance suite, and what is particular about this storage.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, future, stream};
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;
use tokio::sync::Notify;
use windlass_core::conformance::StorageHarness;
use windlass_core::storage::{put_blob, put_bytes, read_blob};
use windlass_core::{Backend, BlobKey, Error, Result, Retention, Storage, Store};
use windlass_sqlite::{SqliteBackend, SqliteOptions};

struct Sqlite {
    backend: SqliteBackend,
    dir: TempDir,
}

impl Sqlite {
    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("jobs.db")
    }

    /// A connection of somebody else's, to look at the tables.
    async fn look(&self) -> SqliteConnection {
        SqliteConnection::connect(&format!("sqlite:{}", self.path().display())).await.unwrap()
    }

    async fn count(&self, table: &'static str) -> i64 {
        let sql = match table {
            "chunks" => "SELECT count(*) FROM windlass_blob_chunks",
            _ => "SELECT count(*) FROM windlass_blob_trash",
        };
        sqlx::query_scalar(sql).fetch_one(&mut self.look().await).await.unwrap()
    }

    /// The database's clock moves on by more than an upload may stall.
    async fn pass_hours(&self) {
        self.backend.advance_clock(Duration::from_secs(2 * 3_600));
        self.backend.ping().await.unwrap();
    }

    /// Waits for what goes on behind a dropped future.
    async fn until_chunks_are(&self, expected: i64) {
        let reached = async {
            while (self.count("chunks").await, self.count("trash").await) != (expected, 0) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let reached = tokio::time::timeout(Duration::from_secs(30), reached).await;
        assert!(reached.is_ok(), "{} chunks are left", self.count("chunks").await);
    }
}

impl StorageHarness for Sqlite {
    async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let backend = open(&dir.path().join("jobs.db")).await;
        Self { backend, dir }
    }

    fn storage(&self) -> Arc<dyn Storage> {
        self.backend.storage()
    }
}

windlass_core::conformance_storage!(Sqlite);

async fn open(path: &Path) -> SqliteBackend {
    SqliteBackend::open(SqliteOptions::new(path)).await.unwrap()
}

fn key(text: &str) -> BlobKey {
    BlobKey::new(text).unwrap()
}

/// Chunks of 1 MiB, each with its number in every byte.
fn mebibytes(count: u8) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    stream::iter(0..count).map(|n| Ok(Bytes::from(vec![n; 1 << 20])))
}

#[tokio::test]
async fn deleted_and_replaced_blobs_leave_no_chunks() {
    let h = Sqlite::open().await;
    let storage = h.storage();
    for _ in 0..2 {
        storage.put(&key("a"), mebibytes(20).boxed()).await.unwrap();
        storage.put(&key("b"), mebibytes(3).boxed()).await.unwrap();
        assert_eq!((h.count("chunks").await, h.count("trash").await), (23, 0));
    }
    storage.delete(&[key("a")]).await.unwrap();
    assert_eq!((h.count("chunks").await, h.count("trash").await), (3, 0));
    storage.put(&key("b"), stream::empty().boxed()).await.unwrap();
    assert_eq!((h.count("chunks").await, h.count("trash").await), (0, 0));
}

#[tokio::test]
async fn uploads_that_end_early_leave_no_chunks() {
    let h = Sqlite::open().await;
    let storage = h.storage();
    let failing = mebibytes(5).chain(stream::once(async { Err(Error::Closed("the stream")) }));
    storage.put(&key("a"), failing.boxed()).await.unwrap_err();
    assert_eq!((h.count("chunks").await, h.count("trash").await), (0, 0));

    let reached = Arc::new(Notify::new());
    let signal = reached.clone();
    let stall = stream::once(async move {
        signal.notify_one();
        future::pending().await
    });
    let name = key("a");
    let mut put = storage.put(&name, mebibytes(5).chain(stall).boxed());
    tokio::select! {
        ended = &mut put => panic!("it ended: {ended:?}"),
        () = reached.notified() => {}
    }
    assert!(h.count("chunks").await > 0, "chunks are written on the way");
    drop(put);
    h.until_chunks_are(0).await;
}

#[tokio::test]
async fn uploads_of_a_dead_process_are_removed_in_time() {
    let h = Sqlite::open().await;
    let storage = h.storage();
    h.backend.ping().await.unwrap();
    // What processes that died in mid-upload leave.
    let now: i64 = sqlx::query_scalar("SELECT now FROM windlass_tick")
        .fetch_one(&mut h.look().await)
        .await
        .unwrap();
    let mut conn = h.look().await;
    for (id, due) in [(100, now - 1), (101, now + 3_600_000_000)] {
        sqlx::query("INSERT INTO windlass_blob_trash VALUES (?1, ?2)")
            .bind(id)
            .bind(due)
            .execute(&mut conn)
            .await
            .unwrap();
        sqlx::query("INSERT INTO windlass_blob_chunks VALUES (?1, x'00')")
            .bind(id << 20)
            .execute(&mut conn)
            .await
            .unwrap();
    }
    storage.delete(&[]).await.unwrap();
    assert_eq!((h.count("chunks").await, h.count("trash").await), (1, 1), "one may be alive");
    h.pass_hours().await;
    h.backend.prune(&Retention::default(), 10).await.unwrap();
    assert_eq!((h.count("chunks").await, h.count("trash").await), (0, 0));
}

/// Puts a blob; after some of its chunks something happens, then a rest of this many bytes comes.
async fn put_around<F>(h: &Sqlite, happens: F, rest: usize) -> Result<u64>
where
    F: Future<Output = ()> + Send + 'static,
{
    let rest = stream::once(async move {
        happens.await;
        Ok(Bytes::from(vec![9; rest]))
    });
    h.storage().put(&key("a"), mebibytes(3).chain(rest).boxed()).await
}

#[tokio::test]
async fn an_upload_taken_for_dead_never_becomes_visible() {
    let h = Arc::new(Sqlite::open().await);
    // Without a rest the next step is the last one, with a long one it is a further chunk.
    for rest in [0, 2 << 20] {
        let other = h.clone();
        let swept = async move {
            other.pass_hours().await;
            other.storage().delete(&[]).await.unwrap();
        };
        let late = put_around(&h, swept, rest).await;
        assert!(matches!(late, Err(Error::Timeout { .. })), "{late:?}");
        assert!(h.storage().head(&key("a")).await.unwrap().is_none());
        h.until_chunks_are(0).await;
    }
}

#[tokio::test]
async fn an_upload_whose_removal_began_never_becomes_visible() {
    let h = Arc::new(Sqlite::open().await);
    for rest in [0, 2 << 20] {
        let other = h.clone();
        let doomed = async move {
            let doom = "UPDATE windlass_blob_trash SET due_at = 0";
            sqlx::query(doom).execute(&mut other.look().await).await.unwrap();
        };
        let late = put_around(&h, doomed, rest).await;
        assert!(matches!(late, Err(Error::Timeout { .. })), "{late:?}");
        assert!(h.storage().head(&key("a")).await.unwrap().is_none());
        h.until_chunks_are(0).await;
    }
}

#[tokio::test]
async fn damage_is_noticed() {
    let h = Sqlite::open().await;
    let storage = h.storage();
    for damage in [
        "UPDATE windlass_blob_chunks SET bytes = zeroblob(1048576) WHERE at & 1048575 = 1",
        "UPDATE windlass_blob_chunks SET bytes = x'00' WHERE at & 1048575 = 2",
        "UPDATE windlass_blob_chunks SET bytes = zeroblob(2000000) WHERE at & 1048575 = 2",
        "DELETE FROM windlass_blob_chunks WHERE at & 1048575 = 1",
        "UPDATE windlass_blobs SET len = len - 1",
        "UPDATE windlass_blobs SET len = len + 1",
    ] {
        let blob = put_blob(&*storage, &key("a"), mebibytes(3).boxed()).await.unwrap();
        assert_eq!(read_blob(&*storage, &blob, u64::MAX).await.unwrap().len(), 3 << 20);
        sqlx::query(damage).execute(&mut h.look().await).await.unwrap();
        let read = read_blob(&*storage, &blob, u64::MAX).await;
        assert!(
            matches!(read, Err(Error::Corrupt { .. })),
            "{damage}: {:?}",
            read.map(|b| b.len())
        );
    }
}

#[tokio::test]
async fn a_read_of_a_replaced_blob_says_so() {
    let h = Sqlite::open().await;
    let storage = h.storage();
    storage.put(&key("a"), mebibytes(3).boxed()).await.unwrap();
    let mut stream = storage.get(&key("a")).await.unwrap().stream;
    stream.try_next().await.unwrap().unwrap();
    storage.put(&key("a"), mebibytes(3).boxed()).await.unwrap();
    let error = stream.try_next().await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    assert!(error.to_string().contains("replaced or deleted while it was read"), "{error}");
}

#[tokio::test]
async fn blobs_survive_closing_and_are_seen_by_other_handles() {
    let h = Sqlite::open().await;
    let blob = put_bytes(&*h.storage(), &key("a"), vec![7; 3_000_000]).await.unwrap();
    let second = open(&h.path()).await;
    assert_eq!(read_blob(&*second.storage(), &blob, u64::MAX).await.unwrap(), vec![7; 3_000_000]);
    second.storage().delete(&[key("a")]).await.unwrap();
    assert!(h.storage().head(&key("a")).await.unwrap().is_none());

    let blob = put_bytes(&*h.storage(), &key("b"), "kept").await.unwrap();
    h.backend.close().await.unwrap();
    let closed = h.storage().put(&key("c"), stream::empty().boxed()).await;
    assert!(matches!(closed, Err(Error::Closed(_))), "{closed:?}");
    let third = open(&h.path()).await;
    assert_eq!(read_blob(&*third.storage(), &blob, 4).await.unwrap(), "kept");
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
async fn a_huge_upload_is_not_gathered_in_memory() {
    let h = Sqlite::open().await;
    let (alive, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let body = {
        let (alive, most) = (alive.clone(), most.clone());
        stream::iter(0..100u8).map(move |n| {
            most.fetch_max(alive.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            Ok(Bytes::from_owner(Counted(vec![n; 700_000], alive.clone())))
        })
    };
    let len = h.storage().put(&key("a"), body.boxed()).await.unwrap();
    assert_eq!(len, 70_000_000);
    assert!(most.load(Ordering::Relaxed) <= 2, "{most:?} pieces of the body at once");
    assert_eq!(h.count("chunks").await, 67, "of 1 MiB");
}

#[tokio::test]
async fn other_calls_go_on_during_an_upload() {
    let h = Sqlite::open().await;
    let storage = h.storage();
    let (reached, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (signal, wait) = (reached.clone(), go_on.clone());
    let pause = stream::once(async move {
        signal.notify_one();
        wait.notified().await;
        Ok(Bytes::new())
    });
    let name = key("a");
    let upload = storage.put(&name, mebibytes(3).chain(pause).boxed());
    let others = async {
        reached.notified().await;
        // Another process writes: the upload holds no lock.
        let second = open(&h.path()).await;
        put_bytes(&*second.storage(), &key("b"), "1").await.unwrap();
        h.backend.ping().await.unwrap();
        go_on.notify_one();
    };
    let (uploaded, ()) = tokio::join!(upload, others);
    assert_eq!(uploaded.unwrap(), 3 << 20);
}
