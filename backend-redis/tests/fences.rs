//! Each condition on who may write counts by itself: what is wrong in one part changes nothing. What the library never writes (a job that waits under
//! a claim id, an index that tells of a job what is not true) is written past it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{Place, completion, job, queue, request, unique};
use windlass_core::{
    AttemptOutcome, Change, ChangeRequest, ClaimId, Epoch, Error, Failure, FailureKind, Heartbeat,
    Inserted, JobId, LeaseKey, LogLevel, Note, Queue, QueueChange, Record, Recorded, Retention,
    Selector, Settled, Settlement, State, Store, UniqueUntil, WorkerInfo,
};

/// Places in what of a job changes.
const STATE: u32 = 1;
const WORKER_ALIVE: Duration = Duration::from_secs(3_600);

fn outcomes() -> [AttemptOutcome; 3] {
    let failure = || Failure { kind: FailureKind::Error, message: "boom".to_owned() };
    [
        AttemptOutcome::Completed { result: None, blobs: Vec::new() },
        AttemptOutcome::Retry { delay: WORKER_ALIVE, failure: failure() },
        AttemptOutcome::Discarded { failure: failure() },
    ]
}

fn wrong(key: LeaseKey) -> [LeaseKey; 4] {
    [
        LeaseKey { epoch: Epoch(key.epoch.0 + 1), ..key },
        LeaseKey { epoch: Epoch(key.epoch.0 - 1), ..key },
        LeaseKey { claim_id: ClaimId::new(), ..key },
        LeaseKey { job: JobId::new(), ..key },
    ]
}

async fn settle(place: &Place, key: LeaseKey, outcome: AttemptOutcome) -> Settled {
    place.backend.settle(&[Settlement::new(key, outcome)]).await.unwrap().remove(0)
}

async fn record(place: &Place, key: LeaseKey) -> Recorded {
    let notes = vec![Note::Log { level: LogLevel::Info, message: "line".into() }];
    place.backend.record(&[Record::new(key, notes)]).await.unwrap().remove(0)
}

/// Gives a job another state than it has, with the mark of those that go the short way, or without.
async fn lie(place: &mut Place, id: JobId, state: State, marked: bool) {
    match marked {
        true => place.patch_state(id, state).await,
        false => place.spoil(id, STATE, i64::from(state.code())).await,
    }
    assert_eq!(place.is_marked(id).await, marked);
}

async fn state(place: &Place, id: JobId) -> State {
    place.backend.get(id).await.unwrap().unwrap().state
}

#[tokio::test]
async fn f01_a_key_that_is_wrong_in_one_part_changes_nothing() {
    let mut place = Place::open().await;
    let worker = place.worker().await;
    let lease = place.run(worker, job()).await;
    let before = place.everything().await;
    for key in wrong(lease.key) {
        for outcome in outcomes() {
            assert_eq!(settle(&place, key, outcome).await, Settled::Lost, "{key:?}");
        }
        assert_eq!(record(&place, key).await, Recorded::Lost, "{key:?}");
    }
    assert_eq!(place.everything().await, before, "nothing is written");
    for key in wrong(lease.key) {
        let beat = place.backend.heartbeat(worker, &[key]).await.unwrap();
        let Heartbeat::Alive { lost, orphaned, .. } = beat else { panic!("the lease lasts") };
        assert_eq!((lost, orphaned), (vec![key], vec![lease.key]));
    }
    let [done, ..] = outcomes();
    let state = State::Completed;
    assert_eq!(settle(&place, lease.key, done.clone()).await, Settled::Applied { state });
    for key in wrong(lease.key) {
        assert_eq!(settle(&place, key, done.clone()).await, Settled::Lost, "{key:?}");
    }
    assert_eq!(settle(&place, lease.key, done).await, Settled::Already { state });
}

