//! A cluster whose slots move and whose nodes die.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{body, completion, job, queue, request, unique};
use redis::Value;
use redis::aio::MultiplexedConnection;
use windlass_core::{
    AttemptOutcome, Backend, BlobKey, Change, ChangeRequest, Error, Failure, FailureKind, JobId,
    Lease, NewJob, Queue, Result, Retention, Selector, Settlement, Start, State, StatsQuery, Store,
    UniqueUntil, WorkerId, WorkerInfo,
};
use windlass_redis::RedisBackend;
use windlass_test_servers::{PATIENT, QUICK, RedisBuilder, RedisCluster, RedisServer};

const NAMESPACE: &str = "moving";
/// Calls that are tried while a slot moves.
const CALLS: u32 = 13;

/// A namespace on one node, which is about to go to another.
struct Moving {
    cluster: Arc<RedisCluster>,
    backend: RedisBackend,
    worker: WorkerId,
    leases: Vec<Lease>,
    /// Jobs that nobody runs, to be deleted.
    waiting: Vec<JobId>,
    slot: String,
}

/// A node that need not outlive its machine.
fn node() -> RedisBuilder {
    RedisServer::builder().setting("appendfsync", "no")
}

async fn connect(node: &RedisServer) -> MultiplexedConnection {
    common::patient(node.base_url()).await
}

/// What an error and its causes say.
fn said(error: &Error) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string);
    format!("{error}: {}", source.unwrap_or_default())
}

fn later() -> NewJob {
    let mut job = job();
    job.start = Start::In(Duration::from_secs(3_600));
    job
}

impl Moving {
    async fn start() -> Self {
        let cluster = RedisCluster::start(node(), 0, PATIENT).await.unwrap();
        let backend = RedisBackend::connect(&cluster.url(NAMESPACE)).await.unwrap();
        let info = WorkerInfo::new("test", Duration::from_secs(3_600), vec![queue()]);
        let worker = backend.register(&info).await.unwrap().worker;
        let slot = cluster.slot(NAMESPACE).await.unwrap().to_string();
        let cluster = Arc::new(cluster);
        let mut all =
            Self { cluster, backend, worker, leases: Vec::new(), waiting: Vec::new(), slot };
        for _ in 0..12 {
            let new = later();
            all.waiting.push(new.id);
            all.backend.insert(&[new]).await.unwrap();
        }
        for _ in 0..6 {
            all.backend.insert(&[job(), later()]).await.unwrap();
        }
        all.claim(6).await.unwrap();
        for _ in 0..2 {
            all.settle().await.unwrap();
        }
        let mut owner = unique("held", UniqueUntil::Finished);
        owner.blobs = vec![BlobKey::new("blobs/a").unwrap()];
        all.backend.insert(&[job(), job(), job(), owner]).await.unwrap();
        all
    }

    async fn claim(&mut self, limit: u32) -> Result<()> {
        let mut wanted = request(self.worker);
        wanted.queues[0].limit = limit;
        self.leases.extend(self.backend.claim(&wanted).await?.leases);
        Ok(())
    }

    async fn settle(&mut self) -> Result<()> {
        let Some(lease) = self.leases.last() else { return Ok(()) };
        self.backend.settle(&[completion(lease)]).await?;
        self.leases.pop();
        Ok(())
    }

