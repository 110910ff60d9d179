//! The layer between a process and the store: a network that delays, loses and doubles, and an end to it when the process dies.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use windlass_checker::changing;
use windlass_checker::history::What;
use windlass_core::{
    Backend, Beat, BlobKey, Capabilities, ChangeRequest, Changed, ClaimRequest, Claimed, Error,
    EventFilter, EventPage, Heartbeat, Inserted, JobId, JobQuery, JobRecord, Limits, Maintained,
    MemoryBackend, NewJob, Note, Page, Position, Pruned, Queue, QueueChange, QueueName,
    QueueSettings, Record, Recorded, Result, Retention, Settled, Settlement, Stats, StatsQuery,
    Storage, Store, Wake, WorkerId, WorkerInfo, WorkerLease, WorkerRecord,
};

use super::World;
use super::mistake::{self, now};
use super::world::LEASE;

/// A handle on the store for one process or person.
pub struct Faulty {
    road: Arc<Road>,
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faulty").field("name", &self.road.name).finish_non_exhaustive()
    }
}

/// What becomes of one call.
#[derive(Debug, Default)]
struct Fate {
    /// On the way there.
    before: Duration,
    /// It never gets there.
    lost: bool,
    /// It gets there once more, so much later.
    again: Option<Duration>,
    /// On the way back.
    after: Duration,
    /// The answer is lost.
    unheard: bool,
    /// What is lost is not reported: the caller waits in vain.
    silent: bool,
}

/// No request is under way for longer: on its way, doubled, and its reply.
pub(super) const LATEST: Duration = Duration::from_secs(6 + 15 + 6);
/// Longer than any call takes without a fault.
const USUAL: Duration = Duration::from_millis(4);

impl Fate {
    fn draw(rng: &mut fastrand::Rng, per_mille: u32) -> Self {
        let ms = Duration::from_millis;
        let hit = |rng: &mut fastrand::Rng| rng.u32(0..1_000) < per_mille;
        Self {
            before: if hit(rng) { ms(rng.u64(0..6_000)) } else { ms(rng.u64(0..4)) },
            lost: hit(rng),
            again: hit(rng).then(|| ms(rng.u64(0..15_000))),
            after: if hit(rng) { ms(rng.u64(0..6_000)) } else { ms(rng.u64(0..4)) },
            unheard: hit(rng),
            silent: rng.u32(0..4) == 0,
        }
    }
}

/// Why a call has no answer.
#[derive(Debug, Clone, Copy)]
enum End {
    Dead,
    Lost { silent: bool },
}

/// Between a process and the store.
struct Road {
    world: Arc<World>,
    name: String,
    dead: CancellationToken,
    cut_off: Mutex<Option<Instant>>,
}

impl Road {
    fn struck(&self, sort: &'static str) {
        self.world.lock().inside.figures.struck(sort);
    }

    fn fate(&self) -> Fate {
        let per_mille = if self.world.is_healed() { 0 } else { self.world.plan.per_mille };
        self.world.chance(|rng| Fate::draw(rng, per_mille))
    }

    fn until(&self) -> Option<Instant> {
        let cut_off = self.cut_off.lock().unwrap_or_else(PoisonError::into_inner);
        cut_off.filter(|_| !self.world.is_healed())
    }

    /// Whether it is over before the process dies.
    async fn goes_on(&self, time: Duration) -> bool {
        let road = async {
            sleep(time).await;
            if let Some(until) = self.until() {
                sleep_until(until).await;
            }
            self.world.turn().await;
        };
        tokio::select! {
            biased;
            () = self.dead.cancelled() => false,
            () = road => true,
        }
    }

