//! The simulated world: the store, the source of chance, the checker, and the order of a run.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, sleep};
use windlass_checker::history::{Entry, What, micros};
use windlass_checker::{Change, Evidence, FinalJob, Findings, Promises, Told, UndoneBy, check};
use windlass_core::{
    Event, JobFilter, JobQuery, JobRecord, MAINTENANCE_MAX, MemoryBackend, Position, QueueChange,
    Store,
};

use super::Report;
use super::chaos;
use super::faulty::LATEST;
use super::inside::Inside;
use super::mistake::Mistake;
use super::people;
use super::process::{self, Process};
use super::trace::Trace;

/// The lease of a worker in here.
pub(super) const LEASE: Duration = Duration::from_secs(10);
/// Between two heartbeats.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(3);
/// How long a handler may go on past its deadline.
pub(super) const GRACE: Duration = Duration::from_secs(2);
/// In this time all workers together sweep about once.
pub(super) const SWEEP: Duration = Duration::from_secs(1);
/// The longest time between two sweeps of one worker: the more there are, the longer each rests, and it may be the last of them.
const LONGEST_SWEEP: Duration = MAINTENANCE_MAX;
/// How long a process waits for the answer to a call.
pub(super) const CALL: Duration = Duration::from_secs(4);
/// For what a call takes after all has healed.
const SLACK: Duration = Duration::from_secs(1);
/// Far longer than any drain takes; what is not final by then never will be.
const DRAIN: Duration = Duration::from_secs(3_600);

/// What a run is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Decides everything that chance decides.
    pub seed: u64,
    /// Whether the lines of the trace are printed.
    pub trace: bool,
    /// A guard that is broken on purpose.
    pub mistake: Option<Mistake>,
    /// For how long there are faults.
    pub trouble: Duration,
    /// Jobs that the producers send, about.
    pub jobs: u32,
    /// Faults per 1,000 calls, of each sort.
    pub per_mille: u32,
    /// Whether hints can be relied on, by what the backend says: workers poll rarely then.
    pub hears: bool,
    /// No trouble but processes that die one at a time, so that somebody is there to take up their jobs.
    pub deaths_only: bool,
    /// Without the inside checks: what the participants write down must be enough.
    pub outside_only: bool,
}

impl Plan {
    /// The plan of a seed: how much trouble there is, and for how long, follows from it.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed ^ 0x5eed);
        Self {
            seed,
            trace: false,
            mistake: None,
            trouble: Duration::from_secs(rng.u64(30..180)),
            jobs: rng.u32(10..60),
            per_mille: rng.choice([0, 5, 20, 60]).unwrap_or(20),
            hears: seed % 2 == 1,
            deaths_only: false,
            outside_only: false,
        }
    }

    /// The plan of a seed with nothing but single deaths: every job must be taken up within [`RECOVERY`](Self::RECOVERY).
    #[must_use]
    pub fn deaths_only(seed: u64) -> Self {
        Self { per_mille: 0, deaths_only: true, ..Self::of(seed) }
    }

    /// What runs this very plan again, with its trace.
    #[must_use]
    pub fn command(&self) -> String {
        let mut text = format!("cargo run -p windlass-model -- --seed {}", self.seed);
        let usual =
            if self.deaths_only { Self::deaths_only(self.seed) } else { Self::of(self.seed) };
        if self.deaths_only {
            text += " --deaths-only";
        }
        if self.per_mille != usual.per_mille {
            text += &format!(" --per-mille {}", self.per_mille);
        }
        if self.outside_only {
            text += " --outside-only";
        }
        if let Some(mistake) = self.mistake {
            text += &format!(" --mistake {mistake:?}");
        }
        text + " --trace"
    }

    /// The longest time from the death of a process to the rescue of its jobs: lease, grace and the longest sweep.
    pub const RECOVERY: Duration =
        Duration::from_secs(LEASE.as_secs() + GRACE.as_secs() + LONGEST_SWEEP.as_secs());
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) rng: fastrand::Rng,
    pub(super) inside: Inside,
    pub(super) trace: Trace,
    seen: Option<Position>,
    /// What everybody wrote down, and a reader of the feed was told.
    entries: Vec<Entry>,
    told: Vec<Told>,
    faults: u32,
    runs: u64,
    jobs: u128,
}

/// All there is in a run.
#[derive(Debug)]
pub struct World {
    pub(super) memory: MemoryBackend,
    pub(super) plan: Plan,
    pub(super) begun: Instant,
    healed: AtomicBool,
    inner: Mutex<Inner>,
}

