//! A host with a SQLite file, and relays in processes of their own that are killed at random.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use sqlx::{Sqlite, Transaction};
use tempfile::TempDir;
use windlass::outbox::Outbox;
use windlass::sqlite::{SqliteBackend, SqliteOptions};
use windlass::{Client, Context, JobFilter, JobId, JobQuery, Outcome, Worker};

use super::Ship;

pub(crate) fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.db");
    (folder, path)
}

/// A host whose rows and outbox share a file.
pub(crate) struct Local {
    _folder: Option<TempDir>,
    pub(crate) client: Client<SqliteBackend>,
    pool: SqlitePool,
}

impl Local {
    pub(crate) async fn open() -> Self {
        let (folder, path) = place();
        Self { _folder: Some(folder), ..Self::at(&path).await }
    }

    pub(crate) async fn at(path: &Path) -> Self {
        let backend = SqliteBackend::open(SqliteOptions::new(path)).await.unwrap();
        let pool = SqlitePool::connect_with(SqliteConnectOptions::new().filename(path));
        let pool = pool.await.unwrap();
        let table = sqlx::query("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY)");
        table.execute(&pool).await.unwrap();
        Self { _folder: None, client: Client::new(Arc::new(backend)), pool }
    }

    pub(crate) async fn begin(&self) -> Transaction<'static, Sqlite> {
        self.pool.begin_with("BEGIN IMMEDIATE").await.unwrap()
    }

    pub(crate) async fn put_row(&self, tx: &mut Transaction<'static, Sqlite>, order: i64) {
        let row = sqlx::query("INSERT INTO orders (id) VALUES (?)").bind(order);
        row.execute(&mut **tx).await.unwrap();
    }

    async fn orders(&self) -> Vec<i64> {
        sqlx::query_scalar("SELECT id FROM orders").fetch_all(&self.pool).await.unwrap()
    }
}

/// Keeps others from writing to a file.
pub(crate) async fn lock(path: &Path) -> Transaction<'static, Sqlite> {
    let pool = SqlitePool::connect_with(SqliteConnectOptions::new().filename(path)).await.unwrap();
    pool.begin_with("BEGIN IMMEDIATE").await.unwrap()
}

/// How often each order's job is on the target, in whatever state.
pub(crate) async fn numbers(target: &Client) -> HashMap<u64, u32> {
    let mut found = HashMap::new();
    let mut after = None;
    loop {
        let query = JobQuery::from(JobFilter::default()).limit(1_000).after(after);
        let page = target.list(query).await.unwrap();
        for job in page.items {
            *found.entry(job.args.parse::<Ship>().unwrap().order).or_default() += 1;
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return found,
        }
    }
}

const LOCAL: &str = "WINDLASS_TEST_LOCAL";
const TARGET: &str = "WINDLASS_TEST_TARGET";

fn spawn(local: &Path, target: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "relay_process", "--ignored", "--nocapture"])
        .env(LOCAL, local)
        .env(TARGET, target)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Relays until it is killed.
pub(crate) async fn relay_process() {
    let local = Local::at(Path::new(&std::env::var(LOCAL).unwrap())).await;
    let target = windlass::connect(&std::env::var(TARGET).unwrap()).await.unwrap();
    let relay = Outbox::new(&local.client, &target).relay().options(|o| {
        o.hold = Duration::from_secs(1);
        o.batch = 20;
    });
    relay.run_until(std::future::pending::<()>()).await.unwrap();
}

async fn handle(_: Ship, _: Context) -> Outcome {
    Ok(())
}

/// How long relays are killed.
const STORM: Duration = Duration::from_secs(6);

/// Posts, kills relays, and looks whether each job that was committed arrived exactly once.
pub(crate) async fn kill_relays(what: &str, target: &str) {
    let (_folder, path) = place();
    let local = Local::at(&path).await;
    let client = windlass::connect(target).await.unwrap();
    let outbox = Outbox::new(&local.client, &client);
    let worker = Worker::new(&client).register(handle).queue("default", 20).start().unwrap();
    let started = Instant::now();
    let (mut order, mut kills) = (0_u32, 0);
    let mut ids: Vec<JobId> = Vec::new();
    let mut relays = [spawn(&path, target), spawn(&path, target)];
    let mut next = started;
    while started.elapsed() < STORM {
        // One in five transactions is rolled back.
        let mut tx = local.begin().await;
        order += 1;
        let id = outbox.enqueue_in(&mut tx, super::ship(order.into())).await.unwrap();
        local.put_row(&mut tx, order.into()).await;
        if order % 5 == 0 {
            tx.rollback().await.unwrap();
        } else {
            tx.commit().await.unwrap();
            ids.push(id);
        }
        if Instant::now() >= next {
            next = Instant::now() + Duration::from_millis(fastrand::u64(40..400));
            let one = &mut relays[usize::from(fastrand::bool())];
            one.kill().unwrap();
            one.wait().unwrap();
            *one = spawn(&path, target);
            kills += 1;
        }
    }
    for relay in &mut relays {
        relay.kill().unwrap();
        relay.wait().unwrap();
    }
    let by_children = ids.len() as u64 - outbox.stats().await.unwrap().entries;
    let relay = outbox.relay();
    let mut repeated = 0;
    while outbox.stats().await.unwrap().entries > 0 {
        repeated += relay.run_once().await.unwrap().repeated;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let found = numbers(&client).await;
    let orders = local.orders().await;
    let missing = orders.iter().filter(|order| !found.contains_key(&order.unsigned_abs())).count();
    let total: u32 = found.values().sum();
    let doubled = total as usize - found.len();
    println!(
        "{what}: {kills} kills, committed {}, moved {total}, of which {by_children} by relays that were killed \
         and {repeated} again at the end, missing {missing}, doubled {doubled}",
        orders.len()
    );
    assert_eq!(ids.len(), orders.len());
    assert_eq!((missing, doubled), (0, 0), "{what}");
    assert_eq!(found.len(), orders.len(), "{what}: nothing but what was committed");
    assert!(kills >= 10 && by_children > 0, "{what}: the relays were not killed at work");
    for id in ids {
        client.handle::<Ship>(id).result().await.unwrap();
    }
    worker.shutdown();
    worker.join().await.unwrap();
}
