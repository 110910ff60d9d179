//! Plain jobs are claimed and completed a short way, as long as nothing else happens to them. What it leaves is what the long way leaves.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{Place, completion, job, queue, request, unique};
use windlass_core::{
    AttemptOutcome, Change, ChangeRequest, Event, EventBody, Failure, FailureKind, JobId, Limits,
    LogLevel, NewJob, Note, Queue, QueueSlots, Record, Selector, Settled, Settlement, State, Store,
    UniqueUntil,
};
use windlass_test_servers::RedisServer;

/// Places in what of a job changes.
const CHANGES: u32 = 15;
const NOTES: u32 = 16;

/// Which of the jobs have gone the short way until now.
async fn marks(place: &mut Place, jobs: &[NewJob]) -> Vec<bool> {
    let mut marks = Vec::new();
    for job in jobs {
        marks.push(place.is_marked(job.id).await);
    }
    marks
}

/// A plain job is claimed and completed the short way, one with a key the long way.
#[tokio::test]
async fn both_ways_run_and_complete_alike() {
    let mut place = Place::open().await;
    let worker = place.worker().await;
    let new = [job(), unique("key", UniqueUntil::Finished)];
    let mut ran = Vec::new();
    for mut job in new.clone() {
        job.timeout = Some(Duration::from_secs(60));
        place.backend.insert(&[job]).await.unwrap();
    }
    let leases = place.claim(worker).await.unwrap();
    assert_eq!(leases.len(), 2);
    assert_eq!(place.command("ZCARD", ":late", &[]).await, redis::Value::Int(2));
    assert_eq!(marks(&mut place, &new).await, [true, false]);
    let twice = [completion(&leases[0]), completion(&leases[1]), completion(&leases[0])];
    let (applied, already) = (
        Settled::Applied { state: State::Completed },
        Settled::Already { state: State::Completed },
    );
    let settled = place.backend.settle(&twice).await.unwrap();
    assert_eq!(settled, [applied.clone(), applied, already]);
    assert_eq!(marks(&mut place, &new).await, [true, false]);
    let feed = place.backend.events(&Default::default(), None, 100).await.unwrap().events;
    for job in &new {
        let mut found = place.backend.get(job.id).await.unwrap().unwrap();
        assert!(found.started_at.is_some() && found.finished_at.is_some());
        (found.started_at, found.finished_at, found.unique_key) = (None, None, None);
        (found.id, found.claim_id) = (JobId::derived("any"), None);
        (found.created_at, found.due_at) = Default::default();
        let history = place.backend.history(job.id, None, 10).await.unwrap().events;
        let told: Vec<_> = feed.iter().filter(|event| event.job == job.id).cloned().collect();
        assert_eq!(told, history);
        let bodies: Vec<_> = history.into_iter().map(|event| event.body).collect();
        assert_eq!(bodies.len(), 3);
        ran.push((found, bodies));
    }
    assert_eq!(ran[0], ran[1]);
    for key in [":late", ":run:q", ":r:q/k"] {
        assert_eq!(place.command("EXISTS", key, &[]).await, redis::Value::Int(0), "{key}");
    }
    let own = place.key(":own:", worker.as_bytes());
    let left: bool = redis::cmd("EXISTS").arg(own).query_async(&mut place.conn).await.unwrap();
    assert!(!left);
    assert_eq!(place.command("ZCARD", ":done:5", &[]).await, redis::Value::Int(2));
}

/// Whatever else happens to a job, it goes the long way from then on.
#[tokio::test]
async fn a_note_a_cancel_and_a_retry_end_the_short_way() {
    let mut place = Place::open().await;
    let worker = place.worker().await;
    // Places of nine bytes are as wide the long way: what is stored differs by the mark alone.
    place.command("HSET", "", &["rank", "8589934592"]).await;
    let new = [job(), job(), job(), job()];
    place.backend.insert(&new).await.unwrap();
    let leases = place.claim(worker).await.unwrap();
    let note = Note::Log { level: LogLevel::Info, message: "line".into() };
    place.backend.record(&[Record::new(leases[0].key, vec![note])]).await.unwrap();
    let cancel = Change::Cancel { reason: None };
    let cancel = ChangeRequest::new(Selector::Ids(vec![leases[1].key.job]), cancel);
    place.backend.change(&cancel).await.unwrap();
    let failure = Failure { kind: FailureKind::Error, message: "boom".into() };
    let retry = AttemptOutcome::Retry { delay: Duration::ZERO, failure };
    place.backend.settle(&[Settlement::new(leases[2].key, retry)]).await.unwrap();
    assert_eq!(marks(&mut place, &new).await, [false, false, false, true]);
    place.backend.maintain(10).await.unwrap();
    let again = place.claim(worker).await.unwrap().remove(0);
    let all = [&leases[0], &leases[1], &again, &leases[3]].map(completion);
    let applied = Settled::Applied { state: State::Completed };
    assert_eq!(place.backend.settle(&all).await.unwrap(), vec![applied; 4]);
    assert_eq!(marks(&mut place, &new).await, [false, false, false, true]);
    assert_eq!(place.number(new[0].id, NOTES).await, 1);
}