#[tokio::test]
async fn f01_only_a_running_job_has_an_owner_and_only_a_final_one_a_finisher() {
    let mut place = Place::open().await;
    let worker = place.worker().await;
    let waiting = [State::Available, State::Scheduled, State::Retryable];
    for (waiting, marked) in waiting.into_iter().flat_map(|s| [(s, false), (s, true)]) {
        let lease = place.run(worker, job()).await;
        lie(&mut place, lease.key.job, waiting, marked).await;
        for outcome in outcomes() {
            assert_eq!(settle(&place, lease.key, outcome).await, Settled::Lost, "{waiting}");
        }
        assert_eq!(record(&place, lease.key).await, Recorded::Lost, "{waiting}");
        assert_eq!(state(&place, lease.key.job).await, waiting);
    }
}

/// Only an available job is claimed, whatever the line it stands in says.
#[tokio::test]
async fn f17_a_line_that_is_wrong_gives_nothing() {
    let mut place = Place::open().await;
    let worker = place.worker().await;
    let others = [State::Scheduled, State::Running, State::Completed];
    for (other, marked) in others.into_iter().flat_map(|s| [(s, false), (s, true)]) {
        let new = job();
        place.backend.insert(std::slice::from_ref(&new)).await.unwrap();
        lie(&mut place, new.id, other, marked).await;
        assert!(place.claim(worker).await.unwrap().is_empty(), "{other}");
        assert_eq!(place.backend.get(new.id).await.unwrap().unwrap().attempt, 0, "{other}");
    }
}

#[tokio::test]
async fn a_lease_that_has_run_out_is_not_revived() {
    let mut place = Place::open().await;
    let info = WorkerInfo::new("brief", WORKER_ALIVE, vec![queue()]);
    place.backend.register(&info).await.unwrap();
    place.backend.insert(&[job()]).await.unwrap();
    common::expire(&mut place.conn, &place.namespace, info.id).await;
    assert_eq!(place.backend.heartbeat(info.id, &[]).await.unwrap(), Heartbeat::Expired);
    let again = place.backend.register(&info).await;
    assert!(matches!(again, Err(Error::WorkerExpired { worker }) if worker == info.id));
    let claimed = place.backend.claim(&request(info.id)).await;
    assert!(matches!(claimed, Err(Error::WorkerExpired { worker }) if worker == info.id));
}

#[tokio::test]
async fn a_paused_queue_gives_nothing() {
    let place = Place::open().await;
    let worker = place.worker().await;
    place.backend.insert(&[job()]).await.unwrap();
    let pause = |paused| QueueChange::default().paused(paused);
    place.backend.configure_queue(&queue(), &pause(true)).await.unwrap();
    assert!(place.claim(worker).await.unwrap().is_empty());
    place.backend.configure_queue(&queue(), &pause(false)).await.unwrap();
    assert_eq!(place.claim(worker).await.unwrap().len(), 1);
}

/// A job that is past its deadline and whose worker is lost is in two indexes and is rescued once.
#[tokio::test]
async fn a_job_that_is_lost_and_late_is_rescued_once() {
    let mut place = Place::open().await;
    let worker = place.worker().await;
    let mut new = job();
    new.timeout = Some(Duration::from_secs(60));
    let lease = place.run(worker, new).await;
    let id = lease.key.job;
    let late = place.key(":late", b"");
    let mut due = redis::cmd("ZADD");
    due.arg(late).arg(1).arg(id.as_bytes());
    let () = due.query_async(&mut place.conn).await.unwrap();
    place.backend.deregister(worker).await.unwrap();
    assert_eq!(place.backend.maintain(10).await.unwrap().rescued, [id]);
    let job = place.backend.get(id).await.unwrap().unwrap();
    assert_eq!((job.state, job.crashes, job.epoch), (State::Available, 1, Epoch(2)));
    assert_eq!(job.errors.len(), 1);
}