    /// Every key of the namespace, on whichever node it is.
    async fn everything(&self) -> Vec<(Vec<u8>, Value)> {
        let mut all = Vec::new();
        for node in self.cluster.nodes() {
            let mut conn = connect(node).await;
            let mut keys = redis::cmd("KEYS");
            keys.arg(format!("{{{NAMESPACE}}}*"));
            let keys: Vec<Vec<u8>> = keys.query_async(&mut conn).await.unwrap();
            for key in keys {
                // The node that a key is moved to tells of it only to who asks for it.
                let mut asking = redis::pipe();
                asking.cmd("ASKING").ignore().cmd("DUMP").arg(&key);
                let (dump,): (Value,) = asking.query_async(&mut conn).await.unwrap();
                all.push((key, dump));
            }
        }
        all.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// Tries one of everything. What fails is transient, and has written nothing. Answers how much went well, and how much failed.
    async fn try_everything(&mut self) -> (u32, u32) {
        let mut counts = (0, 0);
        for what in 0..CALLS {
            let before = self.everything().await;
            let done = match what {
                0 => self.backend.insert(&[job()]).await.map(drop),
                1 => self
                    .backend
                    .insert(&[later(), unique("b", UniqueUntil::Finished)])
                    .await
                    .map(drop),
                2 => self.claim(1).await,
                3 => self.settle().await,
                4 => {
                    let keys: Vec<_> = self.leases.iter().map(|lease| lease.key).collect();
                    self.backend.heartbeat(self.worker, &keys).await.map(drop)
                }
                5 => self.backend.maintain(10).await.map(drop),
                6 => {
                    let found = self.backend.list(&Default::default()).await;
                    let ids =
                        found.map(|page| page.items.iter().map(|job| job.id).take(2).collect());
                    match ids {
                        Err(error) => Err(error),
                        Ok(ids) => {
                            let cancel = Change::Cancel { reason: None };
                            let cancel = ChangeRequest::new(Selector::Ids(ids), cancel);
                            self.backend.change(&cancel).await.map(drop)
                        }
                    }
                }
                7 => {
                    // Of one state alone: the key of another one that is not there would stop it before it writes.
                    let mut retention = Retention::default();
                    retention.completed = Some(Duration::ZERO);
                    (retention.cancelled, retention.discarded) = (None, None);
                    self.backend.prune(&retention, 1).await.map(drop)
                }
                8 => {
                    let last = self.waiting.last().copied();
                    let ids = Selector::Ids(vec![last.unwrap_or_else(JobId::new)]);
                    let delete = ChangeRequest::new(ids, Change::Delete);
                    let done = self.backend.change(&delete).await;
                    if done.is_ok() {
                        self.waiting.pop();
                    }
                    done.map(drop)
                }
                9 => {
                    let key = BlobKey::new("kept").unwrap();
                    self.backend.storage().put(&key, body(b"some".to_vec())).await.map(drop)
                }
                10 => {
                    let key = BlobKey::new("kept").unwrap();
                    self.backend.storage().delete(&[key]).await
                }
                // All of them go the short way, which writes one entry of the feed, a line and what is due.
                11 => self.backend.insert(&[job(), later(), job()]).await.map(drop),
                _ => self.backend.stats(&StatsQuery::default()).await.map(drop),
            };
            match done {
                Ok(()) => counts.0 += 1,
                Err(error) => {
                    counts.1 += 1;
                    assert!(error.is_transient(), "{what}: {}", said(&error));
                    assert!(self.everything().await == before, "{what} wrote: {}", said(&error));
                }
            }
        }
        counts
    }
}

async fn set_slot(conn: &mut MultiplexedConnection, slot: &str, how: &[&str]) {
    let mut set = redis::cmd("CLUSTER");
    set.arg("SETSLOT").arg(slot).arg(how);
    let () = set.query_async(conn).await.unwrap();
}

async fn keys(conn: &mut MultiplexedConnection, slot: &str) -> Vec<Vec<u8>> {
    let mut keys = redis::cmd("CLUSTER");
    keys.arg("GETKEYSINSLOT").arg(slot).arg(1_000);
    keys.query_async(conn).await.unwrap()
}

/// Moves a key, if it is there.
async fn migrate(conn: &mut MultiplexedConnection, key: &[u8], to: &RedisServer) {
    let mut migrate = redis::cmd("MIGRATE");
    migrate.arg("127.0.0.1").arg(to.port()).arg("").arg(0).arg(5_000);
    migrate.arg("AUTH").arg(to.password()).arg("KEYS").arg(key);
    let _: Value = migrate.query_async(conn).await.unwrap();
}

/// The slot of a namespace is moved key by key: at no point is anything half-written, and when it has arrived all goes on there.
#[tokio::test]
async fn a_slot_that_moves_leaves_nothing_half_written() {
    let mut all = Moving::start().await;
    let cluster = all.cluster.clone();
    let from = cluster.owner(NAMESPACE).await.unwrap();
    let to = cluster.nodes().iter().find(|node| node.port() != from.port()).unwrap();
    let (mut source, mut target) = (connect(from).await, connect(to).await);
    let (from_id, to_id) = (cluster.id(from).await.unwrap(), cluster.id(to).await.unwrap());
    let (well, failed) = all.try_everything().await;
    assert_eq!((well, failed), (CALLS, 0));

    let slot = all.slot.clone();
    set_slot(&mut target, &slot, &["IMPORTING", &from_id]).await;
    // Each key alone is away: whatever a script finds missing, it must find before it writes.
    let (mut well, mut failed) = (0, 0);
    for key in keys(&mut source, &slot).await {
        set_slot(&mut source, &slot, &["MIGRATING", &to_id]).await;
        migrate(&mut source, &key, to).await;
        let tried = all.try_everything().await;
        (well, failed) = (well + tried.0, failed + tried.1);
        set_slot(&mut source, &slot, &["STABLE"]).await;
        migrate(&mut target, &key, from).await;
    }
    println!("while single keys were away: {well} calls went well, {failed} failed");
    assert!(well > 0 && failed > 0);
    assert_eq!(all.try_everything().await, (CALLS, 0));

    set_slot(&mut source, &slot, &["MIGRATING", &to_id]).await;
    for key in keys(&mut source, &slot).await {
        migrate(&mut source, &key, to).await;
    }
    // With no lease left there is nothing to settle.
    let (_, failed) = all.try_everything().await;
    assert!(failed >= CALLS - 1, "{failed}");
    set_slot(&mut target, &slot, &["NODE", &to_id]).await;
    set_slot(&mut source, &slot, &["NODE", &to_id]).await;
    assert_eq!(all.try_everything().await, (CALLS, 0));
    assert_eq!(cluster.owner(NAMESPACE).await.unwrap().port(), to.port());
    while !all.leases.is_empty() {
        all.settle().await.unwrap();
    }
    all.claim(1_000).await.unwrap();
    while !all.leases.is_empty() {
        all.settle().await.unwrap();
    }
    // The counts that were kept along the way are those of the jobs.
    let stats = all.backend.stats(&StatsQuery::default()).await.unwrap();
    let listed = all.backend.list(&Default::default()).await.unwrap().items;
    for state in [State::Scheduled, State::Available, State::Running, State::Completed] {
        let found = listed.iter().filter(|job| job.state == state).count();
        assert_eq!(stats.in_state(state), found as u64, "{state:?}");
    }
}

/// A namespace whose slot is about to move, with all of its keys where they were. Scripts find what they look at, but a key that is emptied on the way
/// is gone, and can't be written any more.
struct Leaving {
    backend: RedisBackend,
    conn: MultiplexedConnection,
    worker: WorkerId,
    namespace: &'static str,
}

impl Leaving {
    async fn open(cluster: &RedisCluster, namespace: &'static str) -> Self {
        let backend = RedisBackend::connect(&cluster.url(namespace)).await.unwrap();
        let info = WorkerInfo::new("test", Duration::from_secs(3_600), vec![queue()]);
        let worker = backend.register(&info).await.unwrap().worker;
        let conn = connect(cluster.owner(namespace).await.unwrap()).await;
        Self { backend, conn, worker, namespace }
    }