/// A job's trail is cut at its limit, on the short way as on the long one.
#[tokio::test]
async fn the_shortest_trail_is_kept_short() {
    let mut limits = Limits::default();
    limits.state_events_per_job = 2;
    let place = Place::with(RedisServer::shared().await.unwrap(), limits).await;
    let lease = place.run(place.worker().await, job()).await;
    place.backend.settle(&[completion(&lease)]).await.unwrap();
    let events = place.backend.history(lease.key.job, None, 10).await.unwrap().events;
    let to = |event: &Event| match event.body {
        EventBody::State { to, .. } => Some(to),
        _ => None,
    };
    let states: Vec<_> = events.iter().filter_map(to).collect();
    assert_eq!(states, [State::Available, State::Completed]);
}

/// A key that came to a job past the library is seen.
#[tokio::test]
async fn a_job_with_a_key_goes_the_long_way() {
    let mut place = Place::open().await;
    let worker = place.worker().await;
    let (plain, with_key) = (job(), unique("key", UniqueUntil::Finished));
    place.backend.insert(std::slice::from_ref(&plain)).await.unwrap();
    place.backend.insert(std::slice::from_ref(&with_key)).await.unwrap();
    let mut body = redis::cmd("HGET");
    body.arg(place.key(":j:", with_key.id.as_bytes())).arg("b");
    let body: Vec<u8> = body.query_async(&mut place.conn).await.unwrap();
    place.set_field(plain.id, "b", &body).await;
    assert!(place.is_marked(plain.id).await);
    assert_eq!(place.claim(worker).await.unwrap().len(), 2);
    assert!(!place.is_marked(plain.id).await);
}

/// Jobs that are alike share what is found out about them, but for the numbers of their changes and notes.
#[tokio::test]
async fn the_changes_of_each_job_are_its_own() {
    let mut place = Place::open().await;
    let worker = place.worker().await;
    let new = [job(), job(), job()];
    place.backend.insert(&new).await.unwrap();
    place.patch(new[1].id, |len| len - 4, 7).await;
    let leases = place.claim(worker).await.unwrap();
    assert_eq!(marks(&mut place, &new).await, [true, false, true]);
    assert_eq!(place.number(new[1].id, CHANGES).await, 8);
    place.patch(new[2].id, |len| len - 11, 5).await;
    let all: Vec<_> = leases.iter().map(completion).collect();
    let applied = Settled::Applied { state: State::Completed };
    assert_eq!(place.backend.settle(&all).await.unwrap(), vec![applied; 3]);
    assert_eq!(marks(&mut place, &new).await, [true, false, false]);
    assert_eq!(place.number(new[2].id, NOTES).await, 5);
}

/// A job that stands in a line at another place than it tells of leaves the place that it tells of.
#[tokio::test]
async fn a_wrong_place_in_the_line_hides_no_right_one() {
    let mut place = Place::open().await;
    let worker = place.worker().await;
    let new = job();
    place.backend.insert(std::slice::from_ref(&new)).await.unwrap();
    let line = place.key(":r:q/k", b"");
    let members = |line: &[u8]| redis::cmd("ZRANGE").arg(line).arg(0).arg(-1).clone();
    let right: Vec<Vec<u8>> = members(&line).query_async(&mut place.conn).await.unwrap();
    let wrong = [&[0; 8][..], new.id.as_bytes()].concat();
    let mut add = redis::cmd("ZADD");
    let () = add.arg(&line).arg(0).arg(&wrong).query_async(&mut place.conn).await.unwrap();
    let mut first = request(worker);
    first.queues[0].limit = 1;
    assert_eq!(place.backend.claim(&first).await.unwrap().leases.len(), 1);
    let left: Vec<Vec<u8>> = members(&line).query_async(&mut place.conn).await.unwrap();
    assert!(!left.contains(&right[0]), "it runs, and waits no longer");
    assert!(place.claim(worker).await.unwrap().is_empty());
    let left: Vec<Vec<u8>> = members(&line).query_async(&mut place.conn).await.unwrap();
    assert!(left.is_empty());
}

/// The slots of a queue that is named twice add up.
#[tokio::test]
async fn a_queue_may_be_named_twice() {
    let place = Place::open().await;
    let worker = place.worker().await;
    let new: Vec<_> = (0..8).map(|_| job()).collect();
    place.backend.insert(&new).await.unwrap();
    let mut twice = request(worker);
    twice.queues[0].limit = 2;
    twice.queues.push(QueueSlots { queue: queue(), limit: 3 });
    let leases = place.backend.claim(&twice).await.unwrap().leases;
    let claimed: Vec<_> = leases.iter().map(|lease| lease.key.job).collect();
    assert_eq!(claimed, new[..5].iter().map(|job| job.id).collect::<Vec<_>>());
}
