//! Rows that can't be read stand in nobody's way.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{HOUR, Place, claim, completed, everything, job, kind, queue, worker};
use windlass_core::{
    AttemptOutcome, ClaimRequest, Error, EventFilter, Failure, FailureKind, JobId, Kind, KindSlots,
    NewJob, Queue, QueueSlots, Retention, Settled, Settlement, Start, State, Store,
};

/// Writes a value into a column of a job, past the backend.
async fn damage(place: &Place, job: JobId, assignment: &str) {
    let sql = format!("UPDATE windlass.jobs SET {assignment} WHERE id = '{job}' RETURNING 'done'");
    assert_eq!(place.value(&sql).await, "done");
}

async fn column(place: &Place, job: JobId, column: &str) -> String {
    place.value(&format!("SELECT {column}::text FROM windlass.records WHERE id = '{job}'")).await
}

fn failure() -> Failure {
    Failure { kind: FailureKind::Error, message: "boom".to_owned() }
}

#[tokio::test]
async fn f07_f31_f49_a_damaged_job_at_the_head_is_discarded_and_the_others_are_claimed() {
    let place = Place::new().await;
    let backend = place.open().await;
    let w = worker(&backend).await;
    for assignment in [
        "meta = '{'",
        "meta = '[]'",
        "tags = '{a b}'",
        "progress = '{\"secret\"'",
        "meta = '{\"secret\": 1}'",
    ] {
        for other_kind in [false, true] {
            let good = if other_kind { Kind::new("other").unwrap() } else { kind() };
            let (bad, good) = (job(), NewJob::new(good, queue(), job().args));
            backend.insert(&[bad.clone(), good.clone()]).await.unwrap();
            damage(&place, bad.id, assignment).await;
            let kinds = [kind(), Kind::new("other").unwrap()];
            let kinds = kinds.map(|kind| KindSlots { kind, limit: None }).to_vec();
            let slots = vec![QueueSlots { queue: queue(), limit: 1 }];
            let mut claimed = Vec::new();
            // A claim brings fewer than it could while it clears away what can't be read.
            for _ in 0..2 {
                let request = ClaimRequest::new(w, slots.clone(), kinds.clone());
                claimed.extend(backend.claim(&request).await.unwrap().leases);
            }
            let jobs: Vec<JobId> = claimed.iter().map(|lease| lease.key.job).collect();
            assert_eq!(jobs, [good.id], "{assignment}");
            assert_eq!(column(&place, bad.id, "state").await, "7", "{assignment}");
            let errors = column(&place, bad.id, "errors").await;
            assert!(errors.contains("can't be read"), "{errors}");
            assert!(!errors.contains("secret"), "{errors}");
        }
    }
}

/// Nothing is lost: a newer library, or this one once the row is mended, runs the job.
#[tokio::test]
async fn f07_f31_f49_a_job_in_an_unknown_encoding_waits_and_is_in_nobodys_way() {
    let place = Place::new().await;
    let backend = place.open().await;
    let w = worker(&backend).await;
    let jobs: Vec<NewJob> = (0..50).map(|_| job()).collect();
    backend.insert(&jobs).await.unwrap();
    place.execute("UPDATE windlass.jobs SET encoding = 99").await;
    damage(&place, jobs[49].id, "encoding = 1").await;
    let claimed = claim(&backend, w, 2).await;
    assert_eq!(claimed.iter().map(|lease| lease.key.job).collect::<Vec<_>>(), [jobs[49].id]);
    assert_eq!(column(&place, jobs[0].id, "state").await, "2");
    place.execute("UPDATE windlass.jobs SET encoding = 1").await;
    assert_eq!(claim(&backend, w, 100).await.len(), 49);
}

