//! What workers cost that have nothing to do, and what the workers of one client do for each other. Paused time throughout.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests, too

mod worker_support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use windlass_core::*;
use worker_support::double::*;
use worker_support::*;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

fn alpha(client: &Client<Double>) -> Worker {
    simulated(client).register(|job: Alpha, _| async move { Ok(job.0) }).queue("main", 4)
}

/// Clients as processes have them, each with so many workers.
fn idle(
    memory: &MemoryBackend,
    clients: usize,
    workers: usize,
) -> (Vec<Client<Double>>, Vec<RunningWorker>) {
    let clients: Vec<_> = (0..clients).map(|_| hearing().over(memory)).collect();
    let running = clients.iter().flat_map(|client| (0..workers).map(|_| alpha(client)));
    let running = running.map(|worker| worker.start().unwrap()).collect();
    (clients, running)
}

fn sum(clients: &[Client<Double>], call: &'static str) -> u64 {
    clients.iter().map(|client| client.backend().asked(call)).sum()
}

/// F34: ten workers of a process ask what one asks, but for their registrations.
#[tokio::test(start_paused = true)]
async fn f34_the_workers_of_a_client_ask_no_more_than_one() {
    for workers in [1, 10] {
        let memory = MemoryBackend::with_tokio_clock();
        let (clients, _running) = idle(&memory, 1, workers);
        sleep(HOUR).await;
        let asked = |call| sum(&clients, call);
        // Every 24 to 30 s a poll and a look into quarantine with another claim behind it, and the looks at the start.
        assert!((120..=800).contains(&asked("claim")), "{} claims", asked("claim"));
        assert!((3_500..=4_700).contains(&asked("maintain")), "{} rounds", asked("maintain"));
        assert!((115..=160).contains(&asked("queue_settings")), "{}", asked("queue_settings"));
        assert!((55..=80).contains(&asked("prune")), "{}", asked("prune"));
        assert!((55..=80).contains(&asked("stats")), "{}", asked("stats"));
    }
}

/// F34: a hundred workers of ten processes ask a few times a second, all together.
#[tokio::test(start_paused = true)]
async fn f34_a_hundred_idle_workers_ask_a_few_times_a_second() {
    let memory = MemoryBackend::with_tokio_clock();
    let (clients, _running) = idle(&memory, 10, 10);
    sleep(60 * SECOND).await;
    let first = sum(&clients, "prune");
    assert!(first <= 5, "{first} rounds of pruning at the start");
    sleep(59 * 60 * SECOND).await;
    let rounds = sum(&clients, "maintain");
    assert!((3_500..=4_800).contains(&rounds), "{rounds} rounds");
    let beats = sum(&clients, "heartbeats");
    assert!((3_500..=3_650).contains(&beats), "{beats} calls for heartbeats");
    // One in a minute, from the start.
    let prunes = sum(&clients, "prune");
    assert!((50..=80).contains(&prunes), "{prunes} rounds of pruning");
    let asked: u64 = clients.iter().map(|client| client.backend().asked_in_all()).sum();
    assert!(asked <= 4 * 3_600, "{asked} calls");
}

/// The clients of a store share the rounds, however many there are; each of them still makes some.
#[tokio::test(start_paused = true)]
async fn f34_three_clients_do_the_maintenance_of_one() {
    let memory = MemoryBackend::with_tokio_clock();
    let (clients, _running) = idle(&memory, 3, 1);
    sleep(HOUR).await;
    let rounds = sum(&clients, "maintain");
    assert!((3_500..=4_800).contains(&rounds), "{rounds} rounds");
    assert!(clients.iter().all(|client| client.backend().asked("maintain") > 1_000));
}

/// Workers of other processes, which do nothing.
async fn others(memory: &MemoryBackend, n: usize) {
    for _ in 0..n {
        memory
            .register(&WorkerInfo::new("other", 1_000 * HOUR, vec![queue("main")]))
            .await
            .unwrap();
    }
}

