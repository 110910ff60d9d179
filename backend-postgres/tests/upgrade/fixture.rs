//! A database with jobs in every state, as the library of today leaves it, and its dump.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection};
use windlass_core::job::EventName;
use windlass_core::storage::put_bytes;
use windlass_core::{
    AttemptOutcome, Backend, BlobKey, Change, ChangeRequest, ClaimRequest, Client, Failure,
    FailureKind, JobId, Kind, KindSlots, Lease, LogLevel, MemoryBackend, NewJob, Note, Outbox,
    Payload, Progress, Queue, QueueChange, QueueName, QueueSlots, Record, Retention, Selector,
    Settled, Settlement, Start, Store, Tag, Timestamp, Unique, UniqueKey, UniqueUntil, WorkerId,
    WorkerInfo,
};
use windlass_postgres::PostgresBackend;

use crate::common::{HOUR, Place};

/// Ten years: what is due then is not due while these tests are run.
pub(crate) const FAR: Duration = Duration::from_secs(3_600 * 24 * 3_650);
/// When all of it happened: before any run of the tests.
const THEN: &str = "2025-01-01T00:00:00Z";

pub(crate) const LIVE: &str = "live";
pub(crate) const LOST: &str = "lost";
pub(crate) const BLOB: &str = "reports/kept";
pub(crate) const STAGED: &str = "reports/never-referred-to";
pub(crate) const OF_ARGS: &str = "args/kept";
pub(crate) const BYTES: &[u8] = b"a small blob";

pub(crate) fn queue(name: &str) -> QueueName {
    QueueName::new(name).unwrap()
}

pub(crate) fn kind(name: &str) -> Kind {
    Kind::new(name).unwrap()
}

pub(crate) fn key(text: &str) -> BlobKey {
    BlobKey::new(text).unwrap()
}

/// A job is found again by its name.
pub(crate) fn id(name: &str) -> JobId {
    JobId::derived(&format!("fixture/{name}"))
}

fn job(name: &str) -> NewJob {
    let mut job = NewJob::new(kind("mail"), queue("main"), Payload::json(name).unwrap());
    job.id = id(name);
    job
}

fn later(name: &str, start: Duration) -> NewJob {
    let mut job = job(name);
    job.start = Start::In(start);
    job
}

fn unique(name: &str, until: UniqueUntil) -> NewJob {
    let mut job = job(name);
    let key = UniqueKey::new(name).unwrap();
    job.unique = Some(Unique { key, until, on_conflict: Default::default() });
    job
}

pub(crate) async fn worker(backend: &PostgresBackend, name: &str, lease: Duration) -> WorkerId {
    let info = WorkerInfo::new(name, lease, vec![queue("main")]);
    backend.register(&info).await.unwrap().worker
}

pub(crate) fn request(worker: WorkerId, queue_name: &str, limit: u32) -> ClaimRequest {
    let kinds = vec![KindSlots { kind: kind("mail"), limit: None }];
    ClaimRequest::new(worker, vec![QueueSlots { queue: queue(queue_name), limit }], kinds)
}

async fn insert(backend: &PostgresBackend, job: NewJob) {
    assert!(backend.insert(&[job]).await.unwrap()[0].is_new());
}

/// Inserts a job and claims it; no other is available.
async fn run(backend: &PostgresBackend, worker: WorkerId, job: NewJob) -> Lease {
    let id = job.id;
    insert(backend, job).await;
    claim(backend, worker, id).await
}

async fn claim(backend: &PostgresBackend, worker: WorkerId, id: JobId) -> Lease {
    let lease = backend.claim(&request(worker, "main", 1)).await.unwrap().leases.remove(0);
    assert_eq!(lease.key.job, id);
    lease
}

async fn settle(backend: &PostgresBackend, settlement: Settlement) {
    let answer = backend.settle(&[settlement]).await.unwrap().remove(0);
    assert!(matches!(answer, Settled::Applied { .. }), "{answer:?}");
}

pub(crate) fn failure(message: &str) -> Failure {
    Failure { kind: FailureKind::Error, message: message.to_owned() }
}

fn retry(delay: Duration, message: &str) -> AttemptOutcome {
    AttemptOutcome::Retry { delay, failure: failure(message) }
}

async fn cancel(backend: &PostgresBackend, name: &str) {
    let change = Change::Cancel { reason: Some("not wanted".to_owned()) };
    let request = ChangeRequest::new(Selector::Ids(vec![id(name)]), change);
    assert_eq!(backend.change(&request).await.unwrap().count, 1);
}