/// What went wrong before can't be read any more: what goes wrong next is noted all the same.
#[tokio::test]
async fn f49_a_job_whose_errors_can_not_be_read_fails_and_is_rescued_like_any_other() {
    let place = Place::new().await;
    let backend = place.open().await;
    let w = worker(&backend).await;
    let jobs = [job(), job(), job()];
    backend.insert(&jobs).await.unwrap();
    place.execute("UPDATE windlass.jobs SET errors = 'none of ours'").await;
    let leases = claim(&backend, w, 3).await;
    let retry = AttemptOutcome::Retry { delay: HOUR, failure: failure() };
    let settlements = [completed(&leases[0]), Settlement::new(leases[1].key, retry)];
    let answers = backend.settle(&settlements).await.unwrap();
    let applied = |state| Settled::Applied { state };
    assert_eq!(answers, [applied(State::Completed), applied(State::Retryable)]);
    backend.deregister(w).await.unwrap();
    assert_eq!(backend.maintain(9).await.unwrap().rescued, [leases[2].key.job]);
    for lease in &leases[1..] {
        assert_eq!(backend.get(lease.key.job).await.unwrap().unwrap().errors.len(), 1);
    }
    let refused = backend.get(leases[0].key.job).await.unwrap_err();
    assert!(matches!(refused, Error::Decode { .. }), "{refused:?}");
    assert!(
        everything(&refused).contains("errors") && !everything(&refused).contains("none of ours")
    );
}

/// Others are claimed, promoted, rescued, settled and pruned, and followers go on.
#[tokio::test]
async fn f07_f49_a_job_of_an_odd_kind_is_in_nobodys_way() {
    let place = Place::new().await;
    let backend = place.open().await;
    let w = worker(&backend).await;
    let running = [job(), job()];
    backend.insert(&running).await.unwrap();
    assert_eq!(claim(&backend, w, 2).await.len(), 2);
    let mut due = [job(), job()];
    for job in &mut due {
        job.start = Start::In(HOUR);
    }
    let waiting = [job(), job()];
    backend.insert(&[due.clone(), waiting.clone()].concat()).await.unwrap();
    for odd in [&running[0], &due[0], &waiting[0]] {
        damage(&place, odd.id, "kind = 'an odd kind'").await;
    }
    place.execute("UPDATE windlass.jobs SET due_at = 0 WHERE state = 1").await;
    backend.deregister(w).await.unwrap();
    let mut rescued = backend.maintain(100).await.unwrap().rescued;
    rescued.retain(|job| *job == running[1].id);
    assert_eq!(rescued, [running[1].id]);
    let w = worker(&backend).await;
    let leases = claim(&backend, w, 100).await;
    let mut jobs: Vec<JobId> = leases.iter().map(|lease| lease.key.job).collect();
    jobs.sort_unstable();
    let mut expected = [running[1].id, due[1].id, waiting[1].id];
    expected.sort_unstable();
    assert_eq!(jobs, expected);
    for answer in backend.settle(&leases.iter().map(completed).collect::<Vec<_>>()).await.unwrap() {
        assert_eq!(answer, Settled::Applied { state: State::Completed });
    }
    let page = backend.events(&EventFilter::default(), None, 100).await.unwrap();
    assert!(page.events.iter().any(|event| event.job == waiting[1].id));
    assert_eq!(page.next, backend.tail().await.unwrap());
    let mut none = Retention::keep_all();
    none.completed = Some(std::time::Duration::ZERO);
    assert_eq!(backend.prune(&none, 100).await.unwrap().jobs, 3);
}

/// The history of one job can't be read: that is told of this job, and it runs.
#[tokio::test]
async fn f49_a_job_whose_history_can_not_be_read_runs() {
    let place = Place::new().await;
    let backend = place.open().await;
    let w = worker(&backend).await;
    let jobs = [job(), job()];
    backend.insert(&jobs).await.unwrap();
    damage(&place, jobs[0].id, "trail = 'none of ours', changes = 1000000").await;
    let leases = claim(&backend, w, 2).await;
    assert_eq!(leases.len(), 2);
    for answer in backend.settle(&leases.iter().map(completed).collect::<Vec<_>>()).await.unwrap() {
        assert_eq!(answer, Settled::Applied { state: State::Completed });
    }
    let refused = backend.history(jobs[0].id, None, 9).await.unwrap_err();
    assert!(matches!(refused, Error::Decode { .. }), "{refused:?}");
    assert_eq!(backend.history(jobs[1].id, None, 9).await.unwrap().events.len(), 3);
}
