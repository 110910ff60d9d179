//! A double of a backend: faults where a test puts them on a call of `Queue`, and the memory backend behind the rest.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use mockall::mock;
use windlass_core::*;

mock! {
    #[derive(Debug)]
    pub Calls {}

    #[async_trait]
    impl Queue for Calls {
        async fn register(&self, info: &WorkerInfo) -> Result<WorkerLease>;
        async fn heartbeat(&self, worker: WorkerId, owned: &[LeaseKey]) -> Result<Heartbeat>;
        async fn heartbeats(&self, beats: &[Beat]) -> Result<Vec<Heartbeat>>;
        async fn deregister(&self, worker: WorkerId) -> Result<()>;
        async fn claim(&self, request: &ClaimRequest) -> Result<Claimed>;
        async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>>;
        async fn record(&self, records: &[Record]) -> Result<Vec<Recorded>>;
        async fn maintain(&self, limit: u32) -> Result<Maintained>;
        async fn wait(&self, queues: &[QueueName], timeout: Duration) -> Result<Wake>;
        fn hears(&self) -> bool;
    }
}

/// The memory backend answers at once, except to `wait` and `watch`.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the memory backend answers at once")
}

/// An error after which nobody knows whether the call was applied.
pub fn lost_reply() -> Error {
    Error::Unavailable { backend: "double", during: "test", source: "the reply was lost".into() }
}

/// In the place of an answer: none ever comes.
pub fn hangs() -> Error {
    Error::Timeout { what: HANGS.into(), after: Duration::ZERO }
}

const HANGS: &str = "nothing";

/// In the place of an answer: a panic.
pub fn panics() -> Error {
    Error::Timeout { what: PANICS.into(), after: Duration::ZERO }
}

const PANICS: &str = "panics";

/// In the place of an answer of `wait`: the memory backend's own hints.
pub fn hints() -> Error {
    Error::Timeout { what: HINTS.into(), after: Duration::ZERO }
}

const HINTS: &str = "hints";

/// In the place of an answer of `wait`: nothing is heard until the time is up.
pub fn quiet() -> Error {
    Error::Timeout { what: QUIET.into(), after: Duration::ZERO }
}

const QUIET: &str = "quiet";

/// Faults: none. All hints come.
pub fn hearing() -> MockCalls {
    let mut calls = MockCalls::new();
    calls.expect_wait().returning(|_, _| Err(hints()));
    calls.expect_hears().returning(|| true);
    calls
}

async fn answer<T>(answer: Result<T>) -> Result<T> {
    match answer {
        Err(Error::Timeout { what, .. }) if what == HANGS => std::future::pending().await,
        Err(Error::Timeout { what, .. }) if what == PANICS => panic!("in the midst of a call"),
        answer => answer,
    }
}

/// The double.
#[derive(Debug)]
pub struct Double {
    calls: MockCalls,
    memory: MemoryBackend,
    asked: Mutex<BTreeMap<&'static str, u64>>,
    /// Heartbeats of several workers are never answered.
    parted: AtomicBool,
}

impl Double {
    /// How often a call was made.
    pub fn asked(&self, call: &'static str) -> u64 {
        self.asked.lock().unwrap().get(call).copied().unwrap_or(0)
    }

    /// How many calls were made, but those of `wait`, which ask no database.
    pub fn asked_in_all(&self) -> u64 {
        self.asked.lock().unwrap().values().sum()
    }

    /// From now on heartbeats of several workers are never answered; those of one are.
    pub fn part(&self) {
        self.parted.store(true, Ordering::SeqCst);
    }

    fn count(&self, call: &'static str) {
        *self.asked.lock().unwrap().entry(call).or_default() += 1;
    }
}

impl MockCalls {
    /// Sends every call that the test has put no fault on to a memory backend.
    pub fn over(mut self, memory: &MemoryBackend) -> Client<Double> {
        macro_rules! pass {
            ($($expect:ident = $method:ident($($arg:ident),*);)*) => {$(
                let m = memory.clone();
                self.$expect().returning(move |$($arg),*| now(m.$method($($arg),*)));
            )*};
        }
        pass! {
            expect_register = register(info);
            expect_heartbeat = heartbeat(worker, owned);
            expect_deregister = deregister(worker);
            expect_claim = claim(request);
            expect_settle = settle(settlements);
            expect_record = record(records);
            expect_maintain = maintain(limit);
        }
        // Hints come only where a test sends them.
        self.expect_wait().returning(|_, _| Err(hangs()));
        self.expect_hears().returning(|| false);
        let asked = Mutex::default();
        let parted = AtomicBool::new(false);
        Client::new(Arc::new(Double { calls: self, memory: memory.clone(), asked, parted }))
    }
}