/// Rows in every state that this version knows. (No job is ever `blocked` in it.)
pub(crate) async fn fill(place: &Place) {
    // The clock goes back, so that what has passed in the dump has passed whenever it is restored.
    let mut conn = place.host().await;
    place.open().await.close().await.unwrap();
    let clock = set_back(&mut conn).await;
    let backend = place.open().await;
    quarantined(&backend).await;
    ended(&backend).await;
    running(&backend).await;
    waiting(&backend).await;
    on_its_way(&backend, &mut conn).await;
    backend.close().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(clock)).execute(&mut conn).await.unwrap();
}

/// A job in the outbox, with all that a job can have.
async fn on_its_way(backend: &PostgresBackend, conn: &mut PgConnection) {
    let outbox = Outbox::new(&Client::new(Arc::new(backend.clone())), &elsewhere());
    let jobs = vec![on_its_way_to("elsewhere")];
    assert_eq!(outbox.insert_in(conn, jobs).await.unwrap(), [id("elsewhere")]);
}

pub(crate) fn elsewhere() -> Client {
    Client::new(Arc::new(MemoryBackend::default())).erase()
}

pub(crate) fn on_its_way_to(name: &str) -> NewJob {
    let mut job = unique(name, UniqueUntil::For(HOUR));
    job.start = Start::In(HOUR);
    job.timeout = Some(HOUR);
    job.meta.insert("trace".to_owned(), "a\nb".to_owned());
    job.tags = vec![Tag::new("red").unwrap()];
    job
}

/// Sets the schema's clock back; answers what sets it right again.
async fn set_back(conn: &mut PgConnection) -> String {
    let get = "SELECT pg_get_functiondef('windlass.now'::regproc)";
    let clock: String = sqlx::query_scalar(get).fetch_one(&mut *conn).await.unwrap();
    let by =
        Timestamp::now().as_microsecond() - THEN.parse::<Timestamp>().unwrap().as_microsecond();
    let (before, after) = clock.trim_end().split_once("RETURN ").unwrap();
    let slow = format!("{before}RETURN ({after}) - {by}");
    sqlx::raw_sql(AssertSqlSafe(slow)).execute(conn).await.unwrap();
    clock
}

/// A job that has crashed its workers, and the entries of the feed before it pruned.
async fn quarantined(backend: &PostgresBackend) {
    insert(backend, job("quarantined")).await;
    for _ in 0..2 {
        let crashing = worker(backend, "crashing", HOUR).await;
        claim(backend, crashing, id("quarantined")).await;
        backend.deregister(crashing).await.unwrap();
        assert_eq!(backend.maintain(9).await.unwrap().rescued, [id("quarantined")]);
    }
    let mut old = Retention::keep_all();
    old.events = Some(Duration::ZERO);
    assert!(backend.prune(&old, 100).await.unwrap().events > 0);
}

async fn ended(backend: &PostgresBackend) {
    let w = worker(backend, "past", HOUR).await;
    let storage = backend.storage();

    let lease = run(backend, w, job("completed")).await;
    let result = Some(Payload::json(&"the result").unwrap());
    let outcome = AttemptOutcome::Completed { result, blobs: Vec::new() };
    settle(backend, Settlement::new(lease.key, outcome)).await;

    backend.stage_blobs(&[key(BLOB), key(STAGED)], HOUR).await.unwrap();
    put_bytes(&*storage, &key(BLOB), BYTES).await.unwrap();
    put_bytes(&*storage, &key(STAGED), BYTES).await.unwrap();
    put_bytes(&*storage, &key(OF_ARGS), BYTES).await.unwrap();
    let lease = run(backend, w, job("with-blob")).await;
    let result = Some(Payload::json(&BLOB).unwrap());
    let outcome = AttemptOutcome::Completed { result, blobs: vec![key(BLOB)] };
    let mut settlement = Settlement::new(lease.key, outcome);
    settlement.follow_ups = vec![later("follow-up", HOUR), later("far-follow-up", FAR)];
    settlement.notes = vec![log("the last line")];
    settle(backend, settlement).await;

    let lease = run(backend, w, job("given-up")).await;
    settle(backend, Settlement::new(lease.key, retry(Duration::ZERO, "first"))).await;
    let lease = claim(backend, w, id("given-up")).await;
    let outcome = AttemptOutcome::Discarded { failure: failure("hopeless") };
    settle(backend, Settlement::new(lease.key, outcome)).await;

    insert(backend, later("cancelled", FAR)).await;
    cancel(backend, "cancelled").await;
    // A window outlives its job.
    let lease = run(backend, w, unique("window", UniqueUntil::For(FAR))).await;
    let outcome = AttemptOutcome::Completed { result: None, blobs: Vec::new() };
    settle(backend, Settlement::new(lease.key, outcome)).await;
    let lease = run(backend, w, unique("passed-window", UniqueUntil::For(HOUR))).await;
    let outcome = AttemptOutcome::Completed { result: None, blobs: Vec::new() };
    settle(backend, Settlement::new(lease.key, outcome)).await;
}

