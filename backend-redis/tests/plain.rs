//! Jobs about which nothing is to be decided have a script of their own. What it leaves is what the other one leaves, and where something is to be decided
//! after all it writes nothing.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::watch::{Asked, Watch};
use common::{Place, completion, job, queue, request, unique};
use windlass_core::{
    Error, Inserted, JobId, JobRecord, Kind, NewJob, Payload, Priority, Queue, QueueChange,
    QueueName, Result, Settled, Start, State, Store, Tag, UniqueUntil,
};

fn later() -> NewJob {
    let mut job = job();
    job.start = Start::In(Duration::from_secs(3_600));
    job
}

/// Jobs that differ in all that they may differ in, in runs of several.
fn mixed() -> Vec<NewJob> {
    let mut all = Vec::new();
    for n in 0..12_i16 {
        let mut one = if n % 3 == 2 { later() } else { job() };
        one.priority = Priority(n % 2);
        one.max_attempts = if n < 4 { 300 } else { 3 };
        one.timeout = (n > 8).then_some(Duration::from_secs(60));
        if n > 5 {
            one.tags = vec![Tag::new("tag").unwrap()];
            one.meta.insert("key".into(), "a \"value\"".into());
        }
        if n == 7 {
            one.queue = QueueName::new("other").unwrap();
        }
        all.push(one);
    }
    all
}

/// What is stored of a job, but for its id and times.
async fn stored(place: &Place, id: JobId) -> JobRecord {
    let mut found = place.backend.get(id).await.unwrap().unwrap();
    let history = place.backend.history(id, None, 10).await.unwrap();
    assert_eq!(history.events.len(), 1);
    assert_eq!(history.events[0].at, found.created_at);
    let wait = found.due_at.duration_since(found.created_at);
    assert_eq!(wait.is_zero(), found.state == State::Available);
    found.id = JobId::derived("any");
    found.created_at = Default::default();
    found.due_at = Default::default();
    found
}

#[tokio::test]
async fn both_ways_leave_the_same() {
    let (plain, decided) = (Place::open().await, Place::open().await);
    let (short, long) = (mixed(), mixed());
    plain.backend.insert(&short).await.unwrap();
    // A job with a key takes the whole call the long way.
    let mut with_key = long.clone();
    with_key.push(unique("key", UniqueUntil::Finished));
    decided.backend.insert(&with_key).await.unwrap();
    let others = [with_key[12].id];
    let delete = windlass_core::Change::Delete;
    let selector = windlass_core::Selector::Ids(others.to_vec());
    let request_of = windlass_core::ChangeRequest::new(selector, delete);
    decided.backend.change(&request_of).await.unwrap();
    for (short, long) in short.iter().zip(&long) {
        assert_eq!(stored(&plain, short.id).await, stored(&decided, long.id).await);
    }
    let stats = async |place: &Place| place.backend.stats(&Default::default()).await.unwrap();
    assert_eq!(stats(&plain).await.counts, stats(&decided).await.counts);
    let turns = async |place: &Place, new: &[NewJob]| {
        let worker = place.worker().await;
        let mut wanted = request(worker);
        wanted.queues[0].limit = 100;
        let leases = place.backend.claim(&wanted).await.unwrap().leases;
        let place = |id| new.iter().position(|job| job.id == id).unwrap();
        leases.iter().map(|lease| place(lease.key.job)).collect::<Vec<_>>()
    };
    let order = turns(&plain, &short).await;
    assert_eq!(order, [0, 4, 6, 10, 1, 3, 9]);
    assert_eq!(turns(&decided, &long).await, order);
}

#[tokio::test]
async fn many_make_entries_of_five_hundred() {
    let place = Place::open().await;
    let new: Vec<_> = (0..1_203).map(|n| if n % 7 == 0 { later() } else { job() }).collect();
    place.backend.insert(&new).await.unwrap();
    let (mut after, mut seen, mut entries) = (None, Vec::new(), Vec::new());
    loop {
        let page = place.backend.events(&Default::default(), after, 1_000).await.unwrap();
        seen.extend(page.events.iter().map(|event| (event.job, event.position)));
        after = page.next;
        if !page.more {
            break;
        }
    }
    entries.extend(seen.iter().map(|(_, position)| position.seq));
    entries.dedup();
    assert_eq!((seen.len(), entries.len()), (1_203, 3));
    for job in [&new[0], &new[499], &new[500], &new[1_202]] {
        let history = place.backend.history(job.id, None, 10).await.unwrap().events;
        let in_feed = seen.iter().find(|(id, _)| *id == job.id).unwrap();
        assert_eq!(history[0].position, in_feed.1);
    }
}