/// What is in a worker's list and runs under another one is left alone.
#[tokio::test]
async fn a_rescue_takes_only_jobs_of_the_lost_worker() {
    let mut place = Place::open().await;
    let (lost, other) = (place.worker().await, place.worker().await);
    let lease = place.run(other, job()).await;
    let mut put = redis::cmd("HSET");
    put.arg(place.key(":own:", lost.as_bytes())).arg(lease.key.job.as_bytes()).arg("x");
    let () = put.query_async(&mut place.conn).await.unwrap();
    place.backend.deregister(lost).await.unwrap();
    assert!(place.backend.maintain(10).await.unwrap().rescued.is_empty());
    assert_eq!(state(&place, lease.key.job).await, State::Running);
    let settled = place.backend.settle(&[completion(&lease)]).await.unwrap();
    assert_eq!(settled, [Settled::Applied { state: State::Completed }]);
}

/// An index that says of a job that it is due or finished is believed only if the job says so too.
#[tokio::test]
async fn promotion_and_pruning_look_at_the_job_itself() {
    let mut place = Place::open().await;
    let worker = place.worker().await;
    let lease = place.run(worker, job()).await;
    let id = lease.key.job;
    for index in [":due", ":done:5"] {
        let mut add = redis::cmd("ZADD");
        add.arg(place.key(index, b"")).arg(1).arg(id.as_bytes());
        let () = add.query_async(&mut place.conn).await.unwrap();
    }
    assert_eq!(place.backend.maintain(10).await.unwrap().promoted, 0);
    let mut retention = Retention::default();
    retention.completed = Some(Duration::ZERO);
    assert_eq!(place.backend.prune(&retention, 10).await.unwrap().jobs, 0);
    assert_eq!(state(&place, id).await, State::Running);
}

#[tokio::test]
async fn a_running_job_is_not_deleted() {
    let place = Place::open().await;
    let worker = place.worker().await;
    let lease = place.run(worker, job()).await;
    let target = Selector::Ids(vec![lease.key.job]);
    let change = ChangeRequest::new(target, Change::Delete);
    assert_eq!(place.backend.change(&change).await.unwrap().count, 0);
    assert_eq!(state(&place, lease.key.job).await, State::Running);
}