    /// There and back.
    async fn go<T: Send + 'static>(
        &self,
        name: &'static str,
        fate: Fate,
        apply: Arc<impl Fn(&World) -> Result<T> + Send + Sync + 'static>,
    ) -> std::result::Result<Result<T>, End> {
        if !self.goes_on(fate.before).await {
            // On its way already, it may get there all the same.
            if self.world.chance(fastrand::Rng::bool) {
                self.later(name, "request after its sender's death", fate.after, apply);
            }
            return Err(End::Dead);
        }
        if fate.before > USUAL {
            self.struck("request delayed");
        }
        if fate.lost {
            self.struck("request lost");
            return Err(End::Lost { silent: fate.silent });
        }
        if let Some(time) = fate.again {
            self.later(name, "request doubled", time, apply.clone());
        }
        let answer = apply(&self.world);
        if !self.goes_on(fate.after).await {
            return Err(End::Dead);
        }
        if fate.after > USUAL {
            self.struck("reply delayed");
        }
        if fate.unheard {
            self.struck("reply lost");
            return Err(End::Lost { silent: fate.silent });
        }
        Ok(answer)
    }

    /// The same call once more, whatever has become of its sender by then.
    fn later<T: Send + 'static>(
        &self,
        name: &'static str,
        sort: &'static str,
        time: Duration,
        apply: Arc<impl Fn(&World) -> Result<T> + Send + Sync + 'static>,
    ) {
        let (world, who) = (self.world.clone(), self.name.clone());
        tokio::spawn(async move {
            world.rest(time).await;
            world.line(&format!("{who}: {name} comes late"));
            world.lock().inside.figures.struck(sort);
            drop(apply(&world));
        });
    }
}

impl Faulty {
    pub(super) fn new(world: Arc<World>, name: String) -> Self {
        let (dead, cut_off) = (CancellationToken::new(), Mutex::default());
        Self { road: Arc::new(Road { world, name, dead, cut_off }) }
    }

    pub(super) fn name(&self) -> &str {
        &self.road.name
    }

    fn world(&self) -> &World {
        &self.road.world
    }

    /// Nothing is heard of this process from here on.
    pub(super) fn kill(&self) {
        self.road.dead.cancel();
    }

    pub(super) fn is_dead(&self) -> bool {
        self.road.dead.is_cancelled()
    }

    /// Returns when the process has died.
    pub(super) async fn dead(&self) {
        self.road.dead.cancelled().await;
    }

    /// Nothing comes through until then.
    pub(super) fn cut_off(&self, until: Instant) {
        *self.road.cut_off.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    fn unavailable(during: &'static str) -> Error {
        Error::Unavailable { backend: "sim", during, source: "a simulated fault".into() }
    }

    async fn call<T: Send + 'static>(
        &self,
        name: &'static str,
        apply: impl Fn(&World) -> Result<T> + Send + Sync + 'static,
    ) -> Result<T> {
        if self.is_dead() {
            return Err(Error::Closed("sim"));
        }
        self.world().line(&format!("{}: {name}", self.name()));
        let (road, fate) = (self.road.clone(), self.road.fate());
        // In a task of its own: what was sent is on its way, even if the caller waits no longer.
        let answer = tokio::spawn(async move { road.go(name, fate, Arc::new(apply)).await });
        match answer.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(End::Dead)) => Err(Error::Closed("sim")),
            Ok(Err(End::Lost { silent })) => {
                let how = if silent { " silently" } else { "" };
                self.world().line(&format!("{}: {name} lost{how}", self.name()));
                if silent {
                    self.dead().await;
                    return Err(Error::Closed("sim"));
                }
                Err(Self::unavailable(name))
            }
            Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
            Err(_) => Err(Error::Closed("sim")),
        }
    }

    /// A call of which only is looked at what it does to jobs.
    async fn pass<T: Send + 'static>(
        &self,
        name: &'static str,
        apply: impl Fn(&MemoryBackend) -> Result<T> + Send + Sync + 'static,
    ) -> Result<T> {
        self.call(name, move |world| world.step(name, &apply, |_, _| {})).await
    }

    /// Waits for a hint, which may be lost or false.
    async fn hint(&self, queues: &[QueueName], timeout: Duration) -> Result<Wake> {
        let fate = self.road.fate();
        if fate.lost {
            self.road.struck("wait failed");
            return Err(Self::unavailable("wait"));
        }
        if fate.unheard {
            self.road.struck("hint lost");
            self.world().rest(timeout).await;
            return Ok(Wake::Timeout);
        }
        let wake = self.world().memory.wait(queues, fate.again.unwrap_or(timeout).min(timeout));
        let wake = wake.await?;
        self.world().turn().await;
        if fate.again.is_some() && wake == Wake::Timeout {
            self.road.struck("false hint");
            return Ok(Wake::Hint);
        }
        self.road.goes_on(fate.after).await;
        Ok(wake)
    }
}