#[tokio::test]
async fn an_id_that_is_known_is_a_duplicate() {
    let place = Place::open().await;
    let known = job();
    for answer in [Inserted::New(known.id), Inserted::Duplicate { existing: known.id }] {
        assert_eq!(place.backend.insert(std::slice::from_ref(&known)).await.unwrap(), [answer]);
    }
    let (new, twice) = (job(), job());
    let all = [new.clone(), known.clone(), twice.clone(), twice.clone()];
    let answers = place.backend.insert(&all).await.unwrap();
    let duplicate = |job: &NewJob| Inserted::Duplicate { existing: job.id };
    let new_ones = [Inserted::New(new.id), duplicate(&known)];
    assert_eq!(answers[..2], new_ones);
    assert_eq!(answers[2..], [Inserted::New(twice.id), duplicate(&twice)]);
    let twice = job();
    let answers = place.backend.insert(&[twice.clone(), twice.clone()]).await.unwrap();
    assert_eq!(answers, [Inserted::New(twice.id), duplicate(&twice)]);
    let stats = place.backend.stats(&Default::default()).await.unwrap();
    assert_eq!(stats.in_state(State::Available), 4);
}

#[tokio::test]
async fn a_full_queue_takes_nothing() {
    let mut place = Place::open().await;
    let deep = QueueChange::default().max_depth(Some(3));
    place.backend.configure_queue(&queue(), &deep).await.unwrap();
    place.backend.insert(&[job(), later()]).await.unwrap();
    let before = place.everything().await;
    let error = place.backend.insert(&[job(), job()]).await.unwrap_err();
    assert!(matches!(error, Error::QueueFull { depth: 3, .. }), "{error:?}");
    assert_eq!(place.everything().await, before);
    place.backend.insert(&[job()]).await.unwrap();
    assert!(matches!(place.backend.insert(&[job()]).await, Err(Error::QueueFull { .. })));
}

/// Each key that it writes, spoiled in turn.
#[tokio::test]
async fn all_keys_are_looked_at_before_anything_is_written() {
    for (key, role) in [
        (":ids", "ids"),
        (":r:q/k", "ready"),
        (":due", "due"),
        (":counts", "counts"),
        (":depth", "depths"),
        (":feed", "feed"),
        (":queues", "queues"),
    ] {
        let mut place = Place::open().await;
        place.command("SET", key, &["something else"]).await;
        let before = place.everything().await;
        let error = place.backend.insert(&[job(), later()]).await.unwrap_err();
        let Error::Backend { source, .. } = &error else { panic!("{error:?}") };
        let told = source.to_string();
        assert!(told.contains(&format!("holds the {role} holds something else")), "{told}");
        assert_eq!(place.everything().await, before, "{key}: nothing is written");
    }
}

/// Single inserts that come together have each an answer of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn single_inserts_at_once_are_answered_each() {
    let place = Place::open().await;
    let full = QueueName::new("full").unwrap();
    let none = QueueChange::default().max_depth(Some(1));
    place.backend.configure_queue(&full, &none).await.unwrap();
    let known = job();
    place.backend.insert(std::slice::from_ref(&known)).await.unwrap();
    let mut to_full = job();
    to_full.queue = full.clone();
    place.backend.insert(&[to_full]).await.unwrap();
    let calls: Vec<_> = (0..300)
        .map(|n| {
            let mut new = if n % 50 == 7 { known.clone() } else { job() };
            if n % 50 == 9 {
                new.queue = full.clone();
            }
            let backend = place.backend.clone();
            tokio::spawn(async move { (n, new.id, backend.insert(&[new]).await) })
        })
        .collect();
    for call in calls {
        let (n, id, answer) = call.await.unwrap();
        match n % 50 {
            7 => assert_eq!(answer.unwrap(), [Inserted::Duplicate { existing: id }]),
            9 => assert!(matches!(answer, Err(Error::QueueFull { .. })), "{answer:?}"),
            _ => assert_eq!(answer.unwrap(), [Inserted::New(id)]),
        }
    }
    let stats = place.backend.stats(&Default::default()).await.unwrap();
    assert_eq!(stats.in_state(State::Available), 300 - 12 + 2);
}

