//! Blobs in the database: the conformance suite, and what is particular about this storage.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, future, stream};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::Notify;
use windlass_core::conformance::StorageHarness;
use windlass_core::storage::{put_blob, put_bytes, read_blob};
use windlass_core::{Backend, BlobKey, Error, Result, Retention, Storage, Store};
use windlass_postgres::{PostgresBackend, PostgresOptions};
use windlass_test_servers::PostgresServer;

/// The size of a chunk.
const CHUNK: usize = 256 << 10;

struct Postgres {
    backend: PostgresBackend,
    options: PostgresOptions,
    url: String,
}

impl Postgres {
    /// Runs a statement on a connection of somebody else's; `s.` stands for the schema.
    async fn run(&self, sql: &str) -> u64 {
        let sql = sql.replace("s.", &format!("{}.", self.options.schema_name()));
        let mut conn = PgConnection::connect(&self.url).await.unwrap();
        let done = sqlx::query(AssertSqlSafe(sql)).execute(&mut conn).await.unwrap();
        done.rows_affected()
    }

    /// Chunks, and ids among the trash.
    async fn left(&self) -> (i64, i64) {
        let schema = self.options.schema_name();
        let sql = format!(
            "SELECT (SELECT count(*) FROM {schema}.blob_chunks), (SELECT count(*) FROM {schema}.blob_trash)"
        );
        let mut conn = PgConnection::connect(&self.url).await.unwrap();
        sqlx::query_as(AssertSqlSafe(sql)).fetch_one(&mut conn).await.unwrap()
    }

    /// Waits for what goes on behind a dropped future.
    async fn until_chunks_are(&self, expected: i64) {
        let reached = async {
            while self.left().await != (expected, 0) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let reached = tokio::time::timeout(Duration::from_secs(30), reached).await;
        assert!(reached.is_ok(), "{:?} are left", self.left().await);
    }

    async fn second(&self) -> PostgresBackend {
        PostgresBackend::open(self.options.clone()).await.unwrap()
    }
}

impl Postgres {
    /// A schema of its own, which the library reaches at `url`.
    async fn at(url: &str, pooled: bool) -> Self {
        let id = windlass_core::JobId::new().as_uuid().simple().to_string();
        let options = PostgresOptions::from_url(url).unwrap().connections(4).pooled(pooled);
        let options = options.schema(format!("blobs_{}", &id[8..])).unwrap();
        let backend = PostgresBackend::open(options.clone()).await.unwrap();
        let url = PostgresServer::shared().await.unwrap().url("postgres");
        Self { backend, options, url }
    }
}

impl StorageHarness for Postgres {
    async fn open() -> Self {
        Self::at(&PostgresServer::shared().await.unwrap().url("postgres"), false).await
    }

    fn storage(&self) -> Arc<dyn Storage> {
        self.backend.storage()
    }
}

windlass_core::conformance_storage!(Postgres);

/// F41: the same cases by way of PgBouncer.
mod pgbouncer {
    use tokio::sync::OnceCell;
    use windlass_test_servers::PgBouncer;

    use super::*;

    struct Pooled(Postgres);

    impl StorageHarness for Pooled {
        async fn open() -> Self {
            static SHARED: OnceCell<PgBouncer> = OnceCell::const_new();
            let start = || async {
                let server = PostgresServer::shared().await.unwrap();
                PgBouncer::builder(server).start().await.unwrap()
            };
            let bouncer = SHARED.get_or_init(start).await;
            Self(Postgres::at(&bouncer.url("postgres"), true).await)
        }

        fn storage(&self) -> Arc<dyn Storage> {
            self.0.backend.storage()
        }
    }

    windlass_core::conformance_storage!(Pooled);
}

fn key(text: &str) -> BlobKey {
    BlobKey::new(text).unwrap()
}

/// Whole chunks, each with its number in every byte.
fn chunks(count: u8) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    stream::iter(0..count).map(|n| Ok(Bytes::from(vec![n; CHUNK])))
}

#[tokio::test]
async fn deleted_and_replaced_blobs_leave_no_chunks() {
    let h = Postgres::open().await;
    let storage = h.storage();
    for _ in 0..2 {
        storage.put(&key("a"), chunks(70).boxed()).await.unwrap();
        storage.put(&key("b"), chunks(3).boxed()).await.unwrap();
        assert_eq!(h.left().await, (73, 0));
    }
    storage.delete(&[key("a")]).await.unwrap();
    assert_eq!(h.left().await, (3, 0));
    storage.put(&key("b"), stream::empty().boxed()).await.unwrap();
    assert_eq!(h.left().await, (0, 0));
}