impl World {
    pub(super) fn new(plan: &Plan) -> Self {
        let inner = Inner {
            rng: fastrand::Rng::with_seed(plan.seed),
            inside: Inside::new(plan.outside_only),
            trace: Trace::new(plan.trace),
            seen: None,
            entries: Vec::new(),
            told: Vec::new(),
            faults: 0,
            runs: 0,
            jobs: u128::from(plan.seed) << 64,
        };
        Self {
            memory: MemoryBackend::with_tokio_clock(),
            plan: plan.clone(),
            begun: Instant::now(),
            healed: AtomicBool::new(false),
            inner: Mutex::new(inner),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_healed(&self) -> bool {
        self.healed.load(Ordering::Relaxed)
    }

    pub(super) fn is_broken(&self) -> bool {
        !self.lock().inside.broken.is_empty()
    }

    pub(super) fn chance<T>(&self, draw: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        draw(&mut self.lock().rng)
    }

    /// Tokio runs what is ready in the order in which it was woken. Here chance draws who of those goes first.
    pub(super) async fn turn(&self) {
        // Mostly none: each takes time, and two orders come of a few as well.
        for _ in 0..self.chance(|rng| rng.u8(0..8)).saturating_sub(4) {
            tokio::task::yield_now().await;
        }
    }

    /// Waits so long, and then for its turn among those that are ready at the same moment.
    pub(super) async fn rest(&self, time: Duration) {
        sleep(time).await;
        self.turn().await;
    }

    pub(super) fn line(&self, text: &str) {
        let at = self.begun.elapsed();
        self.lock().trace.line(at, text);
    }

    /// Now, in the unit of the histories. No two of their entries are of one moment: their order is known.
    pub(super) fn now(&self) -> u64 {
        let now = micros(self.begun.elapsed());
        now.max(self.lock().entries.last().map_or(0, |last| last.t))
    }

    /// Somebody writes down what happened.
    pub(super) fn record(&self, process: &str, what: What) {
        let now = micros(self.begun.elapsed());
        let mut inner = self.lock();
        let t = now.max(inner.entries.last().map_or(0, |last| last.t + 1));
        inner.entries.push(Entry { t, process: process.to_owned(), what });
    }

    /// Writes down a fault that begins, and answers its number.
    fn fault_begins(&self, kind: &str, victim: Option<&str>) -> u32 {
        let mut inner = self.lock();
        inner.faults += 1;
        let number = inner.faults;
        drop(inner);
        let (kind, victim) = (kind.to_owned(), victim.map(str::to_owned));
        self.record("conductor", What::Fault { number, kind, victim });
        number
    }

    /// A fault that is over at once.
    pub(super) fn fault(&self, kind: &str, victim: Option<&str>, strike: impl FnOnce()) {
        let number = self.fault_begins(kind, victim);
        strike();
        self.record("conductor", What::Healed { number, count: 1 });
    }

    /// A number for the next job, in order.
    pub(super) fn next_job(&self) -> u128 {
        let mut inner = self.lock();
        inner.jobs += 1;
        inner.jobs
    }

    /// A number for the next run of a handler.
    pub(super) fn next_run(&self) -> u64 {
        let mut inner = self.lock();
        inner.runs += 1;
        inner.runs
    }

    /// Does one step on the store, and looks at what came of it.
    pub(super) fn step<T>(
        &self,
        name: &str,
        call: impl FnOnce(&MemoryBackend) -> T,
        told: impl FnOnce(&mut Inside, &T),
    ) -> T {
        let answer = call(&self.memory);
        let at = self.begun.elapsed();
        let mut inner = self.lock();
        let inner = &mut *inner;
        loop {
            let Some(Ok(page)) =
                self.memory.events(&Default::default(), inner.seen, 1_000).now_or_never()
            else {
                break;
            };
            for event in &page.events {
                let job = inner.trace.name('j', event.job.as_uuid());
                if let windlass_core::EventBody::State {
                    from, to, attempt, cause, worker, ..
                } = &event.body
                {
                    let worker = worker.map(|w| inner.trace.name('w', w.as_uuid()));
                    let text =
                        format!("{job} {from:?} -> {to:?} {cause:?} attempt {attempt} {worker:?}");
                    inner.trace.line(at, &text);
                }
                if let Some(change) = Change::of(&event.body) {
                    inner.told.push(Told { t: micros(at), job: event.job, change });
                }
            }
            inner.inside.events(name, &page.events);
            inner.seen = page.next;
            if !page.more {
                break;
            }
        }
        told(&mut inner.inside, &answer);
        inner.inside.step_over(name);
        answer
    }

    /// From the first job to the last word.
    pub(super) async fn live(self: &Arc<Self>) -> Evidence {
        // Requests are late, lost and doubled all along, so one fault stands for all of that.
        let network = (!self.plan.deaths_only).then(|| self.fault_begins("network troubled", None));
        let mut processes: Vec<_> =
            (0..self.chance(|rng| rng.usize(2..=3))).map(|n| Process::new(self, n)).collect();
        let producers: Vec<_> =
            (0..2).map(|n| tokio::spawn(people::produce(self.clone(), n))).collect();
        let operator = tokio::spawn(people::operate(self.clone()));
        chaos::reign(self, &mut processes).await;
        self.line("healed");
        self.healed.store(true, Ordering::Relaxed);
        if let Some(number) = network {
            self.record("conductor", What::Healed { number, count: 1 });
        }
        for process in &mut processes {
            process.ensure(self);
        }
        for queue in people::queues() {
            let change = QueueChange::default().paused(false);
            let _ = self.memory.configure_queue(&queue, &change).await;
        }
        for person in producers.into_iter().chain([operator]) {
            if let Err(error) = person.await
                && error.is_panic()
            {
                std::panic::resume_unwind(error.into_panic());
            }
        }
        self.rest(Plan::RECOVERY + SLACK).await;
        let stuck = self.stuck().await;
        self.lock().inside.recovered(&stuck);
        let end = Instant::now() + DRAIN;
        while Instant::now() < end && !self.is_broken() && !self.is_drained().await {
            self.rest(Duration::from_secs(1)).await;
        }
        let evidence = self.evidence().await;
        for process in processes {
            process.stop().await;
        }
        self.line("the end");
        evidence
    }

    /// All that was written down, and what is in the store.
    async fn evidence(&self) -> Evidence {
        let mut jobs = Vec::new();
        for job in self.jobs(JobFilter::default()).await {
            let events = self.history(&job).await;
            let changes = events.iter().filter_map(|event| Change::of(&event.body)).collect();
            jobs.push(FinalJob::of(&job, changes));
        }
        let promises = Promises {
            undone_by: UndoneBy::Nothing,
            inserts: true,
            one_writer: false,
            transactional: false,
            busy: false,
            lease: micros(LEASE),
            recovery: micros(Plan::RECOVERY + SLACK),
            // A heartbeat that comes so late still makes a lease longer.
            call: micros(LATEST),
        };
        let mut inner = self.lock();
        let (entries, told) = (std::mem::take(&mut inner.entries), std::mem::take(&mut inner.told));
        let mut evidence = Evidence::new(entries, jobs, promises);
        (evidence.told, evidence.limits) = (Some(told), process::limits());
        evidence
    }

    async fn history(&self, job: &JobRecord) -> Vec<Event> {
        let (mut events, mut after) = (Vec::new(), None);
        while let Ok(page) = self.memory.history(job.id, after, 1_000).await {
            events.extend(page.events);
            after = page.next;
            if !page.more {
                break;
            }
        }
        events
    }

    async fn is_drained(&self) -> bool {
        self.jobs(JobFilter::default()).await.iter().all(|job| job.state.is_final())
    }

    /// Jobs that run under workers without a lease. One that a late heartbeat made longer may have ended only now.
    async fn stuck(&self) -> Vec<JobRecord> {
        let now = self.memory.now().saturating_sub(GRACE + LONGEST_SWEEP + SLACK);
        let now = now.unwrap_or(self.memory.now());
        let workers = self.memory.workers().await.unwrap_or_default();
        let alive = |job: &JobRecord| {
            workers.iter().any(|w| Some(w.id) == job.worker && w.expires_at > now)
        };
        let running = self.jobs(JobFilter::default().states([windlass_core::State::Running])).await;
        running.into_iter().filter(|job| !alive(job)).collect()
    }

    async fn jobs(&self, filter: JobFilter) -> Vec<JobRecord> {
        let query = JobQuery::from(filter).oldest_first().limit(10_000);
        self.memory.list(&query).await.map(|page| page.items).unwrap_or_default()
    }

    pub(super) fn report(&self, evidence: &Evidence) -> Report {
        let inner = self.lock();
        let mut broken = inner.inside.broken.clone();
        let mut findings = Findings::default();
        // A run that was found wrong from inside ends early: what is open then is no evidence.
        if broken.is_empty() {
            findings = check(evidence);
            broken.extend(findings.violations.iter().map(ToString::to_string));
        }
        let mut figures = inner.inside.figures.clone();
        (figures.runs, figures.overlaps) = (findings.figures.runs, findings.figures.overlaps);
        Report {
            seed: self.plan.seed,
            command: self.plan.command(),
            simulated: self.begun.elapsed(),
            hash: inner.trace.hash,
            figures,
            findings,
            broken,
        }
    }
}
