//! What others change while a call is under way, between its look and its lock, and what fails in the middle of one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{
    Clock, HOUR, LOCK_WAITS, Place, claim, completed, job, kind, unique_job, until, worker,
};
use sqlx::Connection as _;
use windlass_core::{
    Change, ChangeRequest, ClaimRequest, Inserted, JobFilter, KindSlots, NewJob, Payload, Queue,
    QueueName, QueueSlots, Selector, State, Store, Tag, Wake, WorkerInfo,
};
use windlass_postgres::PostgresBackend;

/// Another process rescues the job, and a worker that registered after the look claims it, before the lock is had.
#[tokio::test(flavor = "multi_thread")]
async fn f02_a_worker_that_came_after_the_look_keeps_its_job() {
    for by_insert in [false, true] {
        let place = Place::new().await;
        // Where it stands still it waits for a lock, which a rescue does for no longer than that.
        let patient = place.options().lock_timeout(Duration::from_secs(60));
        let backend = PostgresBackend::open(patient).await.unwrap();
        let other = place.open().await;
        let lost = worker(&backend).await;
        let holder = unique_job();
        backend.insert(std::slice::from_ref(&holder)).await.unwrap();
        let lease = claim(&backend, lost, 1).await.remove(0);
        place.execute("UPDATE windlass.workers SET expires_at = 1").await;
        let clock =
            Clock::new(&place, "-- Locks those of some jobs that are still to be rescued").await;
        let mut host = place.host().await;
        let mut transaction = host.begin().await.unwrap();
        clock.stop(&mut transaction).await;
        let rescue = tokio::spawn(async move {
            if by_insert {
                // It meets a holder that is lost.
                let inserted = backend.insert(&[unique_job()]).await.unwrap();
                assert_eq!(inserted, [Inserted::Duplicate { existing: holder.id }]);
            } else {
                assert_eq!(backend.maintain(10).await.unwrap().rescued, []);
            }
        });
        clock.until_met().await;
        let live = worker(&other).await;
        let taken =
            "UPDATE windlass.jobs SET worker = $1, epoch = epoch + 1, claim_id = gen_random_uuid()";
        let taken = sqlx::query(taken).bind(*live.as_uuid());
        taken.execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
        rescue.await.unwrap();
        let kept = other.get(lease.key.job).await.unwrap().unwrap();
        assert_eq!((kept.state, kept.worker, kept.crashes), (State::Running, Some(live), 0));
    }
}

/// While an insert waits for a unique key, after its look for what is stored, another call adds the same job; in the second round a worker finishes it too.
#[tokio::test(flavor = "multi_thread")]
async fn f21_a_job_that_others_add_after_the_look_is_not_added_again() {
    for finished in [false, true] {
        let place = Place::new().await;
        let (backend, other) = (place.open().await, place.open().await);
        let w = worker(&other).await;
        let new = unique_job();
        let mut host = place.host().await;
        let mut transaction = host.begin().await.unwrap();
        let held = "INSERT INTO windlass.unique_keys (key, job, mode) VALUES ('key', gen_random_uuid(), 1)";
        sqlx::query(held).execute(&mut *transaction).await.unwrap();
        let insert = tokio::spawn({
            let new = new.clone();
            async move { backend.insert(&[new]).await.unwrap() }
        });
        place.until(LOCK_WAITS, "1").await;
        let mut same = new.clone();
        same.unique = None;
        assert_eq!(other.insert(&[same]).await.unwrap(), [Inserted::New(new.id)]);
        if finished {
            let lease = claim(&other, w, 1).await.remove(0);
            other.settle(&[completed(&lease)]).await.unwrap();
        }
        transaction.rollback().await.unwrap();
        assert_eq!(insert.await.unwrap(), [Inserted::Duplicate { existing: new.id }]);
        assert_eq!(place.value("SELECT count(*) FROM windlass.records").await, "1");
        assert_eq!(place.value("SELECT count(*) FROM windlass.unique_keys").await, "0");
    }
}

/// A change of all jobs that pass a filter leaves one alone that passes no longer when it can be locked.
#[tokio::test(flavor = "multi_thread")]
async fn f19_a_job_that_passes_a_filter_no_longer_is_left_alone() {
    for change in ["tags = '{new}'", "kind = 'other'", "queue = 'other'", "unique_key = 'new'"] {
        let place = Place::new().await;
        let backend = place.open().await;
        let mut stays = job();
        stays.tags = vec![Tag::new("old").unwrap()];
        backend.insert(std::slice::from_ref(&stays)).await.unwrap();
        place.execute("UPDATE windlass.jobs SET unique_key = 'old', unique_mode = 1").await;
        let mut filter = JobFilter::default();
        filter.tags = stays.tags.clone();
        (filter.kinds, filter.queues) = (vec![kind()], vec![common::queue()]);
        filter.unique_key = Some(windlass_core::UniqueKey::new("old").unwrap());
        let mut host = place.host().await;
        let mut transaction = host.begin().await.unwrap();
        let change = sqlx::AssertSqlSafe(format!("UPDATE windlass.jobs SET {change}"));
        sqlx::raw_sql(change).execute(&mut *transaction).await.unwrap();
        let delete = tokio::spawn({
            let backend = backend.clone();
            let request = ChangeRequest::new(Selector::Filter(filter), Change::Delete);
            async move { backend.change(&request).await.unwrap() }
        });
        place.until(LOCK_WAITS, "1").await;
        transaction.commit().await.unwrap();
        assert_eq!(delete.await.unwrap().count, 0);
        assert!(backend.get(stays.id).await.unwrap().is_some());
    }
}

/// A claim from two queues takes something from the first, and fails in the second: the news of the second stay news.
#[tokio::test]
async fn f33_a_queue_in_which_a_claim_failed_is_looked_at_again() {
    let place = Place::new().await;
    // What this process tells others would wake it as well.
    let backend = PostgresBackend::open(place.options().listen(false)).await.unwrap();
    let names = ["a", "b"].map(|name| QueueName::new(name).unwrap());
    place
        .execute(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF OLD.queue = 'b' THEN RAISE EXCEPTION 'no'; END IF; RETURN NEW; END $$;
            CREATE TRIGGER fail BEFORE UPDATE ON windlass.jobs FOR EACH ROW EXECUTE FUNCTION fail()",
        )
        .await;
    let info = WorkerInfo::new("test", HOUR, names.to_vec());
    let w = backend.register(&info).await.unwrap().worker;
    let new = |queue: &QueueName| NewJob::new(kind(), queue.clone(), Payload::json(&1).unwrap());
    backend.insert(&[new(&names[0]), new(&names[1])]).await.unwrap();
    let slots = names.iter().map(|queue| QueueSlots { queue: queue.clone(), limit: 5 });
    let kinds = vec![KindSlots { kind: kind(), limit: None }];
    let request = ClaimRequest::new(w, slots.collect(), kinds);
    assert_eq!(backend.claim(&request).await.unwrap().leases.len(), 1);
    let wake = backend.wait(&names[1..], Duration::from_secs(30)).await.unwrap();
    assert_eq!(wake, Wake::Hint);
    place.execute("DROP TRIGGER fail ON windlass.jobs").await;
    let claim = async || {
        let again = ClaimRequest::new(w, request.queues.clone(), request.kinds.clone());
        backend.claim(&again).await.unwrap().leases.len() == 1
    };
    until(claim).await;
}
