//! Each condition on who may write counts by itself: what is wrong in one part changes nothing. Where a statement repeats what an earlier one
//! has looked at, it is run alone. What the library never writes (a job that waits under a claim id) is written past it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{HOUR, Place, claim, completed, job, queue, request, statement, worker};
use serde_json::{Value, json};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Connection as _};
use uuid::Uuid;
use windlass_core::{
    AttemptOutcome, ClaimId, Epoch, Error, EventFilter, Failure, FailureKind, Heartbeat, Inserted,
    JobId, Lease, LeaseKey, LogLevel, NewJob, Note, Position, Queue, QueueChange, Record, Recorded,
    Settled, Settlement, State, Store, Transactional, Unique, UniqueKey, UniqueUntil, WorkerInfo,
};
use windlass_postgres::PostgresBackend;

/// A database with a backend, a worker, and the host's connection past them.
struct Scene {
    place: Place,
    backend: PostgresBackend,
    worker: windlass_core::WorkerId,
    host: PgConnection,
}

impl Scene {
    async fn new() -> Self {
        let place = Place::new().await;
        let backend = place.open().await;
        let worker = worker(&backend).await;
        let host = place.host().await;
        Self { place, backend, worker, host }
    }

    /// A job that runs, by a claim of its own.
    async fn running(&self) -> Lease {
        self.backend.insert(&[job()]).await.unwrap();
        claim(&self.backend, self.worker, 1).await.remove(0)
    }

    async fn set(&mut self, job: JobId, what: &str) {
        let sql = format!("UPDATE windlass.jobs SET {what} WHERE id = $1");
        let query = sqlx::query(AssertSqlSafe(sql)).bind(*job.as_uuid());
        assert_eq!(query.execute(&mut self.host).await.unwrap().rows_affected(), 1);
    }

    async fn state(&self, job: JobId) -> State {
        self.backend.get(job).await.unwrap().unwrap().state
    }

    async fn settle(&self, key: LeaseKey, outcome: AttemptOutcome) -> Settled {
        self.backend.settle(&[Settlement::new(key, outcome)]).await.unwrap().remove(0)
    }

    async fn record(&self, key: LeaseKey) -> Recorded {
        let notes = vec![Note::Log { level: LogLevel::Info, message: "line".into() }];
        self.backend.record(&[Record::new(key, notes)]).await.unwrap().remove(0)
    }
}

fn done() -> AttemptOutcome {
    AttemptOutcome::Completed { result: None, blobs: Vec::new() }
}

fn failure() -> Failure {
    Failure { kind: FailureKind::Error, message: "boom".to_owned() }
}

/// By the short way, to a waiting and to a final state.
fn outcomes() -> [AttemptOutcome; 3] {
    let retry = AttemptOutcome::Retry { delay: HOUR, failure: failure() };
    [done(), retry, AttemptOutcome::Discarded { failure: failure() }]
}

fn wrong(key: LeaseKey) -> [LeaseKey; 4] {
    [
        LeaseKey { epoch: Epoch(key.epoch.0 + 1), ..key },
        LeaseKey { epoch: Epoch(key.epoch.0 - 1), ..key },
        LeaseKey { claim_id: ClaimId::new(), ..key },
        LeaseKey { job: JobId::new(), ..key },
    ]
}

#[tokio::test]
async fn f01_a_key_that_is_wrong_in_one_part_changes_nothing() {
    let scene = Scene::new().await;
    let lease = scene.running().await;
    for key in wrong(lease.key) {
        for outcome in outcomes() {
            assert_eq!(scene.settle(key, outcome).await, Settled::Lost, "{key:?}");
        }
        assert_eq!(scene.record(key).await, Recorded::Lost, "{key:?}");
        let beat = scene.backend.heartbeat(scene.worker, &[key]).await.unwrap();
        let Heartbeat::Alive { lost, orphaned, .. } = beat else { panic!("the lease lasts") };
        assert_eq!((lost, orphaned), (vec![key], vec![lease.key]));
    }
    let state = State::Completed;
    assert_eq!(scene.settle(lease.key, done()).await, Settled::Applied { state });
    for key in wrong(lease.key) {
        assert_eq!(scene.settle(key, done()).await, Settled::Lost, "{key:?}");
    }
    assert_eq!(scene.settle(lease.key, done()).await, Settled::Already { state });
}

