//! What the tests of this crate share.
#![allow(dead_code, reason = "each test target uses a part of it")]

pub(crate) mod rights;
pub(crate) mod watch;

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Value};
use windlass_core::storage::ByteStream;
use windlass_core::{
    AttemptOutcome, ClaimRequest, JobId, Kind, KindSlots, Lease, Limits, NewJob, Payload, Queue,
    QueueName, QueueSlots, Settlement, State, Store, Unique, UniqueKey, UniqueUntil, WorkerId,
    WorkerInfo,
};
use windlass_redis::{RedisBackend, RedisOptions};
use windlass_test_servers::{Redis, RedisServer};

pub(crate) const QUEUE: &str = "q";
pub(crate) const KIND: &str = "k";

/// A connection that a busy machine may keep waiting.
pub(crate) async fn patient(url: &str) -> MultiplexedConnection {
    let client = redis::Client::open(url).unwrap();
    let patient = AsyncConnectionConfig::new().set_response_timeout(None);
    let patient = patient.set_connection_timeout(None);
    client.get_multiplexed_async_connection_with_config(&patient).await.unwrap()
}

/// Puts the end of a worker's lease into the past. The namespace stands in its braces.
pub(crate) async fn expire(conn: &mut MultiplexedConnection, namespace: &str, worker: WorkerId) {
    let mut put = redis::cmd("ZADD");
    put.arg(format!("{namespace}:leases")).arg("XX").arg("CH").arg(1).arg(worker.as_bytes());
    let changed: u32 = put.query_async(conn).await.unwrap();
    assert_eq!(changed, 1, "the worker has a lease");
}

/// A namespace of its own in a server, and a connection that sees and spoils what is in it.
pub(crate) struct Place {
    pub(crate) backend: RedisBackend,
    pub(crate) conn: MultiplexedConnection,
    pub(crate) namespace: String,
    /// Where the server is.
    pub(crate) url: String,
    options: RedisOptions,
}

impl Place {
    pub(crate) async fn open() -> Self {
        Self::on(RedisServer::shared().await.unwrap()).await
    }

    pub(crate) async fn on(server: &Redis) -> Self {
        Self::with(server, Limits::default()).await
    }

    pub(crate) async fn with(server: &Redis, limits: Limits) -> Self {
        let namespace = format!("test-{}", windlass_core::JobId::new());
        let options = RedisOptions::from_url(&server.url(&namespace)).unwrap().limits(limits);
        let backend = RedisBackend::open(options.clone()).await.unwrap();
        let url = server.base_url().to_owned();
        let conn = patient(&url).await;
        Self { backend, conn, namespace: format!("{{{namespace}}}"), url, options }
    }

    /// Opens the namespace once more, as a process that starts does.
    pub(crate) async fn reopen(&mut self) {
        self.backend = RedisBackend::open(self.options.clone()).await.unwrap();
    }

    /// Sends a command about a key of the namespace.
    pub(crate) async fn command(&mut self, name: &str, key: &str, args: &[&str]) -> Value {
        let mut command = redis::cmd(name);
        command.arg(format!("{}{key}", self.namespace)).arg(args);
        command.query_async(&mut self.conn).await.unwrap()
    }

    /// Moves a member of a sorted set, past the library: what is due at a time, for instance, is due at once.
    pub(crate) async fn score(&mut self, key: &str, member: &[u8], score: u32) {
        let mut set = redis::cmd("ZADD");
        set.arg(self.key(key, b"")).arg("XX").arg("CH").arg(score).arg(member);
        let changed: u32 = set.query_async(&mut self.conn).await.unwrap();
        assert_eq!(changed, 1, "{key} has it");
    }

    /// Every key of the namespace with all that it holds.
    pub(crate) async fn everything(&mut self) -> Vec<(Vec<u8>, Value)> {
        let mut keys = redis::cmd("KEYS");
        keys.arg(format!("{}*", self.namespace));
        let mut keys: Vec<Vec<u8>> = keys.query_async(&mut self.conn).await.unwrap();
        keys.sort_unstable();
        let mut all = Vec::new();
        for key in keys {
            let dump = redis::cmd("DUMP").arg(&key).query_async(&mut self.conn).await.unwrap();
            all.push((key, dump));
        }
        all
    }

    pub(crate) fn key(&self, key: &str, id: &[u8]) -> Vec<u8> {
        [self.namespace.as_bytes(), key.as_bytes(), id].concat()
    }

    /// What changes of a job, as it is stored.
    pub(crate) async fn standing(&mut self, job: JobId) -> Vec<u8> {
        let mut command = redis::cmd("HGET");
        command.arg(self.key(":j:", job.as_bytes())).arg("s");
        command.query_async(&mut self.conn).await.unwrap()
    }

