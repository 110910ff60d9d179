//! No script does more than a bounded piece of work, whatever there is to do: a script holds up everybody.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::watch::{Asked, Watch};
use common::{Place, completion, job, request};
use windlass_core::{
    BlobKey, Change, ChangeRequest, ClaimRequest, Error, EventBody, JobId, Kind, Lease, LogLevel,
    NewJob, Note, Payload, Queue, QueueName, QueueSlots, Record, Recorded, Retention, Selector,
    Settled, State, Store, WorkerId, WorkerInfo,
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

/// How many counts of references to blobs each script read.
fn references(heard: &[Asked]) -> Vec<usize> {
    let counted = |asked: &&Asked| asked.command == "HGET" && asked.args[0].ends_with(":refs");
    let scripts = heard.split(Asked::is_script).skip(1);
    scripts.map(|asked| asked.iter().filter(counted).count()).collect()
}

/// Inserts jobs that refer to blobs of their own and cancels them.
async fn finished(place: &Place, count: usize, blobs: usize) -> Vec<JobId> {
    let mut new = several(count, "q");
    for (n, job) in new.iter_mut().enumerate() {
        let key = |blob| BlobKey::new(format!("blobs/{n}/{blob}")).unwrap();
        job.blobs = (0..blobs).map(key).collect();
    }
    place.backend.insert(&new).await.unwrap();
    let ids: Vec<_> = new.iter().map(|job| job.id).collect();
    let cancelled =
        change_all(place, Selector::Ids(ids.clone()), Change::Cancel { reason: None }).await;
    assert_eq!(cancelled, count as u64);
    ids
}

async fn change_all(place: &Place, target: Selector, change: Change) -> u64 {
    let mut request = ChangeRequest::new(target, change);
    let mut count = 0;
    loop {
        let changed = place.backend.change(&request).await.unwrap();
        count += changed.count;
        request.after = changed.next;
        if request.after.is_none() {
            return count;
        }
    }
}

/// F47: pruning takes 40 jobs at a time, and fewer of those that refer to many blobs.
#[tokio::test]
async fn f47_pruning_takes_few_jobs_and_few_references_at_a_time() {
    let place = Place::open().await;
    let mut retention = Retention::keep_all();
    retention.cancelled = Some(Duration::ZERO);
    for (count, blobs, scripts) in [(200, 0, 5), (80, 100, 20)] {
        finished(&place, count, blobs).await;
        let mut watch = Watch::of(&place).await;
        assert_eq!(place.backend.prune(&retention, 1_000).await.unwrap().jobs, count as u64);
        let heard = watch.heard().await;
        let (loads, references) = (loads(&heard), references(&heard));
        assert!(loads.iter().all(|jobs| *jobs <= 40), "{loads:?}");
        assert!(references.iter().all(|blobs| *blobs <= 400), "{references:?}");
        let pruning = loads.iter().filter(|jobs| **jobs > 0).count();
        assert_eq!(pruning, scripts, "{loads:?}");
    }
}

/// Deletions end a script likewise, by ids and by filter, and miss no job.
#[tokio::test]
async fn deletions_take_few_references_at_a_time() {
    let place = Place::open().await;
    for by_filter in [false, true] {
        let ids = finished(&place, 30, 100).await;
        let mut watch = Watch::of(&place).await;
        let target =
            if by_filter { Selector::Filter(Default::default()) } else { Selector::Ids(ids) };
        assert_eq!(change_all(&place, target, Change::Delete).await, 30);
        let references = references(&watch.heard().await);
        assert!(references.iter().all(|blobs| *blobs <= 400), "{references:?}");
    }
}

/// An insert is one script, and one command: what it brings has a limit of its own besides the number of jobs.
#[tokio::test]
async fn an_insert_brings_a_bounded_number_of_bytes_and_blobs() {
    let mut place = Place::open().await;
    let before = place.everything().await;
    let over = |error: Error, named: &str| {
        let Error::LimitExceeded { what, actual, limit, .. } = &error else { panic!("{error:?}") };
        assert!(what.contains(named) && actual > limit, "{error}");
    };
    let args = Payload::json(&"x".repeat(250_000)).unwrap();
    let mut large = several(300, "q");
    large.iter_mut().for_each(|job| job.args = args.clone());
    over(place.backend.insert(&large).await.unwrap_err(), "bytes");
    let mut many = several(11, "q");
    for job in &mut many {
        job.blobs = (0..1_000).map(|n| BlobKey::new(format!("blobs/{n}")).unwrap()).collect();
    }
    over(place.backend.insert(&many).await.unwrap_err(), "blobs");
    assert_eq!(place.everything().await, before, "nothing is written");
    place.backend.insert(&many[..10]).await.unwrap();

    // A settlement with such follow-up jobs is refused, since it is one script too.
    let worker = place.worker().await;
    place.backend.insert(&several(1, "own")).await.unwrap();
    let lease = claim(&place, &slots(worker, &[("own", 1)])).await.remove(0);
    let mut settlement = completion(&lease);
    settlement.follow_ups = large;
    let settled = place.backend.settle(&[settlement]).await.unwrap();
    let Settled::Refused { reason } = &settled[0] else { panic!("{settled:?}") };
    assert!(reason.contains("bytes"), "{reason}");
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

/// Figures of many lines, and tellings of many workers, are put together from short scripts.
#[tokio::test]
async fn figures_and_workers_are_read_in_short_scripts() {
    let place = Place::open().await;
    let info = |_| WorkerInfo::new("test", Duration::from_secs(3_600), vec![]);
    let workers: Vec<_> = (0..600).map(info).collect();
    for worker in &workers {
        place.backend.register(worker).await.unwrap();
    }
    let of_kind = |n| {
        let mut job = job();
        job.kind = Kind::new(format!("kind-{n}")).unwrap();
        job
    };
    let new: Vec<_> = (0..100).map(of_kind).collect();
    place.backend.insert(&new).await.unwrap();
    let mut watch = Watch::of(&place).await;
    let stats = place.backend.stats(&Default::default()).await.unwrap();
    assert_eq!((stats.in_state(State::Available), stats.ages.len()), (100, 1));
    assert!(stats.ages[0].oldest_available.is_some());
    let most = |heard: &[Asked]| {
        heard.split(Asked::is_script).map(<[Asked]>::len).max().unwrap_or_default()
    };
    // Two lanes of 32 lines, of each the head and whether there is another one.
    let heard = watch.heard().await;
    assert!(most(&heard) <= 32 * 4 + 4, "{}", most(&heard));
    let mut told: Vec<_> =
        place.backend.workers().await.unwrap().into_iter().map(|worker| worker.id).collect();
    let mut wanted: Vec<_> = workers.iter().map(|worker| worker.id).collect();
    told.sort();
    wanted.sort();
    assert_eq!(told, wanted);
    // The server keeps up to 512 in a piece, which comes whole; of more, a script may tell of some more than it was asked for.
    let heard = watch.heard().await;
    assert!(most(&heard) <= 2 * 200 + 4, "{}", most(&heard));
}

/// A page of a history ends early when its notes are large, and the next goes on there: nothing is left out and the order is kept.
#[tokio::test]
async fn a_history_of_large_notes_comes_in_pages() {
    let place = Place::open().await;
    let worker = place.worker().await;
    let lease = place.run(worker, job()).await;
    let line = |n: u32| Note::Log {
        level: LogLevel::Info,
        message: format!("{n} {}", "x".repeat(15_000)),
    };
    for n in 0..6 {
        let notes = (0..100).map(|m| line(n * 100 + m)).collect();
        place.backend.record(&[Record::new(lease.key, notes)]).await.unwrap();
    }
    place.backend.settle(&[completion(&lease)]).await.unwrap();
    let (mut events, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = place.backend.history(lease.key.job, after, 1_000).await.unwrap();
        pages += 1;
        let bytes: usize = page.events.iter().map(|event| format!("{:?}", event.body).len()).sum();
        assert!(bytes < 6 << 20, "{bytes} in one page");
        events.extend(page.events);
        after = page.next;
        if !page.more {
            break;
        }
    }
    assert!(pages > 1, "{pages}");
    assert!(events.is_sorted_by(|a, b| a.position < b.position));
    let numbers: Vec<u32> = events
        .iter()
        .filter_map(|event| match &event.body {
            EventBody::Note(Note::Log { message, .. }) => {
                Some(message.split(' ').next().unwrap().parse().unwrap())
            }
            _ => None,
        })
        .collect();
    assert_eq!(numbers, (0..600).collect::<Vec<_>>());
    assert_eq!(events.len(), 603, "inserted, claimed, completed");
}

/// A request that is sent again finds what it took by the worker's own list, without a look at every job of the worker.
#[tokio::test]
async fn a_repeated_claim_loads_only_what_it_took() {
    let place = Place::open().await;
    let worker = place.worker().await;
    place.backend.insert(&several(300, "q")).await.unwrap();
    assert_eq!(claim(&place, &slots(worker, &[("q", 295)])).await.len(), 295);
    let mut request = slots(worker, &[("q", 5)]);
    let taken = claim(&place, &request).await;
    request.resend = true;
    let mut watch = Watch::of(&place).await;
    assert_eq!(claim(&place, &request).await, taken);
    assert_eq!(loads(&watch.heard().await), [10], "each once to find it and once to answer it");
}