#[tokio::test]
async fn f01_a_key_of_another_worker_is_lost_to_this_one() {
    let scene = Scene::new().await;
    let lease = scene.running().await;
    let other = worker(&scene.backend).await;
    for _ in 0..2 {
        let beat = scene.backend.heartbeat(other, &[lease.key]).await.unwrap();
        let Heartbeat::Alive { lost, cancel, orphaned } = beat else { panic!("the lease lasts") };
        assert_eq!((lost, cancel, orphaned), (vec![lease.key], Vec::new(), Vec::new()));
    }
}

/// Two claims, each job under the other's: all parts are there, and none belong together.
#[tokio::test]
async fn f01_keys_that_are_crossed_change_nothing() {
    let scene = Scene::new().await;
    let (one, two) = (scene.running().await, scene.running().await);
    let crossed = [(&one, &two), (&two, &one)]
        .map(|(job, claim)| LeaseKey { claim_id: claim.key.claim_id, ..job.key });
    for outcome in outcomes() {
        let settlements = crossed.map(|key| Settlement::new(key, outcome.clone()));
        let answers = scene.backend.settle(&settlements).await.unwrap();
        assert_eq!(answers, [Settled::Lost, Settled::Lost]);
    }
    let notes = vec![Note::Log { level: LogLevel::Info, message: "line".into() }];
    let records = crossed.map(|key| Record::new(key, notes.clone()));
    let answers = scene.backend.record(&records).await.unwrap();
    assert_eq!(answers, [Recorded::Lost, Recorded::Lost]);
    for lease in [one, two] {
        assert_eq!(scene.state(lease.key.job).await, State::Running);
    }
}

#[tokio::test]
async fn f01_only_a_running_job_has_an_owner() {
    let mut scene = Scene::new().await;
    let lease = scene.running().await;
    for state in [State::Available, State::Scheduled, State::Retryable] {
        scene.set(lease.key.job, &format!("state = {}", state.code())).await;
        for outcome in outcomes() {
            assert_eq!(scene.settle(lease.key, outcome).await, Settled::Lost, "{state:?}");
        }
        assert_eq!(scene.record(lease.key).await, Recorded::Lost, "{state:?}");
        let beat = scene.backend.heartbeat(scene.worker, &[lease.key]).await.unwrap();
        let lost = vec![lease.key];
        let expected = Heartbeat::Alive { lost, cancel: Vec::new(), orphaned: Vec::new() };
        assert_eq!(beat, expected, "{state:?}");
    }
}

/// What a statement changes when it is run alone; a row of a fence as the library locked it.
async fn applied(host: &mut PgConnection, name: &str, row: &Value) -> u64 {
    let sql = statement(name);
    let query = sqlx::query(AssertSqlSafe(sql)).bind(json!([row]).to_string());
    let query = match name {
        "apply_final" => query.bind(Vec::<Vec<u8>>::new()).bind(0_i64),
        _ => query,
    };
    query.execute(host).await.unwrap().rows_affected()
}

fn row(key: LeaseKey, was: State, to: State) -> Value {
    json!({ "id": key.job, "was": was.code(), "epoch": key.epoch, "claim": key.claim_id.as_uuid(), "state": to.code(), "lane": 0, "turn": 1,
        "epochs": 0, "attempt": 1, "max_attempts": 9, "snoozes": 0, "crashes": 0, "cancelling": false, "change": "[]", "owner": true })
}

/// Rows that changed after they were locked are left alone. Changes a part of the fence at a time, each of which must
/// keep the statement from writing, and none in the end.
async fn compares_the_fence(scene: &mut Scene, name: &str, key: LeaseKey, was: State, to: State) {
    let right = row(key, was, to);
    for (part, other) in [
        (
            "was",
            json!(if was == State::Running { State::Available } else { State::Discarded }.code()),
        ),
        ("epoch", json!(key.epoch.0 + 1)),
        ("claim", json!(ClaimId::new().as_uuid())),
        ("claim", Value::Null),
    ] {
        let mut wrong = right.clone();
        wrong[part] = other;
        assert_eq!(applied(&mut scene.host, name, &wrong).await, 0, "{name} without {part}");
        assert_eq!(scene.state(key.job).await, was, "{name} without {part}");
    }
    assert_eq!(applied(&mut scene.host, name, &right).await, 1, "{name}");
    assert_eq!(scene.state(key.job).await, to);
}