/// A job that is known to be due is promoted at its time, though the rounds are far apart.
#[tokio::test(start_paused = true)]
async fn a_job_that_is_known_to_be_due_is_promoted_at_its_time() {
    let memory = MemoryBackend::with_tokio_clock();
    others(&memory, 100).await;
    let (clients, _running) = idle(&memory, 1, 2);
    sleep(60 * SECOND).await;
    let begin = Instant::now();
    let id = insert_with(&memory, Alpha(1), |job| job.start = Start::In(25 * SECOND)).await;
    reaches(&memory, id, State::Completed).await;
    assert!(begin.elapsed() < 26 * SECOND, "{:?}", begin.elapsed());
    let rounds = sum(&clients, "maintain");
    assert!((5..=30).contains(&rounds), "{rounds} rounds");
}

/// The bound of a rescue: the lease, and the longest rest between two rounds.
#[tokio::test(start_paused = true)]
async fn a_rescue_is_late_by_no_more_than_the_longest_rest() {
    let memory = MemoryBackend::with_tokio_clock();
    others(&memory, 100).await;
    let (_clients, _running) = idle(&memory, 1, 1);
    sleep(60 * SECOND).await;
    let dead = WorkerInfo::new("dead", 30 * SECOND, vec![queue("lost")]);
    memory.register(&dead).await.unwrap();
    let id = insert_with(&memory, Alpha(1), |job| job.queue = queue("lost")).await;
    let slots = vec![QueueSlots { queue: queue("lost"), limit: 1 }];
    let kinds = vec![KindSlots { kind: Kind::new("alpha").unwrap(), limit: None }];
    memory.claim(&ClaimRequest::new(dead.id, slots, kinds)).await.unwrap();
    let begin = Instant::now();
    reaches(&memory, id, State::Available).await;
    let took = begin.elapsed();
    assert!(took >= 30 * SECOND && took < 30 * SECOND + MAINTENANCE_MAX + SECOND, "{took:?}");
}

/// The first call of `maintain` does not return, or worse; those after it do. Counts them.
fn first_round(
    memory: &MemoryBackend,
    answer: fn() -> Result<Maintained>,
) -> (MockCalls, Arc<AtomicU64>) {
    let mut calls = hearing();
    let (m, rounds) = (memory.clone(), Arc::new(AtomicU64::new(0)));
    let count = rounds.clone();
    calls.expect_maintain().returning(move |limit| match count.fetch_add(1, Ordering::SeqCst) {
        0 => answer(),
        _ => now(m.maintain(limit)),
    });
    (calls, rounds)
}

/// The turn of a worker that ends is another's at once.
#[tokio::test(start_paused = true)]
async fn a_sibling_takes_over_from_a_worker_that_ends() {
    let memory = MemoryBackend::with_tokio_clock();
    let (calls, rounds) = first_round(&memory, || Err(hangs()));
    let client = calls.over(&memory);
    let holder = alpha(&client).start().unwrap();
    until("it maintains", || async { rounds.load(Ordering::SeqCst) == 1 }).await;
    let _sibling = alpha(&client).start().unwrap();
    sleep(SECOND).await;
    assert_eq!(rounds.load(Ordering::SeqCst), 1, "one is at it");
    let begin = Instant::now();
    holder.stop().await.unwrap();
    until("the other maintains", || async { rounds.load(Ordering::SeqCst) == 2 }).await;
    assert!(begin.elapsed() < SECOND, "{:?}", begin.elapsed());
}

/// The same when the part that had it panics, which ends its worker.
#[tokio::test(start_paused = true)]
async fn a_sibling_takes_over_from_a_worker_that_panics() {
    let memory = MemoryBackend::with_tokio_clock();
    let (calls, rounds) = first_round(&memory, || Err(panics()));
    let client = calls.over(&memory);
    let workers = [alpha(&client).start().unwrap(), alpha(&client).start().unwrap()];
    let begin = Instant::now();
    until("the other maintains", || async { rounds.load(Ordering::SeqCst) >= 2 }).await;
    assert!(begin.elapsed() < SECOND, "{:?}", begin.elapsed());
    let id = insert_with(&memory, Alpha(1), |job| job.start = Start::In(5 * SECOND)).await;
    reaches(&memory, id, State::Completed).await;
    sleep(60 * SECOND).await;
    assert_eq!(workers.iter().filter(|worker| worker.ready()).count(), 1);
}

