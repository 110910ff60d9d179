//! No script does more than a bounded piece of work, whatever there is to do: a script holds up everybody.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::watch::{Asked, Watch};
use common::{Place, completion, job, request};
use windlass_core::{
    ClaimRequest, Lease, LogLevel, NewJob, Note, Payload, Queue, QueueName, QueueSlots, Record,
    Recorded, Retention, State, Store, WorkerId,
};

/// Places of a job that one reading of a line asks for, at the most.
const AT_ONCE: i64 = 256;
/// Jobs that one claim script looks at, at the most.
const LOOK: usize = 400;

/// The places that readings of lines asked for.
fn readings(heard: &[Asked]) -> Vec<(i64, i64)> {
    let of_lines = heard.iter().filter(|asked| {
        asked.command == "ZRANGE"
            && (asked.args[0].contains(":r:") || asked.args[0].contains(":x:"))
    });
    of_lines.map(|asked| (asked.args[1].parse().unwrap(), asked.args[2].parse().unwrap())).collect()
}

/// How many jobs each script loaded.
fn loads(heard: &[Asked]) -> Vec<usize> {
    let scripts = heard.split(Asked::is_script).skip(1);
    scripts
        .map(|asked| {
            asked
                .iter()
                .filter(|asked| asked.command == "HMGET" && asked.args[0].contains(":j:"))
                .count()
        })
        .collect()
}

fn several(count: usize, queue: &str) -> Vec<NewJob> {
    let name = QueueName::new(queue).unwrap();
    let new = |_| {
        let mut job = job();
        job.queue = name.clone();
        job
    };
    (0..count).map(new).collect()
}

fn slots(worker: WorkerId, queues: &[(&str, u32)]) -> ClaimRequest {
    let slots = queues
        .iter()
        .map(|(name, limit)| QueueSlots { queue: QueueName::new(*name).unwrap(), limit: *limit });
    let mut request = request(worker);
    request.queues = slots.collect();
    request
}

async fn claim(place: &Place, request: &ClaimRequest) -> Vec<Lease> {
    place.backend.claim(request).await.unwrap().leases
}

/// F30: a claim reads about as much of a line as it takes, also of a queue of which it has enough.
#[tokio::test]
async fn f30_a_claim_reads_no_more_of_a_line_than_a_little() {
    let place = Place::open().await;
    let worker = place.worker().await;
    place.backend.insert(&several(600, "a")).await.unwrap();
    place.backend.insert(&several(300, "b")).await.unwrap();
    let mut watch = Watch::of(&place).await;
    // More scripts than one, of which the last want nothing of the first queue any more.
    let leases = claim(&place, &slots(worker, &[("a", 150), ("b", 150)])).await;
    assert_eq!(leases.len(), 300);
    assert!(claim(&place, &slots(worker, &[("a", 0)])).await.is_empty());
    let heard = watch.heard().await;
    assert_eq!(heard.iter().filter(|asked| asked.is_script()).count(), 4);
    let readings = readings(&heard);
    assert!(!readings.is_empty());
    for (from, to) in readings {
        assert!(from >= 0 && to >= from && to - from < AT_ONCE, "read from {from} to {to}");
    }
}

/// Jobs whose args only a newer version of the library can read wait for it. Those behind them are found all the same, in short scripts.
#[tokio::test]
async fn jobs_of_an_unknown_encoding_are_passed_over_in_short_scripts() {
    let mut place = Place::open().await;
    let worker = place.worker().await;
    let newer = several(1_000, "q");
    place.backend.insert(&newer).await.unwrap();
    for job in &newer {
        place.set_encoding(job.id, 250).await;
    }
    let own = several(3, "q");
    place.backend.insert(&own).await.unwrap();
    let mut watch = Watch::of(&place).await;
    let leases = claim(&place, &slots(worker, &[("q", 2)])).await;
    let found: Vec<_> = leases.iter().map(|lease| lease.key.job).collect();
    assert_eq!(found, [own[0].id, own[1].id]);
    let loads = loads(&watch.heard().await);
    assert!(loads.iter().all(|jobs| *jobs <= LOOK + 4), "{loads:?}");
    assert_eq!(loads.len(), 3, "none is looked at twice: {loads:?}");
    // They are still there for who can read them.
    let stats = place.backend.stats(&Default::default()).await.unwrap();
    assert_eq!(stats.in_state(State::Available), 1_001);
}