#[tokio::test]
async fn f01_what_is_written_is_fenced_again() {
    let mut scene = Scene::new().await;
    let key = scene.running().await.key;
    compares_the_fence(&mut scene, "apply_waiting", key, State::Running, State::Scheduled).await;
    let key = scene.running().await.key;
    compares_the_fence(&mut scene, "apply_final", key, State::Running, State::Cancelled).await;
    let key = scene.running().await.key;
    scene.settle(key, done()).await;
    compares_the_fence(&mut scene, "apply_revived", key, State::Completed, State::Available).await;
}

#[tokio::test]
async fn f01_notes_are_fenced_again() {
    let mut scene = Scene::new().await;
    let key = scene.running().await.key;
    let add = async |host: &mut PgConnection, key: LeaseKey| {
        sqlx::query(AssertSqlSafe(statement("notes")))
            .bind(vec![*key.job.as_uuid()])
            .bind(vec![i64::from(key.epoch.0)])
            .bind(vec![*key.claim_id.as_uuid()])
            .bind(vec![1_i32])
            .bind(vec![Some("{}".to_owned())])
            .execute(host)
            .await
            .unwrap()
            .rows_affected()
    };
    for key in wrong(key) {
        assert_eq!(add(&mut scene.host, key).await, 0, "{key:?}");
    }
    for state in [State::Available, State::Scheduled, State::Retryable] {
        scene.set(key.job, &format!("state = {}", state.code())).await;
        assert_eq!(add(&mut scene.host, key).await, 0, "{state:?}");
    }
    scene.set(key.job, "state = 3").await;
    assert_eq!(add(&mut scene.host, key).await, 1);
}

/// The contents of a job that was started, changed or given another epoch meanwhile are not replaced.
#[tokio::test]
async fn f01_a_replacement_is_fenced_again() {
    let mut scene = Scene::new().await;
    scene.backend.insert(&[unique(UniqueUntil::Finished)]).await.unwrap();
    let lease = claim(&scene.backend, scene.worker, 1).await.remove(0);
    let id = lease.key.job;
    let replace_as =
        async |host: &mut PgConnection, state: State, epoch: i64, key: &str, to: i16| {
            sqlx::query_scalar::<_, i64>(AssertSqlSafe(statement("insert_replace")))
                .bind(*id.as_uuid())
                .bind(to)
                .bind("queue")
                .bind("kind")
                .bind(0_i16)
                .bind(Some(1_i64))
                .bind(0_i64)
                .bind(9_i32)
                .bind(None::<i64>)
                .bind(None::<String>)
                .bind(None::<String>)
                .bind(1_i16)
                .bind(b"1".to_vec())
                .bind("[]")
                .bind(i16::from(state.code()))
                .bind(epoch)
                .bind(key.to_owned())
                .bind(9_i32)
                .bind(0_i64)
                .fetch_one(host)
                .await
                .unwrap()
        };
    let replace = async |host: &mut PgConnection, state: State, epoch: i64| {
        replace_as(host, state, epoch, "key", 2).await
    };
    let epoch = i64::from(lease.key.epoch.0);
    assert_eq!(replace(&mut scene.host, State::Running, epoch).await, 0, "it has an owner");
    let outcome = AttemptOutcome::Snoozed { delay: HOUR };
    scene.settle(lease.key, outcome).await;
    assert_eq!(replace(&mut scene.host, State::Available, epoch).await, 0, "another state");
    assert_eq!(replace(&mut scene.host, State::Scheduled, epoch + 1).await, 0, "another epoch");
    let (host, from) = (&mut scene.host, State::Scheduled);
    assert_eq!(replace_as(host, from, epoch, "other", 2).await, 0, "another key");
    assert_eq!(replace_as(host, from, epoch, "key", 3).await, 0, "it would run");
    let keys = "DELETE FROM windlass.unique_keys RETURNING key";
    sqlx::query("BEGIN").execute(&mut *host).await.unwrap();
    sqlx::query(keys).execute(&mut *host).await.unwrap();
    assert_eq!(replace(host, from, epoch).await, 0, "it does not hold the key");
    sqlx::query("ROLLBACK").execute(&mut *host).await.unwrap();
    assert_eq!(replace(host, from, epoch).await, 1);
}