/// The shortest time that one of the workers of a client asks for counts, as long as that worker lives.
#[tokio::test(start_paused = true)]
async fn the_shortest_maintenance_of_the_siblings_counts() {
    let memory = MemoryBackend::with_tokio_clock();
    let client = hearing().over(&memory);
    let _patient = alpha(&client).start().unwrap();
    let hasty = alpha(&client).options(|o| o.maintenance = SECOND / 10).start().unwrap();
    let rounds = || client.backend().asked("maintain");
    sleep(60 * SECOND).await;
    assert!((590..=1_250).contains(&rounds()), "{} rounds", rounds());
    // Its handle outlives it.
    hasty.shutdown();
    sleep(SECOND).await;
    let before = rounds();
    sleep(60 * SECOND).await;
    assert!((55..=125).contains(&(rounds() - before)), "{} rounds", rounds() - before);
    hasty.join().await.unwrap();
}

/// A client's share is that of its workers that have a lease, as only these are counted.
#[tokio::test(start_paused = true)]
async fn workers_without_a_lease_do_no_share_of_the_maintenance() {
    let memory = MemoryBackend::with_tokio_clock();
    others(&memory, 30).await;
    let mut calls = hearing();
    let (m, one) = (memory.clone(), AtomicBool::new(false));
    calls.expect_register().returning(move |info| {
        if one.swap(true, Ordering::SeqCst) { Err(lost_reply()) } else { now(m.register(info)) }
    });
    let client = calls.over(&memory);
    let _workers: Vec<_> = (0..10).map(|_| alpha(&client).start().unwrap()).collect();
    sleep(HOUR).await;
    let rounds = client.backend().asked("maintain");
    assert!((355..=800).contains(&rounds), "{rounds} rounds");
}

/// A failure after a round that went well is repeated as soon as the first one was.
#[tokio::test(start_paused = true)]
async fn maintenance_that_fails_again_is_repeated_soon() {
    let memory = MemoryBackend::with_tokio_clock();
    let mut calls = hearing();
    let (m, rounds) = (memory.clone(), Arc::new(Mutex::new(Vec::new())));
    let times = rounds.clone();
    calls.expect_maintain().returning(move |limit| {
        let mut times = times.lock().unwrap();
        times.push(Instant::now());
        if times.len() == 11 { now(m.maintain(limit)) } else { Err(lost_reply()) }
    });
    let client = calls.over(&memory);
    let _worker = alpha(&client).start().unwrap();
    until("it fails again", || async { rounds.lock().unwrap().len() > 12 }).await;
    let times = rounds.lock().unwrap();
    let rest = |n: usize| times[n] - times[n - 1];
    assert!(rest(10) > SECOND, "the failures before are far apart: {:?}", rest(10));
    assert!(rest(12) < SECOND / 5, "{:?}", rest(12));
}

/// Each retention is kept, and workers that have the same prune by turns.
#[tokio::test(start_paused = true)]
async fn each_retention_is_kept() {
    let memory = MemoryBackend::with_tokio_clock();
    let client = hearing().over(&memory);
    let workers: Vec<_> = (0..5).map(|_| alpha(&client).start().unwrap()).collect();
    let id = insert(&memory, Alpha(1)).await;
    reaches(&memory, id, State::Completed).await;
    sleep(HOUR).await;
    let first = client.backend().asked("prune");
    assert!((55..=130).contains(&first), "{first}");
    assert!(memory.get(id).await.unwrap().is_some());
    let mut brief = Retention::default();
    brief.completed = Some(60 * SECOND);
    let _brief = alpha(&client).options(|o| o.retention = Some(brief)).start().unwrap();
    sleep(65 * SECOND).await;
    assert!(memory.get(id).await.unwrap().is_none());
    sleep(HOUR).await;
    let second = client.backend().asked("prune") - first;
    assert!((110..=260).contains(&second), "{second}");
    drop(workers);
}