/// Inserts each job by a call of its own, all at once: the first goes by itself, and those behind it share what they can. Tells how many scripts that took.
async fn at_once(place: &Place, jobs: &[NewJob]) -> (Vec<Result<Vec<Inserted>>>, usize) {
    let mut watch = Watch::of(place).await;
    let calls = jobs.iter().map(|job| place.backend.insert(std::slice::from_ref(job)));
    let answers = futures_util::future::join_all(calls).await;
    let heard = watch.heard().await;
    (answers, heard.iter().filter(|asked| Asked::is_script(asked)).count())
}

#[tokio::test]
async fn a_single_job_that_is_known_takes_two_scripts() {
    let place = Place::open().await;
    let known = job();
    place.backend.insert(std::slice::from_ref(&known)).await.unwrap();
    let (answers, scripts) = at_once(&place, std::slice::from_ref(&known)).await;
    assert_eq!(*answers[0].as_ref().unwrap(), [Inserted::Duplicate { existing: known.id }]);
    assert_eq!(scripts, 2);
}

/// Only those that something stands in the way of go the long way.
#[tokio::test]
async fn those_in_the_way_hold_up_no_others() {
    let place = Place::open().await;
    let full = QueueName::new("full").unwrap();
    let none = QueueChange::default().max_depth(Some(1));
    place.backend.configure_queue(&full, &none).await.unwrap();
    let (mut to_full, known) = (job(), job());
    to_full.queue = full;
    place.backend.insert(&[to_full.clone(), known.clone()]).await.unwrap();
    to_full.id = JobId::new();
    let mut singles: Vec<_> = (0..25).map(|_| job()).collect();
    (singles[5], singles[10], singles[16]) = (known, to_full, singles[15].clone());
    let (answers, scripts) = at_once(&place, &singles).await;
    for (n, (job, answer)) in singles.iter().zip(answers).enumerate() {
        match n {
            5 | 16 => assert_eq!(answer.unwrap(), [Inserted::Duplicate { existing: job.id }]),
            10 => assert!(matches!(answer, Err(Error::QueueFull { depth: 1, .. })), "{answer:?}"),
            _ => assert_eq!(answer.unwrap(), [Inserted::New(job.id)]),
        }
    }
    assert_eq!(scripts, 1 + 2 + 3, "the first, two for the others, one for each in the way");
}

/// What is wrong with one of those that share a script is told to it alone.
#[tokio::test]
async fn a_line_that_is_spoiled_fails_only_its_own_jobs() {
    let mut place = Place::open().await;
    place.command("SET", ":r:q/odd", &["something else"]).await;
    let mut singles: Vec<_> = (0..25).map(|_| job()).collect();
    for n in [7, 20] {
        singles[n].kind = Kind::new("odd").unwrap();
    }
    let (answers, _) = at_once(&place, &singles).await;
    for (job, answer) in singles.iter().zip(answers) {
        match job.kind.as_str() {
            "odd" => assert!(matches!(answer, Err(Error::Backend { .. })), "{answer:?}"),
            _ => assert_eq!(answer.unwrap(), [Inserted::New(job.id)]),
        }
    }
    let stats = place.backend.stats(&Default::default()).await.unwrap();
    assert_eq!(stats.in_state(State::Available), 23);
}

/// Jobs that bring much share no script, so that none is long.
#[tokio::test]
async fn large_jobs_go_by_themselves() {
    let place = Place::open().await;
    let large = "x".repeat(17 << 10);
    let mut singles: Vec<_> = (0..25).map(|_| job()).collect();
    for n in [5, 6] {
        singles[n].args = Payload::json(&large).unwrap();
    }
    // Metadata counts as args do.
    singles[7].args = Payload::json(&large[..14 << 10]).unwrap();
    singles[7].meta.insert("key".into(), large[..3 << 10].to_owned());
    let (answers, scripts) = at_once(&place, &singles).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(scripts, 1 + 1 + 3, "the first, one for the small ones, one for each large one");
}

/// A settlement of one call that brings nothing, among those that bring something.
#[tokio::test]
async fn completions_that_bring_nothing_keep_their_places() {
    let place = Place::open().await;
    let worker = place.worker().await;
    place.backend.insert(&[job(), job(), job(), job()]).await.unwrap();
    let leases = place.claim(worker).await.unwrap();
    let mut all: Vec<_> = leases.iter().map(completion).collect();
    all[1].follow_ups = vec![job()];
    all[2].key.epoch.0 += 1;
    let applied = Settled::Applied { state: State::Completed };
    let answers = place.backend.settle(&all).await.unwrap();
    assert_eq!(answers, [applied.clone(), applied.clone(), Settled::Lost, applied.clone()]);
    let again = place.backend.settle(&all[3..]).await.unwrap();
    assert_eq!(again, [Settled::Already { state: State::Completed }]);
}