/// Jobs of living workers, and jobs that don't run, are not taken from anybody even when they were found a moment ago.
#[tokio::test]
async fn f02_a_rescue_looks_again_once_it_has_locked() {
    let mut scene = Scene::new().await;
    let lease = scene.running().await;
    let lock = async |host: &mut PgConnection, lost: bool| -> usize {
        let query = sqlx::query(AssertSqlSafe(statement("rescue_lock")));
        let query = query.bind(vec![*lease.key.job.as_uuid()]).bind(lost).bind(0_i64);
        query.fetch_all(host).await.unwrap().len()
    };
    assert_eq!(lock(&mut scene.host, true).await, 0, "its worker lives");
    assert_eq!(lock(&mut scene.host, false).await, 0, "it has no deadline");
    scene.set(lease.key.job, "deadline_at = windlass.now() + 3600000000").await;
    assert_eq!(lock(&mut scene.host, false).await, 0, "its deadline has not passed");
    scene.set(lease.key.job, "deadline_at = 0").await;
    assert_eq!(lock(&mut scene.host, false).await, 1);
    scene.backend.deregister(scene.worker).await.unwrap();
    assert_eq!(lock(&mut scene.host, true).await, 1);
    scene.set(lease.key.job, "state = 2").await;
    assert_eq!(lock(&mut scene.host, true).await, 0, "it does not run");
    assert_eq!(lock(&mut scene.host, false).await, 0, "it does not run");
}

/// The claim is refused, and takes nothing either.
#[tokio::test]
async fn f02_a_worker_without_a_lease_claims_nothing_and_never_revives() {
    let scene = Scene::new().await;
    let new = job();
    scene.backend.insert(std::slice::from_ref(&new)).await.unwrap();
    scene.backend.deregister(scene.worker).await.unwrap();
    for worker in [scene.worker, windlass_core::WorkerId::new()] {
        let refused = scene.backend.claim(&request(worker, 1)).await.unwrap_err();
        assert!(matches!(refused, Error::WorkerExpired { .. }), "{refused:?}");
        assert_eq!(scene.state(new.id).await, State::Available);
    }
    assert_eq!(scene.backend.heartbeat(scene.worker, &[]).await.unwrap(), Heartbeat::Expired);
    let mut info = WorkerInfo::new("test", HOUR, vec![queue()]);
    info.id = scene.worker;
    let refused = scene.backend.register(&info).await.unwrap_err();
    assert!(matches!(refused, Error::WorkerExpired { .. }), "{refused:?}");
}

#[tokio::test]
async fn a_paused_queue_gives_nothing() {
    let scene = Scene::new().await;
    scene.backend.insert(&[job()]).await.unwrap();
    for (paused, given) in [(true, 0), (false, 1)] {
        let change = QueueChange::default().paused(paused);
        scene.backend.configure_queue(&queue(), &change).await.unwrap();
        assert_eq!(claim(&scene.backend, scene.worker, 9).await.len(), given);
    }
}

/// A job that somebody else is changing holds up no claim of the others.
#[tokio::test]
async fn f17_a_claim_waits_for_nobody() {
    let mut scene = Scene::new().await;
    let jobs = [job(), job()];
    scene.backend.insert(&jobs).await.unwrap();
    let mut other = scene.host.begin().await.unwrap();
    sqlx::query("SELECT FROM windlass.jobs WHERE id = $1 FOR UPDATE")
        .bind(*jobs[0].id.as_uuid())
        .execute(&mut *other)
        .await
        .unwrap();
    let claimed = claim(&scene.backend, scene.worker, 9);
    let claimed = tokio::time::timeout(Duration::from_secs(20), claimed).await.expect("no wait");
    assert_eq!(claimed.iter().map(|lease| lease.key.job).collect::<Vec<_>>(), [jobs[1].id]);
    other.rollback().await.unwrap();
    assert_eq!(claim(&scene.backend, scene.worker, 9).await[0].key.job, jobs[0].id);
}

