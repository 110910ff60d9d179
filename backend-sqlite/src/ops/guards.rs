//! Each statement that writes a stored job compares it first, by itself: run alone against a row that is no longer as it was
//! read, it writes nothing, and the operation is taken back. No sequence of calls shows that where the operations read
//! under the write lock; so here the row is changed between the read and the write. Completions that don't read are tested by
//! calls as well (`tests/guesses.rs`).

use std::time::Duration;

use sqlx::SqliteConnection;
use tempfile::TempDir;
use windlass_core::machine::Rescue;
use windlass_core::{
    AttemptOutcome, Cause, Change, ClaimRequest, Failure, FailureKind, Kind, KindSlots, Lease,
    Limits, LogLevel, NewJob, Note, OnConflict, Payload, Queue as _, QueueName, QueueSlots, Record,
    Recorded, Retention, Selector, Settled, Settlement, Start, Store as _, Unique, UniqueKey,
    UniqueUntil, WorkerId, WorkerInfo,
};

use crate::batch::ids;
use crate::clock::Clock;
use crate::ops::apply::{apply, trim};
use crate::ops::stored::Stored;
use crate::ops::{change, claim, insert, prune, record, settle, unique};
use crate::script::Script;
use crate::txn::Txn;
use crate::{SqliteBackend, SqliteOptions, open};

/// What the statements are to notice: of any job, and of one that its owner writes.
const ANY: [&str; 2] = ["epoch = epoch + 1", "state = state + 1"];
const OWNED: [&str; 3] = [ANY[0], ANY[1], "claim_id = randomblob(16)"];

const JOBS: &str = "windlass_jobs";
const FINISHED: &str = "windlass_finished";

struct Place {
    _folder: TempDir,
    backend: SqliteBackend,
    conn: SqliteConnection,
    clock: Clock,
    limits: Limits,
    worker: WorkerId,
}

fn job() -> NewJob {
    let (kind, queue) = (Kind::new("kind").unwrap(), QueueName::new("queue").unwrap());
    NewJob::new(kind, queue, Payload::json(&1).unwrap())
}

fn claiming(worker: WorkerId) -> ClaimRequest {
    let NewJob { kind, queue, .. } = job();
    let slots = vec![QueueSlots { queue, limit: 1 }];
    ClaimRequest::new(worker, slots, vec![KindSlots { kind, limit: None }])
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteOptions::new(folder.path().join("jobs.db"));
        let backend = SqliteBackend::open(options.clone()).await.unwrap();
        let conn = open::writer(&options).await.unwrap();
        let info = WorkerInfo::new("test", Duration::from_secs(60), vec![job().queue]);
        let worker = backend.register(&info).await.unwrap().worker;
        let (clock, limits) = (Clock::new(), Limits::default());
        Self { _folder: folder, backend, conn, clock, limits, worker }
    }

    /// A job that waits.
    async fn waiting(&self, job: NewJob) -> NewJob {
        self.backend.insert(std::slice::from_ref(&job)).await.unwrap();
        job
    }

    /// A job that runs.
    async fn running(&self) -> Lease {
        self.waiting(job()).await;
        self.backend.claim(&claiming(self.worker)).await.unwrap().leases.remove(0)
    }

    /// A job that is final.
    async fn finished(&self) -> Lease {
        let lease = self.running().await;
        self.backend.settle(&[settlement(&lease, completed())]).await.unwrap();
        lease
    }

    async fn begin(&mut self) -> Txn<'_> {
        let (tick, _) = Txn::begin(&mut self.conn, None).await.unwrap();
        Txn::new(&mut self.conn, tick, &self.clock, &self.limits)
    }
}

fn completed() -> AttemptOutcome {
    AttemptOutcome::Completed { result: None, blobs: Vec::new() }
}

fn failed() -> Failure {
    Failure { kind: FailureKind::Error, message: "failed".into() }
}

fn settlement(lease: &Lease, outcome: AttemptOutcome) -> Settlement {
    Settlement::new(lease.key, outcome)
}

