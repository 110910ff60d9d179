//! Workers and clients on Redis servers to which things happen: what was acknowledged ends as the guarantees say, and nobody dies.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use windlass::redis::{RedisBackend, RedisOptions};
use windlass::{
    Client, Context, Error, EventBody, Job, JobId, Outcome, RunningWorker, State, Worker,
};
use windlass_test_servers::{Proxy, QUICK, RedisSentinels, RedisServer, Stall};

const PATIENCE: Duration = Duration::from_secs(90);
/// The states of jobs that have not ended.
const OPEN: [State; 4] = [State::Available, State::Running, State::Retryable, State::Scheduled];

/// Has an effect that nothing takes back, each time it runs.
#[derive(Job, Serialize, Deserialize)]
#[job(kind = "effect", max_attempts = 50, backoff(base = "50ms", max = "500ms"))]
struct Effect {
    padding: String,
}

#[derive(Clone, Default)]
struct App {
    runs: Arc<Mutex<HashMap<JobId, u32>>>,
}

async fn effect(_: Effect, cx: Context<App>) -> Outcome {
    *cx.state().runs.lock().unwrap().entry(cx.job_id()).or_default() += 1;
    tokio::time::sleep(Duration::from_millis(2)).await;
    Ok(())
}

/// What became of the jobs.
struct Ends {
    enqueued: usize,
    completed: usize,
    lost: usize,
}

/// A service on one server: clients and a worker.
struct Service {
    app: App,
    client: Client<RedisBackend>,
    worker: Arc<RunningWorker>,
    end: Arc<AtomicBool>,
    /// Calls to enqueue that came back, whatever with.
    answered: Arc<AtomicUsize>,
    /// How often the worker was found not ready after it was.
    unready: JoinHandle<u32>,
}

impl Service {
    async fn start(url: &str) -> Self {
        let options = RedisOptions::from_url(url).unwrap();
        let options = options.connect_timeout(Duration::from_secs(2));
        let options = options.response_timeout(Duration::from_secs(3));
        let client = Client::new(Arc::new(RedisBackend::open(options).await.unwrap()));
        let app = App::default();
        let worker = Worker::new(&client)
            .options(|o| {
                o.lease = Duration::from_secs(6);
                o.heartbeat = Duration::from_secs(2);
            })
            .state(app.clone())
            .register(effect)
            .queue("default", 16)
            .start()
            .unwrap();
        let end = Arc::new(AtomicBool::new(false));
        let worker = Arc::new(worker);
        until_ready(&worker).await;
        let unready = tokio::spawn(watch(worker.clone(), end.clone()));
        Self { app, client, worker, end, answered: Arc::default(), unready }
    }