/// A job that was finished a moment ago has left the table in which new ones are added.
#[tokio::test]
async fn f21_a_finished_job_is_not_added_again() {
    let scene = Scene::new().await;
    let new = job();
    scene.backend.insert(std::slice::from_ref(&new)).await.unwrap();
    let lease = claim(&scene.backend, scene.worker, 1).await.remove(0);
    scene.backend.settle(&[completed(&lease)]).await.unwrap();
    let answer = scene.backend.insert(std::slice::from_ref(&new)).await.unwrap();
    assert_eq!(answer, [Inserted::Duplicate { existing: new.id }]);
    assert_eq!(scene.place.value("SELECT count(*) FROM windlass.jobs").await, "0");
}

fn unique(until: UniqueUntil) -> NewJob {
    let mut new = job();
    let key = UniqueKey::new("key").unwrap();
    new.unique = Some(Unique { key, until, on_conflict: Default::default() });
    new
}

#[tokio::test]
async fn f22_only_its_holder_frees_a_key_and_only_as_it_is_held() {
    let mut scene = Scene::new().await;
    let new = unique(UniqueUntil::Finished);
    scene.backend.insert(std::slice::from_ref(&new)).await.unwrap();
    let free = async |host: &mut PgConnection, job: JobId, mode: i16| {
        let query = sqlx::query(AssertSqlSafe(statement("unique_free")));
        let query = query.bind(vec!["key"]).bind(vec![*job.as_uuid()]).bind(vec![mode]);
        query.execute(host).await.unwrap().rows_affected()
    };
    assert_eq!(free(&mut scene.host, JobId::new(), 1).await, 0, "another job");
    assert_eq!(free(&mut scene.host, new.id, 0).await, 0, "another mode");
    assert_eq!(free(&mut scene.host, new.id, 2).await, 0, "another mode");
    assert_eq!(free(&mut scene.host, new.id, 1).await, 1);
}

async fn drop_key(host: &mut PgConnection, job: JobId) -> i64 {
    let query = sqlx::query_scalar(AssertSqlSafe(statement("unique_drop")));
    query.bind(vec!["key"]).bind(vec![*job.as_uuid()]).fetch_one(host).await.unwrap()
}

/// A holder that was found stale may be so no longer.
#[tokio::test]
async fn f22_a_key_is_taken_from_a_stale_holder_only() {
    for until in [UniqueUntil::Started, UniqueUntil::Finished] {
        let mut scene = Scene::new().await;
        let new = unique(until);
        scene.backend.insert(std::slice::from_ref(&new)).await.unwrap();
        assert_eq!(drop_key(&mut scene.host, new.id).await, 0, "its holder is there");
        sqlx::query("DELETE FROM windlass.jobs").execute(&mut scene.host).await.unwrap();
        assert_eq!(drop_key(&mut scene.host, JobId::new()).await, 0, "another holder");
        assert_eq!(drop_key(&mut scene.host, new.id).await, 1);
    }
    let mut scene = Scene::new().await;
    let new = unique(UniqueUntil::For(HOUR));
    scene.backend.insert(std::slice::from_ref(&new)).await.unwrap();
    assert_eq!(drop_key(&mut scene.host, new.id).await, 0, "its window lasts");
    sqlx::query("DELETE FROM windlass.jobs").execute(&mut scene.host).await.unwrap();
    assert_eq!(drop_key(&mut scene.host, new.id).await, 0, "it outlives its job");
    let passed = "UPDATE windlass.unique_keys SET until = windlass.now()";
    sqlx::query(passed).execute(&mut scene.host).await.unwrap();
    assert_eq!(drop_key(&mut scene.host, new.id).await, 1);
}