/// Whoever replaces a blob must learn which one it was, also when that came only a moment ago.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn puts_and_deletions_at_once_leave_no_chunks() {
    let h = Arc::new(Postgres::open().await);
    let second = Arc::new(h.second().await);
    for round in 0..5 {
        let tasks = (0..8_u8).map(|n| {
            let storage = if n % 2 == 0 { h.storage() } else { second.storage() };
            tokio::spawn(async move {
                match n % 4 {
                    0 => drop(storage.put(&key("a"), chunks(1).boxed()).await.unwrap()),
                    1 => drop(storage.put(&key("a"), chunks(2).boxed()).await.unwrap()),
                    2 => storage.delete(&[key("a"), key("b")]).await.unwrap(),
                    _ => storage.delete(&[key("b"), key("a")]).await.unwrap(),
                }
            })
        });
        for done in future::join_all(tasks.collect::<Vec<_>>()).await {
            done.unwrap();
        }
        h.storage().delete(&[key("a")]).await.unwrap();
        assert_eq!(h.left().await, (0, 0), "in round {round}");
    }
}

#[tokio::test]
async fn uploads_that_end_early_leave_no_chunks() {
    let h = Postgres::open().await;
    let storage = h.storage();
    let failing = chunks(5).chain(stream::once(async { Err(Error::Closed("the stream")) }));
    storage.put(&key("a"), failing.boxed()).await.unwrap_err();
    assert_eq!(h.left().await, (0, 0));

    let reached = Arc::new(Notify::new());
    let signal = reached.clone();
    let stall = stream::once(async move {
        signal.notify_one();
        future::pending().await
    });
    let name = key("a");
    let mut put = storage.put(&name, chunks(5).chain(stall).boxed());
    tokio::select! {
        ended = &mut put => panic!("it ended: {ended:?}"),
        () = reached.notified() => {}
    }
    assert!(h.left().await.0 > 0, "chunks are written on the way");
    drop(put);
    h.until_chunks_are(0).await;
}

#[tokio::test]
async fn uploads_of_a_dead_process_are_removed_in_time() {
    let h = Postgres::open().await;
    // What processes that died in mid-upload leave.
    h.run("INSERT INTO s.blob_trash VALUES (100, s.now() - 1), (101, s.now() + 3600000000)").await;
    h.run("INSERT INTO s.blob_chunks VALUES (100, 0, ''), (101, 0, '')").await;
    h.storage().delete(&[]).await.unwrap();
    assert_eq!(h.left().await, (1, 1), "one may be alive");
    h.run("UPDATE s.blob_trash SET due_at = s.now() - 1").await;
    h.backend.prune(&Retention::default(), 10).await.unwrap();
    assert_eq!(h.left().await, (0, 0));
}

/// Puts a blob; after some of its chunks something happens, then a rest of this many bytes comes.
async fn put_around<F>(h: &Postgres, happens: F, rest: usize) -> Result<u64>
where
    F: Future<Output = ()> + Send + 'static,
{
    let rest = stream::once(async move {
        happens.await;
        Ok(Bytes::from(vec![9; rest]))
    });
    h.storage().put(&key("a"), chunks(3).chain(rest).boxed()).await
}

