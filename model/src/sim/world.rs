//! The simulated world: the store, the source of chance, the checker, and the order of a run.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, sleep};
use windlass_core::{JobFilter, JobQuery, JobRecord, MemoryBackend, Position, QueueChange, Store};

use super::chaos;
use super::checker::Checker;
use super::mistake::Mistake;
use super::people;
use super::process::Process;
use super::trace::Trace;
use super::{Faulty, Report};

/// The lease of a worker in here.
pub(super) const LEASE: Duration = Duration::from_secs(10);
/// Between two heartbeats.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(3);
/// How long a handler may go on past its deadline.
pub(super) const GRACE: Duration = Duration::from_secs(2);
/// The longest time between two sweeps of one worker.
pub(super) const SWEEP: Duration = Duration::from_secs(1);
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
    /// No trouble but processes that die one at a time, so that somebody is there to take up their jobs.
    pub deaths_only: bool,
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
            deaths_only: false,
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
        if let Some(mistake) = self.mistake {
            text += &format!(" --mistake {mistake:?}");
        }
        text + " --trace"
    }

    /// The longest time from the death of a process to the rescue of its jobs: lease, grace and one sweep.
    pub const RECOVERY: Duration =
        Duration::from_secs(LEASE.as_secs() + GRACE.as_secs() + SWEEP.as_secs());
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) rng: fastrand::Rng,
    pub(super) checker: Checker,
    pub(super) trace: Trace,
    seen: Option<Position>,
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
            checker: Checker::default(),
            trace: Trace::new(plan.trace),
            seen: None,
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
        !self.lock().checker.broken.is_empty()
    }

    pub(super) fn chance<T>(&self, draw: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        draw(&mut self.lock().rng)
    }

    pub(super) fn line(&self, text: &str) {
        let at = self.begun.elapsed();
        self.lock().trace.line(at, text);
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

    /// Does one step on the store and shows the checker what came of it.
    pub(super) fn step<T>(
        &self,
        name: &str,
        call: impl FnOnce(&MemoryBackend) -> T,
        told: impl FnOnce(&mut Checker, &T),
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
            }
            inner.checker.events(name, &page.events);
            inner.seen = page.next;
            if !page.more {
                break;
            }
        }
        told(&mut inner.checker, &answer);
        inner.checker.step_over(name);
        answer
    }

    /// From the first job to the last word.
    pub(super) async fn live(self: &Arc<Self>) {
        let mut processes: Vec<_> =
            (0..self.chance(|rng| rng.usize(2..=3))).map(|n| Process::new(self, n)).collect();
        let producers: Vec<_> =
            (0..2).map(|n| tokio::spawn(people::produce(self.clone(), n))).collect();
        let operator = tokio::spawn(people::operate(self.clone()));
        chaos::reign(self, &mut processes).await;
        self.line("healed");
        self.healed.store(true, Ordering::Relaxed);
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
        sleep(LEASE + GRACE + SWEEP + SLACK).await;
        let stuck = self.stuck().await;
        self.lock().checker.recovered(&stuck);
        let end = Instant::now() + DRAIN;
        while Instant::now() < end && !self.is_broken() && !self.is_drained().await {
            sleep(Duration::from_secs(1)).await;
        }
        let left = self.jobs(JobFilter::default()).await;
        self.lock().checker.drained(&left);
        for process in processes {
            process.stop().await;
        }
        self.line("the end");
    }

    async fn is_drained(&self) -> bool {
        self.jobs(JobFilter::default()).await.iter().all(|job| job.state.is_final())
    }

    /// Jobs that run under workers without a lease.
    async fn stuck(&self) -> Vec<JobRecord> {
        let now = self.memory.now();
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

    /// A handle for one process or person.
    pub(super) fn handle(self: &Arc<Self>, name: String) -> Arc<Faulty> {
        Arc::new(Faulty::new(self.clone(), name))
    }

    pub(super) fn report(&self) -> Report {
        let inner = self.lock();
        Report {
            seed: self.plan.seed,
            command: self.plan.command(),
            simulated: self.begun.elapsed(),
            hash: inner.trace.hash,
            figures: inner.checker.figures.clone(),
            broken: inner.checker.broken.clone(),
        }
    }
}