/// F22: a key is freed by its holder alone, and one whose holder is gone, past its window or lost is free.
#[tokio::test]
async fn f22_keys_are_held_by_who_holds_them() {
    let mut place = Place::open().await;
    let worker = place.worker().await;
    let answer = |job: windlass_core::NewJob| {
        let backend = place.backend.clone();
        async move { (job.id, backend.insert(&[job]).await.unwrap()[0]) }
    };
    // The holder's record is gone without a trace.
    let (gone, _) = answer(unique("gone", UniqueUntil::Finished)).await;
    let mut delete = redis::cmd("DEL");
    delete.arg(place.key(":j:", gone.as_bytes()));
    let (id, new) = answer(unique("gone", UniqueUntil::Finished)).await;
    assert_eq!(new, Inserted::Duplicate { existing: gone }, "{id}");
    let () = delete.query_async(&mut place.conn).await.unwrap();
    let (id, new) = answer(unique("gone", UniqueUntil::Finished)).await;
    assert_eq!(new, Inserted::New(id));

    // A window outlives its job, and ends.
    let (held, _) = answer(unique("window", UniqueUntil::For(WORKER_ALIVE))).await;
    let mut delete = redis::cmd("DEL");
    delete.arg(place.key(":j:", held.as_bytes()));
    let () = delete.query_async(&mut place.conn).await.unwrap();
    let (_, new) = answer(unique("window", UniqueUntil::Finished)).await;
    assert_eq!(new, Inserted::Duplicate { existing: held });
    answer(unique("brief", UniqueUntil::For(Duration::from_millis(1)))).await;
    let passed = async {
        loop {
            let (id, new) = answer(unique("brief", UniqueUntil::Finished)).await;
            if new == Inserted::New(id) {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), passed).await.unwrap();

    // The end of an earlier holder frees nothing of the later one's.
    place
        .backend
        .change(&ChangeRequest::new(Selector::Filter(Default::default()), Change::Delete))
        .await
        .unwrap();
    let lease = place.run(worker, unique("started", UniqueUntil::Started)).await;
    let (second, _) = answer(unique("started", UniqueUntil::Started)).await;
    place.backend.settle(&[completion(&lease)]).await.unwrap();
    let (_, new) = answer(unique("started", UniqueUntil::Started)).await;
    assert_eq!(new, Inserted::Duplicate { existing: second });
}

/// F22: a key whose holder is lost is free when the rescue gives the job up, though nobody has maintained yet.
#[tokio::test]
async fn f22_a_lost_holder_is_rescued_before_its_key_is_refused() {
    let place = Place::open().await;
    let worker = place.worker().await;
    let mut last = unique("a", UniqueUntil::Finished);
    last.max_attempts = 1;
    let lease = place.run(worker, last).await;
    let held = place.backend.insert(&[unique("a", UniqueUntil::Finished)]).await.unwrap()[0];
    assert_eq!(held, Inserted::Duplicate { existing: lease.key.job });
    place.backend.deregister(worker).await.unwrap();
    assert!(place.backend.insert(&[unique("a", UniqueUntil::Finished)]).await.unwrap()[0].is_new());
    assert_eq!(state(&place, lease.key.job).await, State::Discarded);
    assert!(place.backend.maintain(10).await.unwrap().rescued.is_empty(), "once");
}

/// F22: a retry takes its key back as an insert would take it: from a holder whose record is gone, and from a lost one that is given up.
#[tokio::test]
async fn f22_a_retry_takes_its_key_as_an_insert_does() {
    let mut place = Place::open().await;
    let worker = place.worker().await;
    let retry = |id| ChangeRequest::new(Selector::Ids(vec![id]), Change::Retry);
    let first = place.run(worker, unique("a", UniqueUntil::Finished)).await;
    place.backend.settle(&[completion(&first)]).await.unwrap();
    let mut last = unique("a", UniqueUntil::Finished);
    last.max_attempts = 1;
    let holder = place.run(worker, last).await;
    assert_eq!(place.backend.change(&retry(first.key.job)).await.unwrap().count, 0, "held");
    place.backend.deregister(worker).await.unwrap();
    assert_eq!(place.backend.change(&retry(first.key.job)).await.unwrap().count, 1);
    assert_eq!(state(&place, holder.key.job).await, State::Discarded);

    let worker = place.worker().await;
    let first = place.claim(worker).await.unwrap().remove(0);
    place.backend.settle(&[completion(&first)]).await.unwrap();
    let gone = unique("a", UniqueUntil::Finished);
    place.backend.insert(std::slice::from_ref(&gone)).await.unwrap();
    assert_eq!(place.backend.change(&retry(first.key.job)).await.unwrap().count, 0, "held");
    let mut delete = redis::cmd("DEL");
    delete.arg(place.key(":j:", gone.id.as_bytes()));
    let () = delete.query_async(&mut place.conn).await.unwrap();
    assert_eq!(place.backend.change(&retry(first.key.job)).await.unwrap().count, 1);
}

/// A request that is sent again is given only what runs under its own claim id, whatever the worker's list says.
#[tokio::test]
async fn a_repeated_claim_gives_nothing_of_another_claim() {
    let mut place = Place::open().await;
    let worker = place.worker().await;
    let lease = place.run(worker, job()).await;
    let mut again = request(worker);
    again.resend = true;
    let mark = [&1_u32.to_be_bytes()[..], again.claim_id.as_bytes(), b"0"].concat();
    let mut put = redis::cmd("HSET");
    put.arg(place.key(":own:", worker.as_bytes())).arg(lease.key.job.as_bytes()).arg(mark);
    let () = put.query_async(&mut place.conn).await.unwrap();
    assert!(place.backend.claim(&again).await.unwrap().leases.is_empty());
}