    /// Enqueues jobs until told to end; answers those that were acknowledged.
    fn producer(&self, padding: usize) -> JoinHandle<Vec<JobId>> {
        let (client, end) = (self.client.clone(), self.end.clone());
        let answered = self.answered.clone();
        tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            while !end.load(Ordering::Relaxed) {
                match client.enqueue(Effect { padding: "x".repeat(padding) }).await {
                    Ok(job) => acknowledged.push(job.id()),
                    Err(error) => assert!(error.is_transient(), "{error:?}"),
                }
                answered.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
            acknowledged
        })
    }

    /// Waits until so many more handlers have run: faults that come faster than that leave nothing to lose.
    async fn works(&self, runs: u32) {
        let total = || self.app.runs.lock().unwrap().values().sum::<u32>();
        let enough = total() + runs;
        let started = Instant::now();
        while total() < enough {
            assert!(started.elapsed() < PATIENCE, "nothing runs");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until so many more calls to enqueue came back.
    async fn answers(&self, calls: usize) {
        let enough = self.answered.load(Ordering::Relaxed) + calls;
        let started = Instant::now();
        while self.answered.load(Ordering::Relaxed) < enough {
            assert!(started.elapsed() < PATIENCE, "nothing is answered");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until every job has ended, and counts what became of those that were acknowledged.
    async fn ends(self, what: &str, producers: Vec<JoinHandle<Vec<JobId>>>) -> (Ends, u32) {
        self.end.store(true, Ordering::Relaxed);
        let mut acknowledged = Vec::new();
        for producer in producers {
            acknowledged.extend(producer.await.unwrap());
        }
        let started = Instant::now();
        loop {
            if let Ok(stats) = self.client.stats().await
                && OPEN.iter().all(|state| stats.in_state(*state) == 0)
            {
                break;
            }
            assert!(started.elapsed() < PATIENCE, "{what}: jobs are left");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        until_ready(&self.worker).await;
        let (mut completed, mut lost) = (0, 0);
        for id in &acknowledged {
            match self.client.get(*id).await.unwrap() {
                None => lost += 1,
                Some(job) => {
                    assert_eq!(job.state, State::Completed, "{what}: {id}");
                    completed += 1;
                    let history = self.client.history(*id).await.unwrap();
                    let ends = history.iter().filter(|event| is_end(&event.body)).count();
                    assert_eq!(ends, 1, "{what}: {id} has two ends on record");
                }
            }
        }
        let enqueued = acknowledged.len();
        let runs = self.app.runs.lock().unwrap().clone();
        let never = acknowledged.iter().filter(|id| !runs.contains_key(id)).count();
        assert!(never <= lost, "{what}: {never} completed without a run");
        let doubled = runs.values().filter(|runs| **runs > 1).count();
        let unready = self.unready.await.unwrap();
        println!(
            "{what}: enqueued {enqueued}, completed {completed}, lost {lost}, jobs that ran more than once {doubled}, ends recorded twice 0, readiness lost {unready} times"
        );
        assert!(enqueued > 50, "{what}: the fault left no time to work");
        Arc::into_inner(self.worker).unwrap().stop().await.unwrap();
        (Ends { enqueued, completed, lost }, unready)
    }
}

async fn until_ready(worker: &RunningWorker) {
    let started = Instant::now();
    while !worker.ready() {
        assert!(started.elapsed() < PATIENCE, "the worker is not ready again");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Counts how often a worker is found not ready after it was.
async fn watch(worker: Arc<RunningWorker>, end: Arc<AtomicBool>) -> u32 {
    let (mut was, mut times) = (true, 0);
    while !end.load(Ordering::Relaxed) {
        let is = worker.ready();
        times += u32::from(was && !is);
        was = is;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    times
}

fn is_end(body: &EventBody) -> bool {
    matches!(body, EventBody::State { to, .. } if to.is_final())
}

async fn seconds(n: f64) {
    tokio::time::sleep(Duration::from_secs_f64(n)).await;
}

/// F48: the server is killed and started again, again and again, under load. Every write is in its file before its answer.
#[tokio::test(flavor = "multi_thread")]
async fn f48_kills_of_a_server_that_syncs_always_lose_nothing() {
    let server = RedisServer::builder().start().await.unwrap();
    let service = Service::start(&server.url("jobs")).await;
    let producers = vec![service.producer(10), service.producer(10)];
    for _ in 0..4 {
        service.works(100).await;
        server.kill_9().await.unwrap();
        assert!(service.client.ping().await.unwrap_err().is_transient());
        seconds(0.3).await;
        server.start().await.unwrap();
    }
    service.works(100).await;
    let (ends, unready) =
        service.ends("kill -9 and restart, append-only file synced always", producers).await;
    assert_eq!((ends.lost, ends.completed), (0, ends.enqueued));
    assert!(unready > 0, "readiness never turned false");
}

/// F45: the primary dies while its replica lags, after so many calls that the replica hears nothing of, and Sentinel promotes that.
async fn failover(what: &str, more: &str, unheard: usize) -> Ends {
    let all = RedisSentinels::start(RedisServer::builder(), 1, QUICK).await.unwrap();
    let [primary, replica] = all.servers() else { panic!("{all:?}") };
    let service = Service::start(&format!("{}{more}", all.url("jobs"))).await;
    let producers = vec![service.producer(10), service.producer(10)];
    // Far more than may be lost.
    service.works(500).await;
    // What the primary answers from now on never leaves it.
    replica.pause().await.unwrap();
    primary.command(&["CLIENT", "KILL", "TYPE", "replica"]).await.unwrap();
    service.answers(unheard).await;
    primary.kill_9().await.unwrap();
    replica.resume().await.unwrap();
    replica.until_info("role", "master").await.unwrap();
    seconds(2.0).await;
    // The old primary comes back as what it was until Sentinel tells it otherwise.
    primary.start().await.unwrap();
    primary.until_info("role", "slave").await.unwrap();
    let until = Instant::now() + PATIENCE;
    while service.client.enqueue(Effect { padding: String::new() }).await.is_err() {
        assert!(Instant::now() < until, "{what}: no job can be enqueued again");
        seconds(0.1).await;
    }
    service.works(50).await;
    let (ends, unready) = service.ends(what, producers).await;
    assert_eq!(ends.completed + ends.lost, ends.enqueued);
    assert!(unready > 0, "readiness never turned false");
    ends
}

/// What an asynchronous replica did not have is lost, as the guarantees say.
#[tokio::test(flavor = "multi_thread")]
async fn f45_a_failover_may_lose_the_last_jobs() {
    let ends = failover("failover by Sentinel", "", 40).await;
    // A call of each producer may have been on its way when the replica was cut off.
    assert!(ends.lost >= 20, "{} are lost: the replica heard of what it should not", ends.lost);
    assert!(ends.lost < ends.enqueued / 2, "more than the last ones are lost");
}

/// With a wait for the replica nothing that was acknowledged is.
#[tokio::test(flavor = "multi_thread")]
async fn f45_a_failover_loses_no_job_that_waited_for_the_replica() {
    let more = "&wait_replicas=1&wait_timeout=500ms";
    let ends = failover("failover by Sentinel, jobs that waited for a replica", more, 4).await;
    assert_eq!(ends.lost, 0);
}

/// F14: scripts are forgotten and connections cut while jobs run.
#[tokio::test(flavor = "multi_thread")]
async fn f14_forgotten_scripts_and_cut_connections_lose_nothing() {
    let server = RedisServer::builder().start().await.unwrap();
    let service = Service::start(&server.url("jobs")).await;
    let producers = vec![service.producer(10)];
    for round in 0..30 {
        service.works(3).await;
        server.command(&["SCRIPT", "FLUSH"]).await.unwrap();
        let kind = if round % 3 == 0 { "pubsub" } else { "normal" };
        server.command(&["CLIENT", "KILL", "TYPE", kind]).await.unwrap();
    }
    let (ends, _) = service.ends("SCRIPT FLUSH and CLIENT KILL", producers).await;
    assert_eq!((ends.lost, ends.completed), (0, ends.enqueued));
}

/// The server's memory is full: nothing new comes in, what is there runs to its end, and when there is room everything goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_memory_loses_nothing() {
    let server = RedisServer::builder().start().await.unwrap();
    let service = Service::start(&server.url("jobs")).await;
    let producers = vec![service.producer(2_000), service.producer(2_000)];
    service.works(100).await;
    let used: u64 = server.info("used_memory").await.unwrap().parse().unwrap();
    let most = (used + (300 << 10)).to_string();
    server.command(&["CONFIG", "SET", "maxmemory", &most]).await.unwrap();
    let error = async {
        loop {
            if let Err(error) = service.client.enqueue(Effect { padding: "x".repeat(2_000) }).await
            {
                return error;
            }
        }
    };
    let error = tokio::time::timeout(PATIENCE, error).await.expect("the memory is full");
    assert!(error.is_transient(), "{error:?}");
    let Error::Unavailable { source, .. } = &error else { panic!("{error:?}") };
    assert!(source.to_string().contains("maxmemory"), "{source}");
    // Everything that was taken in is worked off under the full memory.
    let until = Instant::now() + PATIENCE;
    loop {
        let stats = service.client.stats().await.unwrap();
        if OPEN.iter().all(|state| stats.in_state(*state) == 0) {
            break;
        }
        assert!(Instant::now() < until, "jobs are left");
        seconds(0.05).await;
    }
    assert!(service.worker.ready());
    server.command(&["CONFIG", "SET", "maxmemory", "0"]).await.unwrap();
    service.works(20).await;
    let client = service.client.clone();
    let (ends, _) = service.ends("full memory", producers).await;
    assert_eq!((ends.lost, ends.completed), (0, ends.enqueued));
    let completed = client.stats().await.unwrap().in_state(State::Completed);
    assert!(completed >= ends.enqueued as u64, "{completed} are counted");
}

/// The network swallows everything for a while, and later all connections break at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_stalls_and_breaks_loses_nothing() {
    let server = RedisServer::builder().start().await.unwrap();
    let proxy = Proxy::start(server.port()).await.unwrap();
    let url = server.url("jobs").replace(&server.port().to_string(), &proxy.port().to_string());
    let service = Service::start(&url).await;
    let producers = vec![service.producer(10), service.producer(10)];
    service.works(50).await;
    for stall in [Stall::All, Stall::Replies] {
        // Replies that never come: what was sent may have been done.
        proxy.stall(stall);
        seconds(1.5).await;
        proxy.cut().await;
        proxy.stall(Stall::Off);
        service.works(50).await;
    }
    // Longer than an answer may take: the connections are given up from this side.
    proxy.stall(Stall::All);
    seconds(4.0).await;
    proxy.stall(Stall::Off);
    service.works(50).await;
    proxy.refuse().await;
    proxy.cut().await;
    seconds(2.0).await;
    proxy.accept().await.unwrap();
    service.works(50).await;
    let (ends, unready) = service.ends("network", producers).await;
    assert_eq!((ends.lost, ends.completed), (0, ends.enqueued));
    assert!(unready > 0, "readiness never turned false");
}