#[tokio::test]
async fn an_upload_taken_for_dead_never_becomes_visible() {
    let h = Arc::new(Postgres::open().await);
    // Without a rest the next step is the last one, with a long one it is a further chunk.
    for rest in [0, 2 * CHUNK] {
        let other = h.clone();
        let swept = async move {
            other.run("UPDATE s.blob_trash SET due_at = s.now() - 1").await;
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
    let h = Arc::new(Postgres::open().await);
    for rest in [0, 2 * CHUNK] {
        let other = h.clone();
        let doomed = async move {
            assert_eq!(other.run("UPDATE s.blob_trash SET due_at = 0").await, 1);
        };
        let late = put_around(&h, doomed, rest).await;
        assert!(matches!(late, Err(Error::Timeout { .. })), "{late:?}");
        assert!(h.storage().head(&key("a")).await.unwrap().is_none());
        h.until_chunks_are(0).await;
    }
}

#[tokio::test]
async fn damage_is_noticed() {
    let h = Postgres::open().await;
    let storage = h.storage();
    for damage in [
        "UPDATE s.blob_chunks SET bytes = decode(repeat('00', 262144), 'hex') WHERE number = 1",
        "UPDATE s.blob_chunks SET bytes = '\\x00' WHERE number = 2",
        "UPDATE s.blob_chunks SET bytes = decode(repeat('00', 300000), 'hex') WHERE number = 2",
        "DELETE FROM s.blob_chunks WHERE number = 1",
        "UPDATE s.blobs SET len = len - 1",
        "UPDATE s.blobs SET len = len + 1",
    ] {
        let blob = put_blob(&*storage, &key("a"), chunks(3).boxed()).await.unwrap();
        assert_eq!(read_blob(&*storage, &blob, u64::MAX).await.unwrap().len(), 3 * CHUNK);
        assert_eq!(h.run(damage).await, 1);
        let read = read_blob(&*storage, &blob, u64::MAX).await;
        let read = read.map(|bytes| bytes.len());
        assert!(matches!(read, Err(Error::Corrupt { .. })), "{damage}: {read:?}");
    }
}

#[tokio::test]
async fn a_read_of_a_replaced_blob_says_so() {
    let h = Postgres::open().await;
    let storage = h.storage();
    storage.put(&key("a"), chunks(3).boxed()).await.unwrap();
    let mut stream = storage.get(&key("a")).await.unwrap().stream;
    stream.try_next().await.unwrap().unwrap();
    storage.put(&key("a"), chunks(3).boxed()).await.unwrap();
    let error = stream.try_next().await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    assert!(error.to_string().contains("replaced or deleted while it was read"), "{error}");
}

#[tokio::test]
async fn blobs_survive_closing_and_are_seen_by_other_handles() {
    let h = Postgres::open().await;
    let blob = put_bytes(&*h.storage(), &key("a"), vec![7; 3_000_000]).await.unwrap();
    let second = h.second().await;
    assert_eq!(read_blob(&*second.storage(), &blob, u64::MAX).await.unwrap(), vec![7; 3_000_000]);
    second.storage().delete(&[key("a")]).await.unwrap();
    assert!(h.storage().head(&key("a")).await.unwrap().is_none());

    let blob = put_bytes(&*h.storage(), &key("b"), "kept").await.unwrap();
    h.backend.close().await.unwrap();
    let closed = h.storage().put(&key("c"), stream::empty().boxed()).await;
    assert!(matches!(closed, Err(Error::Closed(_))), "{closed:?}");
    let third = h.second().await;
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
    let h = Postgres::open().await;
    let (alive, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let body = {
        let (alive, most) = (alive.clone(), most.clone());
        stream::iter(0..100_u8).map(move |n| {
            most.fetch_max(alive.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            Ok(Bytes::from_owner(Counted(vec![n; 200_000], alive.clone())))
        })
    };
    let len = h.storage().put(&key("a"), body.boxed()).await.unwrap();
    assert_eq!(len, 20_000_000);
    assert!(most.load(Ordering::Relaxed) <= 2, "{most:?} pieces of the body at once");
    assert_eq!(h.left().await, (77, 0), "of 256 KiB");
}

/// More uploads and reads at once than there are connections, none of which moves on: other calls do.
#[tokio::test]
async fn uploads_and_reads_hold_no_connection_between_chunks() {
    let h = Postgres::open().await;
    let storage = h.storage();
    storage.put(&key("read"), chunks(3).boxed()).await.unwrap();
    let mut reads = Vec::new();
    for _ in 0..10 {
        let mut stream = storage.get(&key("read")).await.unwrap().stream;
        stream.try_next().await.unwrap().unwrap();
        reads.push(stream);
    }
    let (reached, go_on) = (Arc::new(Notify::new()), Arc::new(tokio::sync::Semaphore::new(0)));
    let names: Vec<BlobKey> = (0..10).map(|n| key(&format!("up/{n}"))).collect();
    let uploads = names.iter().map(|name| {
        let (reached, go_on) = (reached.clone(), go_on.clone());
        let pause = stream::once(async move {
            reached.notify_one();
            drop(go_on.acquire().await.unwrap());
            Ok(Bytes::new())
        });
        storage.put(name, chunks(3).chain(pause).boxed())
    });
    let others = async {
        reached.notified().await;
        put_bytes(&*h.storage(), &key("b"), "1").await.unwrap();
        h.backend.ping().await.unwrap();
        go_on.add_permits(10);
    };
    let (uploaded, ()) = tokio::join!(future::join_all(uploads), others);
    assert!(uploaded.into_iter().all(|len| len.unwrap() == 3 * CHUNK as u64));
    for stream in reads {
        assert_eq!(stream.try_collect::<Vec<_>>().await.unwrap().len(), 2);
    }
}