fn log() -> Vec<Note> {
    vec![Note::Log { level: LogLevel::Info, message: "line".into() }]
}

/// Runs each statement that waits in the transaction and compares, alone: once against the row as it was read, and once
/// for each alteration. Ends by running all of them after the first alteration, as the operation would.
async fn check(mut txn: Txn<'_>, statements: usize, table: &str, alterations: &[&'static str]) {
    let waiting = txn.take_deferred();
    let guarded: Vec<_> = waiting.iter().filter(|one| one.rows().is_some()).cloned().collect();
    assert_eq!(guarded.len(), statements, "{guarded:?}");
    let alter = |to: &str| sqlx::AssertSqlSafe(format!("UPDATE {table} SET {to}"));
    for one in &guarded {
        for to in std::iter::once(None).chain(alterations.iter().map(Some)) {
            sqlx::query("SAVEPOINT alone").execute(&mut *txn.conn).await.unwrap();
            if let Some(to) = to {
                sqlx::query(alter(to)).execute(&mut *txn.conn).await.unwrap();
            }
            let mut script = Script::default();
            script.push(one.clone().unchecked());
            script.run(txn.conn).await.unwrap();
            let wrote: i64 =
                sqlx::query_scalar("SELECT changes()").fetch_one(&mut *txn.conn).await.unwrap();
            let expected = if to.is_some() { Some(0) } else { one.rows() };
            assert_eq!(usize::try_from(wrote).ok(), expected, "after {to:?}: {one:?}");
            sqlx::query("ROLLBACK TO alone").execute(&mut *txn.conn).await.unwrap();
            sqlx::query("RELEASE alone").execute(&mut *txn.conn).await.unwrap();
        }
    }
    sqlx::query(alter(alterations[0])).execute(&mut *txn.conn).await.unwrap();
    waiting.into_iter().for_each(|one| txn.write(one));
    let error = txn.commit().await.map(drop).unwrap_err();
    let error = crate::error::translate("test", error);
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("not as it had been read") && source.contains("wrote 0 of 1 rows"));
    assert!(!error.is_transient(), "{error:?}");
}

async fn stored(txn: &mut Txn<'_>, job: &Lease) -> Stored {
    let list = ids([job.key.job.as_bytes()]);
    let query = sqlx::query(include_str!("../sql/stored_any.sql")).bind(list);
    let rows = txn.fetch(query).await.unwrap();
    Stored::read(&rows[0]).unwrap()
}

#[tokio::test]
async fn f01_settlements_compare_in_the_statements_that_write() {
    let retry = AttemptOutcome::Retry { delay: Duration::from_secs(1), failure: failed() };
    let discarded = AttemptOutcome::Discarded { failure: failed() };
    for (outcome, statements) in [
        (completed(), 2),
        (retry, 1),
        (discarded, 2),
        (AttemptOutcome::Released, 1),
        (AttemptOutcome::Snoozed { delay: Duration::from_secs(1) }, 1),
    ] {
        let mut place = Place::new().await;
        let lease = place.running().await;
        let mut txn = place.begin().await;
        let mut settlement = settlement(&lease, outcome);
        settlement.notes = log();
        let answers = settle::settle(&mut txn, &[settlement]).await.unwrap();
        assert!(matches!(answers[..], [Settled::Applied { .. }]), "{answers:?}");
        check(txn, statements + 1, JOBS, &OWNED).await;
        let job = place.backend.get(lease.key.job).await.unwrap().unwrap();
        assert_eq!(job.claim_id, Some(lease.key.claim_id), "taken back");
    }
}

#[tokio::test]
async fn f01_records_compare_in_the_statement_that_writes() {
    let mut place = Place::new().await;
    let lease = place.running().await;
    let mut txn = place.begin().await;
    let record = Record::new(lease.key, log());
    assert_eq!(record::record(&mut txn, &[record]).await.unwrap(), [Recorded::Applied]);
    check(txn, 1, JOBS, &OWNED).await;
}