fn log(message: &str) -> Note {
    Note::Log { level: LogLevel::Info, message: message.to_owned() }
}

async fn running(backend: &PostgresBackend) {
    let w = worker(backend, LIVE, FAR).await;
    let mut one = job("running");
    one.timeout = Some(FAR);
    let lease = run(backend, w, one).await;
    let progress = Progress { done: 3, total: Some(9), message: Some("on the way".into()) };
    let data = serde_json::value::to_raw_value(&[1, 2]).unwrap();
    let host = Note::Host { name: EventName::new("host.event").unwrap(), data };
    let notes = vec![Note::Progress(progress), log("a line"), host];
    backend.record(&[Record::new(lease.key, notes)]).await.unwrap();
    run(backend, w, job("cancelling")).await;
    cancel(backend, "cancelling").await;
    run(backend, w, unique("running-unique", UniqueUntil::Finished)).await;

    let lost = worker(backend, LOST, HOUR).await;
    run(backend, lost, job("orphan")).await;
    let mut last = job("last-attempt");
    last.max_attempts = 1;
    run(backend, lost, last).await;

    let lease = run(backend, w, job("retryable")).await;
    settle(backend, Settlement::new(lease.key, retry(HOUR, "boom"))).await;
    let lease = run(backend, w, job("far-retryable")).await;
    settle(backend, Settlement::new(lease.key, retry(FAR, "boom"))).await;
    let lease = run(backend, w, job("snoozed")).await;
    let outcome = AttemptOutcome::Snoozed { delay: HOUR };
    settle(backend, Settlement::new(lease.key, outcome)).await;
}

async fn waiting(backend: &PostgresBackend) {
    let change = QueueChange::default().concurrency(Some(2)).max_depth(Some(100)).paused(true);
    backend.configure_queue(&queue("paused"), &change).await.unwrap();
    let mut paused = job("paused");
    paused.queue = queue("paused");
    insert(backend, paused).await;
    insert(backend, later("scheduled", HOUR)).await;
    insert(backend, later("far-scheduled", FAR)).await;
    let mut available = job("available");
    available.meta = [("trace".to_owned(), "\"quoted\"".to_owned())].into();
    available.tags = vec![Tag::new("red").unwrap(), Tag::new("round").unwrap()];
    available.priority = windlass_core::Priority::HIGH;
    available.blobs = vec![key(OF_ARGS)];
    insert(backend, available).await;
    insert(backend, unique("until-started", UniqueUntil::Started)).await;
    insert(backend, unique("until-finished", UniqueUntil::Finished)).await;
    let host = Note::Host {
        name: EventName::new("seen").unwrap(),
        data: serde_json::value::to_raw_value(&true).unwrap(),
    };
    backend.append(id("completed"), &[host]).await.unwrap();
}

fn postgres(program: &str, place: &Place) -> Command {
    let mut command = Command::new(program);
    command.arg(format!("--dbname={}", place.url())).stdin(Stdio::null());
    command
}

/// The library's schema with its rows, as `pg_dump` tells it.
pub(crate) fn dump(place: &Place) -> String {
    let mut command = postgres("pg_dump", place);
    command.args(["--schema=windlass", "--no-owner"]);
    let output = command.output().expect("pg_dump of Debian's package postgresql-client");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    // Later minor versions put a random word there, which older ones of `psql` don't know.
    let lines = text
        .lines()
        .filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Restores a dump into an empty database.
pub(crate) fn restore(place: &Place, dump: &std::path::Path) {
    let mut command = postgres("psql", place);
    command.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file"]).arg(dump);
    let output = command.output().expect("psql of Debian's package postgresql-client");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