fn lease_end(world: &World, lease: Duration) -> Timestamp {
    world.memory.now().saturating_add(lease).unwrap_or(Timestamp::MAX)
}

#[async_trait]
impl Queue for Faulty {
    async fn register(&self, info: &WorkerInfo) -> Result<WorkerLease> {
        let info = info.clone();
        self.call("register", move |world| {
            let until = lease_end(world, info.lease);
            world.step(
                "register",
                |memory| now(memory.register(&info)),
                |inside, answer| {
                    if answer.is_ok() {
                        inside.leased(info.id, until);
                    }
                },
            )
        })
        .await
    }

    async fn heartbeats(&self, beats: &[Beat]) -> Result<Vec<Heartbeat>> {
        let beats = beats.to_vec();
        self.call("heartbeat", move |world| {
            let until = lease_end(world, LEASE);
            world.step(
                "heartbeat",
                |memory| now(memory.heartbeats(&beats)),
                |inside, answer| {
                    for (beat, answer) in beats.iter().zip(answer.iter().flatten()) {
                        if let Heartbeat::Alive { .. } = answer {
                            inside.leased(beat.worker, until);
                        }
                    }
                },
            )
        })
        .await
    }

    async fn deregister(&self, worker: WorkerId) -> Result<()> {
        self.call("deregister", move |world| {
            let leave = |memory: &MemoryBackend| now(memory.deregister(worker));
            world.step("deregister", leave, |inside, _| inside.unleased(worker))
        })
        .await
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Claimed> {
        let request = request.clone();
        let mistake = self.world().plan.mistake;
        self.call("claim", move |world| {
            let claim = |memory: &_| mistake::claim(mistake, memory, &request);
            world.step("claim", claim, |inside, answer| {
                if let Ok(claimed) = answer {
                    inside.claimed(&request, &claimed.leases);
                }
            })
        })
        .await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>> {
        let settlements = settlements.to_vec();
        let mistake = self.world().plan.mistake;
        self.call("settle", move |world| {
            for settlement in &settlements {
                world.lock().inside.sent(&settlement.follow_ups);
            }
            let settle = |memory: &_| mistake::settle(mistake, memory, &settlements);
            world.step("settle", settle, |inside, answer| {
                if let Ok(answers) = answer {
                    inside.settled(&settlements, answers);
                }
            })
        })
        .await
    }

    async fn record(&self, records: &[Record]) -> Result<Vec<Recorded>> {
        let records = records.to_vec();
        let mistake = self.world().plan.mistake;
        self.call("record", move |world| {
            let record = |memory: &_| mistake::record(mistake, memory, &records);
            world.step("record", record, |inside, answer| {
                if let Ok(answers) = answer {
                    inside.recorded(&records, answers);
                }
            })
        })
        .await
    }

    async fn maintain(&self, limit: u32) -> Result<Maintained> {
        let mistake = self.world().plan.mistake;
        self.pass("maintain", move |memory| mistake::maintain(mistake, memory, limit)).await
    }

    async fn wait(&self, queues: &[QueueName], timeout: Duration) -> Result<Wake> {
        tokio::select! {
            biased;
            () = self.dead() => Err(Error::Closed("sim")),
            wake = self.hint(queues, timeout) => wake,
        }
    }

    fn hears(&self) -> bool {
        self.world().plan.hears
    }
}

#[async_trait]
impl Store for Faulty {
    async fn insert(&self, jobs: &[NewJob]) -> Result<Vec<Inserted>> {
        let (jobs, came) = (jobs.to_vec(), AtomicBool::new(false));
        self.world().lock().inside.sent(&jobs);
        let mistake = self.world().plan.mistake;
        self.call("insert", move |world| {
            // One that the network doubles may be refused at first, and applied when it comes once more.
            if came.swap(true, Ordering::Relaxed) {
                for job in &jobs {
                    let error = "it came once more".to_owned();
                    world.record("network", What::Failed { job: job.id, error });
                }
            }
            world.step("insert", |memory| mistake::insert(mistake, memory, &jobs), |_, _| {})
        })
        .await
    }

    async fn get(&self, id: JobId) -> Result<Option<JobRecord>> {
        self.pass("get", move |memory| now(memory.get(id))).await
    }

    async fn list(&self, query: &JobQuery) -> Result<Page<JobRecord>> {
        let query = query.clone();
        self.pass("list", move |memory| now(memory.list(&query))).await
    }

    async fn change(&self, request: &ChangeRequest) -> Result<Changed> {
        let (request, came) = (request.clone(), AtomicBool::new(false));
        self.call("change", move |world| {
            // A request that the network doubles is asked for twice.
            if came.swap(true, Ordering::Relaxed) {
                changing(&request).into_iter().for_each(|what| world.record("network", what));
            }
            world.step("change", |memory| now(memory.change(&request)), |_, _| {})
        })
        .await
    }

    async fn history(&self, id: JobId, after: Option<Position>, limit: usize) -> Result<EventPage> {
        self.pass("history", move |memory| now(memory.history(id, after, limit))).await
    }

    async fn events(
        &self,
        filter: &EventFilter,
        after: Option<Position>,
        limit: usize,
    ) -> Result<EventPage> {
        let filter = filter.clone();
        self.pass("events", move |memory| now(memory.events(&filter, after, limit))).await
    }

    async fn tail(&self) -> Result<Option<Position>> {
        self.pass("tail", |memory| now(memory.tail())).await
    }

    async fn watch(&self, after: Option<Position>, timeout: Duration) -> Result<()> {
        self.world().memory.watch(after, timeout).await
    }

    async fn append(&self, id: JobId, notes: &[Note]) -> Result<()> {
        let notes = notes.to_vec();
        self.pass("append", move |memory| now(memory.append(id, &notes))).await
    }

    async fn stats(&self, query: &StatsQuery) -> Result<Stats> {
        let query = query.clone();
        self.pass("stats", move |memory| now(memory.stats(&query))).await
    }

    async fn queue_settings(&self, names: &[QueueName]) -> Result<Vec<QueueSettings>> {
        let names = names.to_vec();
        self.pass("queue_settings", move |memory| now(memory.queue_settings(&names))).await
    }

    async fn configure_queue(
        &self,
        name: &QueueName,
        change: &QueueChange,
    ) -> Result<QueueSettings> {
        let (name, change) = (name.clone(), change.clone());
        self.pass("configure_queue", move |memory| now(memory.configure_queue(&name, &change)))
            .await
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>> {
        self.pass("workers", |memory| now(memory.workers())).await
    }

    async fn stage_blobs(&self, keys: &[BlobKey], ttl: Duration) -> Result<()> {
        let keys = keys.to_vec();
        self.pass("stage_blobs", move |memory| now(memory.stage_blobs(&keys, ttl))).await
    }

    async fn prune(&self, retention: &Retention, limit: u32) -> Result<Pruned> {
        let retention = retention.clone();
        self.pass("prune", move |memory| now(memory.prune(&retention, limit))).await
    }

    async fn blobs_deleted(&self, keys: &[BlobKey]) -> Result<()> {
        let keys = keys.to_vec();
        self.pass("blobs_deleted", move |memory| now(memory.blobs_deleted(&keys))).await
    }
}

#[async_trait]
impl Backend for Faulty {
    fn name(&self) -> &'static str {
        "sim"
    }

    fn capabilities(&self) -> Capabilities {
        self.world().memory.capabilities()
    }

    fn limits(&self) -> &Limits {
        self.world().memory.limits()
    }

    fn storage(&self) -> Arc<dyn Storage> {
        self.world().memory.storage()
    }

    async fn ping(&self) -> Result<()> {
        self.pass("ping", |memory| now(memory.ping())).await
    }

    async fn close(&self) -> Result<()> {
        self.kill();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