/// One reads the settings, for the queues of all.
#[tokio::test(start_paused = true)]
async fn settings_reach_the_siblings_that_serve_the_queue() {
    let memory = MemoryBackend::with_tokio_clock();
    let client = hearing().over(&memory);
    let endless = |_: Gamma, _: Context| std::future::pending::<Outcome<u64>>();
    let _others: Vec<_> = (0..3).map(|_| alpha(&client).start().unwrap()).collect();
    let side = simulated(&client).register(endless).queue("side", 1).start().unwrap();
    for n in 0..5 {
        insert(&memory, Gamma(n)).await;
    }
    until("one runs", || async { side.stats().running == 1 }).await;
    sleep(100 * SECOND).await;
    assert_eq!(side.stats().running, 1);
    let begin = Instant::now();
    let change = QueueChange::default().concurrency(Some(3));
    memory.configure_queue(&queue("side"), &change).await.unwrap();
    until("three run", || async { side.stats().running == 3 }).await;
    assert!(begin.elapsed() < 3 * SECOND, "{:?}", begin.elapsed());
}

/// Where no hint tells of a change, the settings are read every few seconds.
#[tokio::test(start_paused = true)]
async fn settings_are_read_often_while_nothing_is_heard() {
    let memory = MemoryBackend::with_tokio_clock();
    let client = MockCalls::new().over(&memory);
    let endless = |_: Alpha, _: Context| std::future::pending::<Outcome<u64>>();
    let worker = simulated(&client).register(endless).queue("main", 1).start().unwrap();
    for n in 0..5 {
        insert(&memory, Alpha(n)).await;
    }
    until("one runs", || async { worker.stats().running == 1 }).await;
    for more in 2..5 {
        sleep(100 * SECOND).await;
        let begin = Instant::now();
        let change = QueueChange::default().concurrency(Some(more));
        memory.configure_queue(&queue("main"), &change).await.unwrap();
        until("more run", || async { worker.stats().running == more as usize }).await;
        assert!(begin.elapsed() < 6 * SECOND, "{:?}", begin.elapsed());
    }
}

/// The settings of a worker that begins later are read at once.
#[tokio::test(start_paused = true)]
async fn a_worker_that_joins_gets_its_settings() {
    let memory = MemoryBackend::with_tokio_clock();
    let client = hearing().over(&memory);
    let _first = alpha(&client).start().unwrap();
    let change = QueueChange::default().concurrency(Some(3));
    memory.configure_queue(&queue("side"), &change).await.unwrap();
    sleep(100 * SECOND).await;
    for n in 0..5 {
        insert(&memory, Gamma(n)).await;
    }
    let endless = |_: Gamma, _: Context| std::future::pending::<Outcome<u64>>();
    let begin = Instant::now();
    let side = simulated(&client).register(endless).queue("side", 1).start().unwrap();
    until("three run", || async { side.stats().running == 3 }).await;
    assert!(begin.elapsed() < 2 * SECOND, "{:?}", begin.elapsed());
}

/// A hint that is lost costs half a minute at most, where hints can be relied on.
#[tokio::test(start_paused = true)]
async fn a_job_whose_hint_is_lost_is_found_by_the_idle_poll() {
    let memory = MemoryBackend::with_tokio_clock();
    let mut calls = MockCalls::new();
    calls.expect_hears().returning(|| true);
    calls.expect_wait().returning(|_, _| Err(quiet()));
    let client = calls.over(&memory);
    let _workers: Vec<_> = (0..3).map(|_| alpha(&client).start().unwrap()).collect();
    sleep(HOUR).await;
    let claims = client.backend().asked("claim");
    assert!(claims <= 800, "{claims} claims");
    for n in 0..20 {
        let begin = Instant::now();
        let id = insert(&memory, Alpha(n)).await;
        reaches(&memory, id, State::Completed).await;
        assert!(begin.elapsed() <= 31 * SECOND, "{:?}", begin.elapsed());
        sleep(200 * SECOND).await;
    }
}