#[tokio::test]
async fn f01_a_trail_is_cut_where_it_was_read() {
    let mut place = Place::new().await;
    let lease = place.running().await;
    let mut txn = place.begin().await;
    let mut running = settle::running(&mut txn, &[lease.key]).await.unwrap();
    let job = running.remove(&lease.key).unwrap();
    trim(&mut txn, &[job.guard()], usize::MAX).await.unwrap();
    check(txn, 1, JOBS, &OWNED).await;
}

#[tokio::test]
async fn f17_a_claim_takes_what_is_still_there() {
    let mut place = Place::new().await;
    place.waiting(job()).await;
    let request = claiming(place.worker);
    let mut txn = place.begin().await;
    assert_eq!(claim::claim(&mut txn, &request).await.unwrap().leases.len(), 1);
    check(txn, 1, JOBS, &ANY).await;
}

#[tokio::test]
async fn f01_a_rescue_compares_in_the_statements_that_write() {
    for attempts in [1, 3] {
        let mut place = Place::new().await;
        let mut new = job();
        new.max_attempts = attempts;
        place.waiting(new).await;
        let lease = place.backend.claim(&claiming(place.worker)).await.unwrap().leases.remove(0);
        let mut txn = place.begin().await;
        let lost = stored(&mut txn, &lease).await;
        let steps = unique::rescue_steps(txn.now, vec![lost], Rescue::WorkerLost);
        apply(&mut txn, Cause::Rescued, &steps).await.unwrap();
        check(txn, if attempts == 1 { 2 } else { 1 }, JOBS, &ANY).await;
    }
}

#[tokio::test]
async fn f19_changes_compare_in_the_statements_that_write() {
    let later = Start::In(Duration::from_secs(60));
    for (from, change, statements) in [
        ("waiting", Change::Cancel { reason: None }, 2),
        ("waiting", Change::Reschedule { start: later }, 1),
        ("waiting", Change::Delete, 1),
        ("running", Change::Cancel { reason: None }, 1),
        ("finished", Change::Retry, 2),
        ("finished", Change::Delete, 1),
    ] {
        let mut place = Place::new().await;
        let (id, table) = match from {
            "waiting" => (place.waiting(job()).await.id, JOBS),
            "running" => (place.running().await.key.job, JOBS),
            _ => (place.finished().await.key.job, FINISHED),
        };
        let mut txn = place.begin().await;
        let target = Selector::Ids(vec![id]);
        assert_eq!(change::change(&mut txn, &target, &change, None).await.unwrap().count, 1);
        check(txn, statements, table, &ANY).await;
    }
}

#[tokio::test]
async fn f19_a_replacement_compares_in_the_statement_that_writes() {
    let mut place = Place::new().await;
    let unique = || {
        let key = UniqueKey::new("key").unwrap();
        let on_conflict = OnConflict::Replace;
        let mut new = job();
        new.unique = Some(Unique { key, until: UniqueUntil::Finished, on_conflict });
        new
    };
    place.waiting(unique()).await;
    let mut txn = place.begin().await;
    insert::insert(&mut txn, &[unique()]).await.unwrap();
    check(txn, 1, JOBS, &ANY).await;
}

#[tokio::test]
async fn f19_host_events_compare_in_the_statement_that_writes() {
    let mut place = Place::new().await;
    let id = place.waiting(job()).await.id;
    let mut txn = place.begin().await;
    record::append(&mut txn, id, &log()).await.unwrap();
    check(txn, 1, JOBS, &ANY).await;
    let mut place = Place::new().await;
    let id = place.finished().await.key.job;
    let mut txn = place.begin().await;
    record::append(&mut txn, id, &log()).await.unwrap();
    check(txn, 1, FINISHED, &ANY).await;
}

#[tokio::test]
async fn f19_pruning_compares_in_the_statement_that_writes() {
    let mut place = Place::new().await;
    place.finished().await;
    let mut txn = place.begin().await;
    let mut keep = Retention::default();
    keep.completed = Some(Duration::ZERO);
    assert_eq!(prune::jobs(&mut txn, &keep, 10, &mut false).await.unwrap(), 1);
    check(txn, 1, FINISHED, &ANY).await;
}