    /// A number in what changes of a job: a place of the array in `part_jobs.lua`.
    pub(crate) async fn number(&mut self, job: JobId, place: u32) -> i64 {
        let mut command = redis::cmd("EVAL");
        command.arg("return cmsgpack.unpack(redis.call('HGET', KEYS[1], 's'))[tonumber(ARGV[1])]");
        command.arg(1).arg(self.key(":j:", job.as_bytes())).arg(place);
        command.query_async(&mut self.conn).await.unwrap()
    }

    /// Whether a job may go the short way: what changes of it begins with the mark that `part_quick.lua` tells of.
    pub(crate) async fn is_marked(&mut self, job: JobId) -> bool {
        self.standing(job).await.starts_with(&[0xdd, 0, 0, 0, 18])
    }

    /// Changes one byte of what changes of a job, past the library, and leaves it its mark.
    pub(crate) async fn patch(&mut self, job: JobId, at: impl Fn(usize) -> usize, value: u8) {
        let mut standing = self.standing(job).await;
        let at = at(standing.len());
        standing[at] = value;
        self.set_field(job, "s", &standing).await;
        assert!(self.is_marked(job).await);
    }

    /// [`spoil`](Self::spoil) of the state, of a job that goes the short way.
    pub(crate) async fn patch_state(&mut self, job: JobId, state: State) {
        self.patch(job, |_| 5, state.code().try_into().unwrap()).await;
    }

    /// Changes what of a job changes, past the library: a place of the array in `part_jobs.lua`. It loses its mark, and goes the long way.
    pub(crate) async fn spoil(&mut self, job: JobId, place: u32, value: i64) {
        let mut command = redis::cmd("EVAL");
        command.arg(
            "local s = cmsgpack.unpack(redis.call('HGET', KEYS[1], 's')) \
             s[tonumber(ARGV[1])] = tonumber(ARGV[2]) \
             return redis.call('HSET', KEYS[1], 's', cmsgpack.pack(s))",
        );
        command.arg(1).arg(self.key(":j:", job.as_bytes())).arg(place).arg(value);
        let () = command.query_async(&mut self.conn).await.unwrap();
    }

    /// Changes the encoding of a job's args, past the library.
    pub(crate) async fn set_encoding(&mut self, job: JobId, code: u8) {
        let mut command = redis::cmd("EVAL");
        command.arg(
            "local b = cmsgpack.unpack(redis.call('HGET', KEYS[1], 'b')) \
             b[7] = tonumber(ARGV[1]) \
             return redis.call('HSET', KEYS[1], 'b', cmsgpack.pack(b))",
        );
        command.arg(1).arg(self.key(":j:", job.as_bytes())).arg(code);
        let () = command.query_async(&mut self.conn).await.unwrap();
    }

    /// Writes a field of a job, past the library.
    pub(crate) async fn set_field(&mut self, job: JobId, field: &str, value: &[u8]) {
        let mut command = redis::cmd("HSET");
        command.arg(self.key(":j:", job.as_bytes())).arg(field).arg(value);
        let () = command.query_async(&mut self.conn).await.unwrap();
    }

    pub(crate) async fn worker(&self) -> WorkerId {
        let info = WorkerInfo::new("test", Duration::from_secs(3_600), vec![queue()]);
        self.backend.register(&info).await.unwrap().worker
    }

    /// Inserts a job and claims it.
    pub(crate) async fn run(&self, worker: WorkerId, job: NewJob) -> Lease {
        self.backend.insert(&[job]).await.unwrap();
        self.claim(worker).await.unwrap().remove(0)
    }

    pub(crate) async fn claim(&self, worker: WorkerId) -> windlass_core::Result<Vec<Lease>> {
        Ok(self.backend.claim(&request(worker)).await?.leases)
    }
}

pub(crate) fn request(worker: WorkerId) -> ClaimRequest {
    let slots = vec![QueueSlots { queue: queue(), limit: 10 }];
    let kinds = vec![KindSlots { kind: Kind::new(KIND).unwrap(), limit: None }];
    ClaimRequest::new(worker, slots, kinds)
}

pub(crate) fn queue() -> QueueName {
    QueueName::new(QUEUE).unwrap()
}

pub(crate) fn job() -> NewJob {
    NewJob::new(Kind::new(KIND).unwrap(), queue(), Payload::json("args").unwrap())
}

pub(crate) fn unique(key: &str, until: UniqueUntil) -> NewJob {
    let key = UniqueKey::new(key).unwrap();
    let mut job = job();
    job.unique = Some(Unique { key, until, on_conflict: Default::default() });
    job
}

pub(crate) fn completion(lease: &Lease) -> Settlement {
    let outcome = AttemptOutcome::Completed { result: None, blobs: Vec::new() };
    Settlement::new(lease.key, outcome)
}

/// The bytes of a blob.
pub(crate) fn body(bytes: Vec<u8>) -> ByteStream {
    Box::pin(futures_util::stream::once(async { Ok(bytes.into()) }))
}