/// Hints that can or can't be relied on, and the connection by which they come.
#[derive(Clone, Default)]
struct Hearing {
    down: Arc<AtomicBool>,
    fails: Arc<AtomicBool>,
}

impl Hearing {
    fn calls(&self) -> MockCalls {
        let mut calls = MockCalls::new();
        let (wait, hears) = (self.clone(), self.clone());
        calls.expect_hears().returning(move || !hears.down.load(Ordering::SeqCst));
        calls.expect_wait().returning(move |_, _| {
            Err(if wait.fails.load(Ordering::SeqCst) {
                lost_reply()
            } else if wait.down.load(Ordering::SeqCst) {
                quiet()
            } else {
                hints()
            })
        });
        calls
    }

    /// What a backend does when its answer changes: all waits end.
    async fn set(&self, memory: &MemoryBackend, down: bool) {
        self.down.store(down, Ordering::SeqCst);
        let paused = QueueChange::default().concurrency(Some(if down { 5 } else { 4 }));
        memory.configure_queue(&queue("main"), &paused).await.unwrap();
        sleep(SECOND / 2).await;
    }
}

async fn is_found_within(memory: &MemoryBackend, bound: Duration) {
    let begin = Instant::now();
    let id = insert(memory, Alpha(1)).await;
    reaches(memory, id, State::Completed).await;
    assert!(begin.elapsed() <= bound, "{:?}", begin.elapsed());
}

async fn found_within(memory: &MemoryBackend, times: u64, bound: Duration) {
    for _ in 0..times {
        sleep(100 * SECOND).await;
        is_found_within(memory, bound).await;
    }
}

/// While hints can't be relied on, polls come as often as without them; once they can again, everything is looked at.
#[tokio::test(start_paused = true)]
async fn polls_come_often_while_nothing_is_heard() {
    let memory = MemoryBackend::with_tokio_clock();
    let hearing = Hearing::default();
    let client = hearing.calls().over(&memory);
    let _workers: Vec<_> = (0..3).map(|_| alpha(&client).start().unwrap()).collect();
    sleep(600 * SECOND).await;
    hearing.set(&memory, true).await;
    // At once, though the last poll has put the next one far off.
    is_found_within(&memory, 3 * SECOND).await;
    found_within(&memory, 10, 3 * SECOND).await;
}

/// The same when waiting itself fails; and all is looked at when it succeeds again, whatever was heard meanwhile.
#[tokio::test(start_paused = true)]
async fn polls_come_often_while_waiting_fails() {
    let memory = MemoryBackend::with_tokio_clock();
    let hearing = Hearing::default();
    let client = hearing.calls().over(&memory);
    let _workers: Vec<_> = (0..3).map(|_| alpha(&client).start().unwrap()).collect();
    sleep(600 * SECOND).await;
    hearing.fails.store(true, Ordering::SeqCst);
    // The waits that go on end, and the next ones fail.
    hearing.set(&memory, false).await;
    is_found_within(&memory, 3 * SECOND).await;
    found_within(&memory, 10, 3 * SECOND).await;
    let before = client.backend().asked("claim");
    hearing.fails.store(false, Ordering::SeqCst);
    sleep(40 * SECOND).await;
    assert!(client.backend().asked("claim") > before);
    sleep(HOUR).await;
    let rate = client.backend().asked("claim") - before;
    assert!(rate <= 900, "{rate} claims");
}

/// What a poll has found is often followed by more.
#[tokio::test(start_paused = true)]
async fn polls_are_close_together_after_one_that_found_something() {
    let memory = MemoryBackend::with_tokio_clock();
    let client = MockCalls::new().over(&memory);
    let _workers: Vec<_> = (0..3).map(|_| alpha(&client).start().unwrap()).collect();
    for n in 0..20 {
        sleep(100 * SECOND).await;
        let id = insert(&memory, Alpha(n)).await;
        reaches(&memory, id, State::Completed).await;
        sleep(SECOND / 4).await;
        let begin = Instant::now();
        let id = insert(&memory, Alpha(n)).await;
        reaches(&memory, id, State::Completed).await;
        assert!(begin.elapsed() <= SECOND / 2, "{:?}", begin.elapsed());
    }
}