/// Places in a line that stand for no job any more are taken out, a bounded number in one script.
#[tokio::test]
async fn places_of_jobs_that_are_gone_are_taken_out_in_short_scripts() {
    let mut place = Place::open().await;
    let worker = place.worker().await;
    let gone = several(1_000, "q");
    place.backend.insert(&gone).await.unwrap();
    for job in &gone {
        let key = place.key(":j:", job.id.as_bytes());
        let () = redis::cmd("DEL").arg(key).query_async(&mut place.conn).await.unwrap();
    }
    let own = place.backend.insert(&[job()]).await.unwrap()[0];
    let mut watch = Watch::of(&place).await;
    let leases = claim(&place, &slots(worker, &[("q", 2)])).await;
    assert_eq!(leases.iter().map(|lease| lease.key.job).collect::<Vec<_>>(), [own.id()]);
    let loads = loads(&watch.heard().await);
    assert!(loads.iter().all(|jobs| *jobs <= LOOK + 4), "{loads:?}");
    assert!(claim(&place, &slots(worker, &[("q", 2)])).await.is_empty());
    assert_eq!(readings(&watch.heard().await), [(0, 1)], "the line is empty");
}

/// The settlements and records of one call go in several scripts when they bring much with them.
#[tokio::test]
async fn what_settlements_bring_with_them_is_bounded_too() {
    let place = Place::open().await;
    let worker = place.worker().await;
    place.backend.insert(&several(100, "q")).await.unwrap();
    let leases = claim(&place, &slots(worker, &[("q", 100)])).await;
    let mut watch = Watch::of(&place).await;
    let scripts = async |watch: &mut Watch| {
        watch.heard().await.iter().filter(|asked| asked.is_script()).count()
    };
    let line = || Note::Log { level: LogLevel::Info, message: "line".into() };
    let records: Vec<_> =
        leases.iter().map(|lease| Record::new(lease.key, vec![line(); 9])).collect();
    assert_eq!(place.backend.record(&records).await.unwrap(), vec![Recorded::Applied; 100]);
    assert_eq!(scripts(&mut watch).await, 5, "200 records and lines at once");

    let with = |lease: &Lease, follow_ups: Vec<NewJob>| {
        let mut settlement = completion(lease);
        settlement.follow_ups = follow_ups;
        settlement
    };
    let (many, large) = leases.split_at(50);
    let many: Vec<_> = many.iter().map(|lease| with(lease, several(19, "next"))).collect();
    place.backend.settle(&many).await.unwrap();
    assert_eq!(scripts(&mut watch).await, 5, "200 settlements and jobs at once");
    let large: Vec<_> = large
        .iter()
        .map(|lease| {
            let mut follow = several(1, "next");
            follow[0].args = Payload::json(&"x".repeat(200_000)).unwrap();
            with(lease, follow)
        })
        .collect();
    place.backend.settle(&large).await.unwrap();
    assert_eq!(scripts(&mut watch).await, 3, "4 MiB at once");
    let stats = place.backend.stats(&Default::default()).await.unwrap();
    assert_eq!((stats.in_state(State::Completed), stats.in_state(State::Available)), (100, 1_000));

    // A single one is whole in any case.
    let lease = place.run(worker, job()).await;
    place.backend.settle(&[with(&lease, several(1_000, "next"))]).await.unwrap();
}

/// Nothing at all is a bound too.
#[tokio::test]
async fn pruning_of_nothing_prunes_nothing() {
    let place = Place::open().await;
    place.backend.insert(&[job()]).await.unwrap();
    let mut retention = Retention::default();
    retention.events = Some(Duration::ZERO);
    let done = place.backend.prune(&retention, 0).await.unwrap();
    assert_eq!((done.jobs, done.events, done.more), (0, 0, true));
    assert_eq!(place.backend.prune(&retention, 1).await.unwrap().events, 1);
}