#[async_trait]
impl Queue for Double {
    async fn register(&self, info: &WorkerInfo) -> Result<WorkerLease> {
        self.count("register");
        answer(self.calls.register(info).await).await
    }
    async fn heartbeat(&self, worker: WorkerId, owned: &[LeaseKey]) -> Result<Heartbeat> {
        self.count("heartbeat");
        answer(self.calls.heartbeat(worker, owned).await).await
    }
    /// One call, unless a test has put a fault on those of single workers.
    async fn heartbeats(&self, beats: &[Beat]) -> Result<Vec<Heartbeat>> {
        self.count("heartbeats");
        if beats.len() > 1 && self.parted.load(Ordering::SeqCst) {
            return answer(Err(hangs())).await;
        }
        let mut answers = Vec::with_capacity(beats.len());
        for beat in beats {
            answers.push(answer(self.calls.heartbeat(beat.worker, &beat.owned).await).await?);
        }
        Ok(answers)
    }
    async fn deregister(&self, worker: WorkerId) -> Result<()> {
        self.count("deregister");
        answer(self.calls.deregister(worker).await).await
    }
    async fn claim(&self, request: &ClaimRequest) -> Result<Claimed> {
        self.count("claim");
        answer(self.calls.claim(request).await).await
    }
    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>> {
        self.count("settle");
        answer(self.calls.settle(settlements).await).await
    }
    async fn record(&self, records: &[Record]) -> Result<Vec<Recorded>> {
        self.count("record");
        answer(self.calls.record(records).await).await
    }
    async fn maintain(&self, limit: u32) -> Result<Maintained> {
        self.count("maintain");
        answer(self.calls.maintain(limit).await).await
    }
    async fn wait(&self, queues: &[QueueName], timeout: Duration) -> Result<Wake> {
        match self.calls.wait(queues, timeout).await {
            Err(Error::Timeout { what, .. }) if what == HINTS => {
                self.memory.wait(queues, timeout).await
            }
            Err(Error::Timeout { what, .. }) if what == QUIET => {
                self.memory.wait(&[], timeout).await
            }
            other => answer(other).await,
        }
    }
    fn hears(&self) -> bool {
        self.calls.hears()
    }
}

#[async_trait]
impl Store for Double {
    async fn insert(&self, jobs: &[NewJob]) -> Result<Vec<Inserted>> {
        self.memory.insert(jobs).await
    }
    async fn get(&self, id: JobId) -> Result<Option<JobRecord>> {
        self.memory.get(id).await
    }
    async fn list(&self, query: &JobQuery) -> Result<Page<JobRecord>> {
        self.memory.list(query).await
    }
    async fn change(&self, request: &ChangeRequest) -> Result<Changed> {
        self.memory.change(request).await
    }
    async fn history(&self, id: JobId, after: Option<Position>, n: usize) -> Result<EventPage> {
        self.memory.history(id, after, n).await
    }
    async fn events(
        &self,
        filter: &EventFilter,
        after: Option<Position>,
        n: usize,
    ) -> Result<EventPage> {
        self.memory.events(filter, after, n).await
    }
    async fn tail(&self) -> Result<Option<Position>> {
        self.memory.tail().await
    }
    async fn watch(&self, after: Option<Position>, timeout: Duration) -> Result<()> {
        self.memory.watch(after, timeout).await
    }
    async fn append(&self, id: JobId, notes: &[Note]) -> Result<()> {
        self.memory.append(id, notes).await
    }
    async fn stats(&self, query: &StatsQuery) -> Result<Stats> {
        self.count("stats");
        self.memory.stats(query).await
    }
    async fn queue_settings(&self, names: &[QueueName]) -> Result<Vec<QueueSettings>> {
        self.count("queue_settings");
        self.memory.queue_settings(names).await
    }
    async fn configure_queue(&self, q: &QueueName, c: &QueueChange) -> Result<QueueSettings> {
        self.memory.configure_queue(q, c).await
    }
    async fn workers(&self) -> Result<Vec<WorkerRecord>> {
        self.memory.workers().await
    }
    async fn stage_blobs(&self, keys: &[BlobKey], ttl: Duration) -> Result<()> {
        self.memory.stage_blobs(keys, ttl).await
    }
    async fn prune(&self, retention: &Retention, limit: u32) -> Result<Pruned> {
        self.count("prune");
        self.memory.prune(retention, limit).await
    }
    async fn blobs_deleted(&self, keys: &[BlobKey]) -> Result<()> {
        self.memory.blobs_deleted(keys).await
    }
}

#[async_trait]
impl Backend for Double {
    fn name(&self) -> &'static str {
        "double"
    }
    fn capabilities(&self) -> Capabilities {
        self.memory.capabilities()
    }
    fn limits(&self) -> &Limits {
        self.memory.limits()
    }
    fn storage(&self) -> Arc<dyn Storage> {
        self.memory.storage()
    }
    async fn ping(&self) -> Result<()> {
        self.memory.ping().await
    }
    async fn close(&self) -> Result<()> {
        self.memory.close().await
    }
}