/// Where nothing is heard ten workers poll as often as one.
#[tokio::test(start_paused = true)]
async fn f34_workers_that_look_for_the_same_share_their_polls() {
    let memory = MemoryBackend::with_tokio_clock();
    let client = MockCalls::new().over(&memory);
    let _workers: Vec<_> = (0..10).map(|_| alpha(&client).start().unwrap()).collect();
    sleep(HOUR).await;
    let claims = client.backend().asked("claim");
    assert!((1_800..=5_200).contains(&claims), "{claims} claims");
}

/// Polls for other kinds, or of other queues, are no substitute.
#[tokio::test(start_paused = true)]
async fn workers_that_look_for_different_jobs_poll_each_for_itself() {
    let memory = MemoryBackend::with_tokio_clock();
    let client = MockCalls::new().over(&memory);
    let _alphas: Vec<_> = (0..3).map(|_| alpha(&client).start().unwrap()).collect();
    let _beta = simulated(&client)
        .register(|job: Beta, _| async move { Ok(job.0) })
        .queue("main", 4)
        .start()
        .unwrap();
    let _gamma = simulated(&client)
        .register(|job: Gamma, _| async move { Ok(job.0) })
        .queue("side", 4)
        .start()
        .unwrap();
    for n in 0..10 {
        sleep(100 * SECOND).await;
        let begin = Instant::now();
        let ids = [
            insert(&memory, Alpha(n)).await,
            insert(&memory, Beta(n)).await,
            insert(&memory, Gamma(n)).await,
        ];
        for id in ids {
            reaches(&memory, id, State::Completed).await;
        }
        assert!(begin.elapsed() <= 3 * SECOND, "{:?}", begin.elapsed());
    }
}

/// Where one finds all it has room for, the others look at once.
#[tokio::test(start_paused = true)]
async fn what_a_poll_finds_wakes_the_siblings() {
    let memory = MemoryBackend::with_tokio_clock();
    let client = MockCalls::new().over(&memory);
    let starts: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let _workers: Vec<_> = (0..5)
        .map(|_| {
            let starts = starts.clone();
            let endless = move |_: Alpha, _: Context| {
                starts.lock().unwrap().push(Instant::now());
                std::future::pending::<Outcome<u64>>()
            };
            simulated(&client).register(endless).queue("main", 1).start().unwrap()
        })
        .collect();
    sleep(100 * SECOND).await;
    memory.insert(&(0..5).map(|n| new(&Alpha(n))).collect::<Vec<_>>()).await.unwrap();
    until("all run", || async { starts.lock().unwrap().len() == 5 }).await;
    let starts = starts.lock().unwrap();
    assert!(starts[4] - starts[0] < SECOND / 25, "{:?}", starts[4] - starts[0]);
}

/// A worker that has no room does not take the poll from those that have.
#[tokio::test(start_paused = true)]
async fn a_worker_without_room_leaves_the_poll_to_its_siblings() {
    let memory = MemoryBackend::with_tokio_clock();
    let client = MockCalls::new().over(&memory);
    let handler = |job: Alpha, _: Context| async move {
        if job.0 == 0 {
            std::future::pending::<()>().await;
        }
        Ok(job.0)
    };
    let workers: Vec<_> = (0..3)
        .map(|_| simulated(&client).register(handler).queue("main", 1).start().unwrap())
        .collect();
    for _ in 0..2 {
        insert(&memory, Alpha(0)).await;
    }
    let full = || workers.iter().filter(|worker| worker.stats().running == 1).count();
    until("two are full", || async { full() == 2 }).await;
    found_within(&memory, 20, 3 * SECOND).await;
}