/// The jobs of the feed's entries after a position, and where to go on.
async fn follow(
    backend: &PostgresBackend,
    after: Option<Position>,
) -> (Vec<JobId>, Option<Position>) {
    let page = backend.events(&EventFilter::default(), after, 100).await.unwrap();
    assert!(!page.gap && !page.more);
    (page.events.iter().map(|event| event.job).collect(), page.next)
}

/// Entries are numbered before they are committed. A follower that had read the later ones would never come back for the earlier.
#[tokio::test]
async fn a_follower_misses_nothing_of_a_transaction_that_commits_late() {
    for taken_back in [false, true] {
        let mut scene = Scene::new().await;
        let b = &scene.backend;
        b.insert(&[job()]).await.unwrap();
        let (_, mut after) = follow(b, None).await;
        let (early, late, mut seen) = (job(), [job(), job(), job()], Vec::new());
        let mut host = scene.host.begin().await.unwrap();
        if taken_back {
            // The first number goes with its savepoint, and so does what keeps followers from passing it.
            let mut part = host.begin().await.unwrap();
            b.insert_in(&mut part, &[job()]).await.unwrap();
            part.rollback().await.unwrap();
        }
        b.insert_in(&mut host, std::slice::from_ref(&early)).await.unwrap();
        for new in &late {
            b.insert(std::slice::from_ref(new)).await.unwrap();
            let (jobs, next) = follow(b, after).await;
            seen.extend(jobs);
            after = next;
        }
        assert_eq!(seen, [], "nothing after it is told before it");
        host.commit().await.unwrap();
        let (jobs, _) = follow(b, after).await;
        seen.extend(jobs);
        let mut all = vec![early.id];
        all.extend(late.iter().map(|job| job.id));
        assert_eq!(seen, all);
    }
}

/// Who wants cancelled what does not run would else mark a job that waits.
#[tokio::test]
async fn f13_only_a_job_with_an_owner_is_asked_to_end() {
    let mut scene = Scene::new().await;
    let new = job();
    scene.backend.insert(std::slice::from_ref(&new)).await.unwrap();
    let ask = async |host: &mut PgConnection| {
        let query = sqlx::query(AssertSqlSafe(statement("change_cancelling")));
        query.bind(vec![*new.id.as_uuid()]).execute(host).await.unwrap().rows_affected()
    };
    assert_eq!(ask(&mut scene.host).await, 0);
    claim(&scene.backend, scene.worker, 1).await;
    assert_eq!(ask(&mut scene.host).await, 1);
}

/// The short way of completions, run alone: what comes back is what was completed.
#[tokio::test]
async fn f01_the_short_way_is_fenced_by_itself() {
    let mut scene = Scene::new().await;
    let (one, two) = (scene.running().await.key, scene.running().await.key);
    let complete = async |host: &mut PgConnection, keys: &[LeaseKey]| -> Vec<PgRow> {
        let ids: Vec<Uuid> = keys.iter().map(|key| *key.job.as_uuid()).collect();
        let claims: Vec<Uuid> = keys.iter().map(|key| *key.claim_id.as_uuid()).collect();
        sqlx::query(AssertSqlSafe(statement("settle_complete")))
            .bind(ids)
            .bind(keys.iter().map(|key| i64::from(key.epoch.0)).collect::<Vec<_>>())
            .bind(claims.clone())
            .bind(claims)
            .bind(Vec::<Uuid>::new())
            .bind(Vec::<i16>::new())
            .bind(Vec::<Vec<u8>>::new())
            .fetch_all(host)
            .await
            .unwrap()
    };
    for key in wrong(one) {
        assert!(complete(&mut scene.host, &[key]).await.is_empty(), "{key:?}");
    }
    let crossed = [(one, two), (two, one)];
    let crossed = crossed.map(|(job, claim)| LeaseKey { claim_id: claim.claim_id, ..job });
    assert!(complete(&mut scene.host, &crossed).await.is_empty(), "crossed");
    scene.set(one.job, "state = 2").await;
    assert_eq!(complete(&mut scene.host, &[one, two]).await.len(), 1, "the one that runs");
    assert_eq!(scene.state(one.job).await, State::Available);
    assert_eq!(scene.state(two.job).await, State::Completed);
}