    async fn run(&self, job: NewJob) -> Lease {
        self.backend.insert(&[job]).await.unwrap();
        self.backend.claim(&request(self.worker)).await.unwrap().leases.remove(0)
    }

    async fn score(&mut self, key: &str, member: &[u8], score: u32) {
        let mut set = redis::cmd("ZADD");
        set.arg(format!("{{{}}}{key}", self.namespace)).arg(score).arg(member);
        let () = set.query_async(&mut self.conn).await.unwrap();
    }

    async fn leave(&mut self, cluster: &RedisCluster) {
        let slot = cluster.slot(self.namespace).await.unwrap().to_string();
        let from = cluster.owner(self.namespace).await.unwrap();
        let to = cluster.nodes().iter().find(|node| node.port() != from.port()).unwrap();
        let (from_id, to_id) = (cluster.id(from).await.unwrap(), cluster.id(to).await.unwrap());
        set_slot(&mut connect(to).await, &slot, &["IMPORTING", &from_id]).await;
        set_slot(&mut self.conn, &slot, &["MIGRATING", &to_id]).await;
    }

    async fn count(&self, state: State) -> u64 {
        self.backend.stats(&StatsQuery::default()).await.unwrap().in_state(state)
    }
}

#[tokio::test]
async fn what_goes_from_a_key_goes_after_what_comes_to_it() {
    let cluster = RedisCluster::start(node(), 0, PATIENT).await.unwrap();
    let (mut timed, hour) = (job(), Start::In(Duration::from_secs(3_600)));
    timed.timeout = Some(Duration::from_secs(3_600));
    // One job runs under a deadline, one holds a window, one is due: maintenance finds each of the keys that it looks at.
    let busy = async |namespace| {
        let mut at = Leaving::open(&cluster, namespace).await;
        let mut running = timed.clone();
        running.id = JobId::new();
        let running = at.run(running).await.key.job;
        let due = later();
        let window = unique("window", UniqueUntil::For(Duration::from_secs(3_600)));
        at.backend.insert(&[window, due.clone()]).await.unwrap();
        at.score(":due", due.id.as_bytes(), 1).await;
        (at, running, due.id)
    };

    // What waits for its time is one job before, and another one afterwards.
    let (mut at, overdue, due) = busy("scores").await;
    at.score(":late", overdue.as_bytes(), 1).await;
    at.leave(&cluster).await;
    let done = at.backend.maintain(10).await.unwrap();
    assert_eq!((done.promoted, done.rescued), (1, vec![overdue]));
    assert_eq!(at.backend.get(due).await.unwrap().unwrap().state, State::Available);
    assert_eq!(at.backend.get(overdue).await.unwrap().unwrap().state, State::Retryable);

    // When the next job is due is read while there is one.
    let (mut at, _, due) = busy("due").await;
    at.leave(&cluster).await;
    let done = at.backend.maintain(10).await.unwrap();
    assert_eq!((done.promoted, done.next_due), (1, None));
    assert_eq!(at.backend.get(due).await.unwrap().unwrap().state, State::Available);

    // The only job of all is counted in another state.
    let mut at = Leaving::open(&cluster, "counts").await;
    let lease = at.run(job()).await;
    let failure = Failure { kind: FailureKind::Error, message: "boom".into() };
    let retry = AttemptOutcome::Retry { delay: Duration::from_secs(3_600), failure };
    at.backend.settle(&[Settlement::new(lease.key, retry)]).await.unwrap();
    at.leave(&cluster).await;
    let selector = Selector::Ids(vec![lease.key.job]);
    let change = ChangeRequest::new(selector, Change::Reschedule { start: hour });
    assert_eq!(at.backend.change(&change).await.unwrap().count, 1);
    assert_eq!((at.count(State::Retryable).await, at.count(State::Scheduled).await), (0, 1));
}

/// F48: the owner of the slot dies, its replica takes over, and later it comes back as a replica itself.
#[tokio::test]
async fn f48_the_replica_of_a_lost_owner_is_found() {
    let cluster = RedisCluster::start(RedisServer::builder(), 1, QUICK).await.unwrap();
    let backend = RedisBackend::connect(&cluster.url(NAMESPACE)).await.unwrap();
    let owner = cluster.owner(NAMESPACE).await.unwrap();
    let before = job();
    backend.insert(std::slice::from_ref(&before)).await.unwrap();
    owner.command(&["WAIT", "1", "10000"]).await.unwrap();
    owner.kill_9().await.unwrap();
    let error = backend.insert(&[job()]).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    let found_again = async || {
        loop {
            match backend.insert(&[job()]).await {
                Ok(_) => break,
                Err(error) => assert!(error.is_transient(), "{}", said(&error)),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), found_again()).await.unwrap();
    assert!(backend.get(before.id).await.unwrap().is_some());
    backend.ping().await.unwrap();
    // A handover back: the old owner is told to take over again.
    owner.start().await.unwrap();
    owner.until_info("master_link_status", "up").await.unwrap();
    // A busy machine may let the time of a handover pass; then it is as if it had not been asked for.
    let taken_over = async || {
        let is_over = async || owner.info("role").await.unwrap() == "master";
        while !is_over().await {
            let _ = owner.command(&["CLUSTER", "FAILOVER"]).await;
            // Who asks again while a handover goes on ends it.
            let asked = std::time::Instant::now();
            while asked.elapsed() < Duration::from_secs(6) && !is_over().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(90), taken_over()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), found_again()).await.unwrap();
    backend.ping().await.unwrap();
}