/// One that has room for a part polls by itself, as often as there is nothing to hear.
#[tokio::test(start_paused = true)]
async fn a_worker_with_some_room_finds_what_comes_without_a_hint() {
    let memory = MemoryBackend::with_tokio_clock();
    let client = MockCalls::new().over(&memory);
    let handler = |job: Alpha, _: Context| async move {
        if job.0 == 0 {
            std::future::pending::<()>().await;
        }
        Ok(job.0)
    };
    let worker = simulated(&client).register(handler).queue("main", 2).start().unwrap();
    insert(&memory, Alpha(0)).await;
    until("one runs", || async { worker.stats().running == 1 }).await;
    found_within(&memory, 20, 3 * SECOND).await;
}

/// Heartbeats of workers that began at different times come to go together.
#[tokio::test(start_paused = true)]
async fn f34_heartbeats_that_are_due_soon_go_along() {
    let memory = MemoryBackend::with_tokio_clock();
    let client = hearing().over(&memory);
    let mut workers = Vec::new();
    for _ in 0..10 {
        workers.push(alpha(&client).start().unwrap());
        sleep(SECOND / 3).await;
    }
    sleep(HOUR).await;
    let calls = client.backend().asked("heartbeats") + client.backend().asked("heartbeat");
    assert!((350..=400).contains(&calls), "{calls} calls");
}

/// One whose heartbeats hang, or fail, spoils those of its siblings once: these are sent again at once, and its next ones go alone.
#[tokio::test(start_paused = true)]
async fn f3_heartbeats_that_fail_for_one_worker_are_sent_apart() {
    for fault in [hangs as fn() -> Error, lost_reply] {
        let memory = MemoryBackend::with_tokio_clock();
        let mut calls = hearing();
        let (m, bad) = (memory.clone(), Arc::new(Mutex::new(None)));
        let first = bad.clone();
        calls.expect_heartbeat().returning(move |worker, owned| {
            if *first.lock().unwrap() == Some(worker) {
                return Err(fault());
            }
            now(m.heartbeat(worker, owned))
        });
        let client = calls.over(&memory);
        let workers: Vec<_> = (0..5).map(|_| alpha(&client).start().unwrap()).collect();
        until("all have a lease", || async { workers.iter().all(|w| w.id().is_some()) }).await;
        *bad.lock().unwrap() = workers[0].id();
        let alone = || client.backend().asked("heartbeat");
        let lost = workers[0].id();
        while workers[0].id() == lost {
            sleep(SECOND / 50).await;
            assert!(workers[1..].iter().all(RunningWorker::ready), "a sibling missed one");
        }
        // Its own, and one of each sibling.
        assert!((5..=30).contains(&alone()), "{} alone", alone());
        let before = alone();
        sleep(600 * SECOND).await;
        assert_eq!(alone(), before, "all go together again");
    }
}

/// One whose heartbeats hang, or fail, keeps no sibling from its own.
#[tokio::test(start_paused = true)]
async fn f3_heartbeats_that_fail_for_one_worker_cost_the_others_no_lease() {
    for fault in [hangs as fn() -> Error, lost_reply] {
        let memory = MemoryBackend::with_tokio_clock();
        let mut calls = hearing();
        let (m, bad) = (memory.clone(), Arc::new(Mutex::new(None)));
        let first = bad.clone();
        calls.expect_heartbeat().returning(move |worker, owned| {
            if *first.lock().unwrap() == Some(worker) {
                return Err(fault());
            }
            now(m.heartbeat(worker, owned))
        });
        let client = calls.over(&memory);
        let workers: Vec<_> = (0..5).map(|_| alpha(&client).start().unwrap()).collect();
        until("all have a lease", || async { workers.iter().all(|w| w.id().is_some()) }).await;
        let ids: Vec<_> = workers.iter().map(RunningWorker::id).collect();
        *bad.lock().unwrap() = ids[0];
        sleep(600 * SECOND).await;
        assert_ne!(workers[0].id(), ids[0], "it got another lease");
        let others: Vec<_> = workers.iter().map(RunningWorker::id).skip(1).collect();
        assert_eq!(others, ids[1..]);
    }
}
