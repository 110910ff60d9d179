//! The jobs: one kind for each way in which an attempt can go.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use windlass::{Context, Draft, Job, JobId, LeaseKey, LogLevel, Outcome, Stop, Worker};
use windlass_checker::Limit;
use windlass_checker::history::What;

use crate::history::History;
use crate::keys::Keys;
use crate::place::Host;

/// The queue of which each worker runs [`FEW`] jobs at once, by a setting of the queue.
pub const LIMITED: &str = "limited";
/// How many jobs of [`LIMITED`] a worker runs at once.
pub const FEW: u32 = 2;
/// How many jobs of the other queue a worker runs at once.
pub const MANY: u32 = 12;

/// A job whose args say for which job they were made: what a handler is given is compared with that.
pub trait Made: Job {
    /// Made for a job.
    fn new(n: u64, of: JobId) -> Self;

    /// The job for which it was made; none by an earlier build.
    fn of(&self) -> Option<JobId>;

    /// A job of this kind, made for itself.
    fn draft(n: u64) -> Draft<Self> {
        let id = JobId::new();
        Draft::new(Self::new(n, id)).id(id)
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident, $kind:tt, $attempts:tt $(, $option:ident = $value:tt)*;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Job, Serialize, Deserialize)]
        #[job(kind = $kind, max_attempts = $attempts, backoff(base = "50ms", max = "1s") $(, $option = $value)*)]
        pub struct $name {
            /// Tells jobs apart.
            pub n: u64,
            /// The job for which these args were made.
            #[serde(default)]
            pub of: Option<JobId>,
        }

        impl Made for $name {
            fn new(n: u64, of: JobId) -> Self {
                Self { n, of: Some(of) }
            }

            fn of(&self) -> Option<JobId> {
                self.of
            }
        }
    )+};
}

kinds! {
    /// Succeeds.
    Plain, "plain", 40;
    /// Fails now and then; has a unique key.
    Unique, "unique", 40;
    /// Each worker runs one at once.
    Narrow, "narrow", 40;
    /// Fails now and then.
    Flaky, "flaky", 40;
    /// Fails until it is discarded.
    Hopeless, "hopeless", 2;
    /// Snoozes now and then.
    Snoozer, "snoozer", 40;
    /// Takes longer than a heartbeat, or than the lease.
    Slow, "slow", 40;
    /// Panics now and then.
    Panicky, "panicky", 40;
    /// Waits to be cancelled, for a while.
    Patient, "patient", 40;
    /// Hangs past its deadline.
    Hanging, "hanging", 2, timeout = "1s";
    /// Has follow-up jobs.
    Parent, "parent", 40;
    /// Completes in a transaction of the host's, with an effect.
    Effect, "effect", 40;
}

/// What each worker may run at once.
pub fn limits() -> Vec<Limit> {
    let limit = |name: &str, of_kind, built, set| {
        let name = name.to_owned();
        Limit { name, of_kind, built, set }
    };
    vec![
        limit("default", false, MANY, None),
        limit(LIMITED, false, 2 * FEW, Some(FEW)),
        limit("narrow", true, 1, None),
    ]
}

/// What handlers share.
#[derive(Debug, Clone)]
pub struct App {
    /// Where they write down what they do.
    pub history: History,
    /// The keys of what was claimed.
    pub keys: Keys,
    /// The host's side of the database.
    pub host: Arc<Host>,
}

/// A handler at work: its end is written down, also when it is dropped.
struct Run {
    history: History,
    key: LeaseKey,
    dropped: bool,
}

impl Run {
    fn begin(job: &impl Made, cx: &Context<App>) -> Outcome<Self> {
        let app = cx.state();
        let Some(key) = app.keys.begin(cx.job_id()) else {
            app.history.record(What::Unclaimed { job: cx.job_id() });
            return Err("the job runs without a claim".into());
        };
        let (kind, queue) = (cx.kind().to_string(), cx.queue().to_string());
        app.history.record(What::Begun { key, kind, queue, attempt: cx.attempt() });
        if let Some(of) = job.of() {
            app.history.record(What::Args { key, of });
        }
        app.history.record(What::Effect { key });
        Ok(Self { history: app.history.clone(), key, dropped: true })
    }

    fn end<T>(mut self, outcome: Outcome<T>) -> Outcome<T> {
        self.dropped = false;
        outcome
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.history.record(What::Ended { key: self.key, dropped: self.dropped });
    }
}

async fn pause(from: u64, to: u64) {
    tokio::time::sleep(Duration::from_millis(fastrand::u64(from..to))).await;
}

async fn plain(job: Plain, cx: Context<App>) -> Outcome {
    let run = Run::begin(&job, &cx)?;
    pause(0, 5).await;
    run.end(Ok(()))
}

async fn unique(job: Unique, cx: Context<App>) -> Outcome {
    let run = Run::begin(&job, &cx)?;
    pause(5, 400).await;
    // One that has let go of its key at its start must leave it to whoever has it by the next one.
    run.end(match fastrand::u8(0..3) {
        0 => Err(Stop::retry_after(Duration::from_millis(fastrand::u64(0..1_000)), "it failed")),
        _ => Ok(()),
    })
}

async fn narrow(job: Narrow, cx: Context<App>) -> Outcome {
    let run = Run::begin(&job, &cx)?;
    pause(5, 60).await;
    run.end(Ok(()))
}

async fn flaky(job: Flaky, cx: Context<App>) -> Outcome {
    let run = Run::begin(&job, &cx)?;
    cx.log(LogLevel::Info, "about to fail, or not");
    pause(0, 20).await;
    run.end(match fastrand::u8(0..4) {
        0 => Err("it failed".into()),
        1 => Err(Stop::retry_after(Duration::from_millis(fastrand::u64(0..500)), "it failed")),
        _ => Ok(()),
    })
}

async fn hopeless(job: Hopeless, cx: Context<App>) -> Outcome {
    let run = Run::begin(&job, &cx)?;
    pause(0, 20).await;
    run.end(Err("it always fails".into()))
}

async fn snoozer(job: Snoozer, cx: Context<App>) -> Outcome {
    let run = Run::begin(&job, &cx)?;
    pause(0, 20).await;
    run.end(match fastrand::bool() {
        true => Err(Stop::snooze(Duration::from_millis(fastrand::u64(1..800)))),
        false => Ok(()),
    })
}

async fn slow(job: Slow, cx: Context<App>) -> Outcome {
    let run = Run::begin(&job, &cx)?;
    let steps = fastrand::u64(5..25);
    for step in 0..steps {
        cx.progress((step, steps));
        pause(150, 250).await;
    }
    run.end(Ok(()))
}

async fn panicky(job: Panicky, cx: Context<App>) -> Outcome {
    let run = Run::begin(&job, &cx)?;
    pause(0, 20).await;
    if fastrand::u8(0..3) == 0 {
        let _: Outcome = run.end(Ok(()));
        panic!("as it does now and then");
    }
    run.end(Ok(()))
}

async fn patient(job: Patient, cx: Context<App>) -> Outcome {
    let run = Run::begin(&job, &cx)?;
    tokio::select! {
        _ = cx.cancelled() => run.end(Err("told to end".into())),
        () = pause(500, 2_500) => run.end(Ok(())),
    }
}

async fn hanging(job: Hanging, cx: Context<App>) -> Outcome {
    let run = Run::begin(&job, &cx)?;
    tokio::time::sleep(Duration::from_secs(60)).await;
    run.end(Ok(()))
}

async fn parent(job: Parent, cx: Context<App>) -> Outcome {
    let run = Run::begin(&job, &cx)?;
    for n in 0..1 + job.n % 2 {
        if let Err(error) = cx.follow_up(Plain::draft(n)).await {
            return run.end(Err(error.into()));
        }
    }
    pause(0, 20).await;
    run.end(Ok(()))
}

async fn effect(job: Effect, cx: Context<App>) -> Outcome {
    let run = Run::begin(&job, &cx)?;
    // Some last long enough for the lease to be lost before the end.
    pause(0, if job.n.is_multiple_of(3) { 3_000 } else { 10 }).await;
    let app = cx.state();
    let done = app.host.complete(&cx, run.key, &app.history).await;
    if done.is_ok() && app.host.transactional() {
        app.keys.settled(run.key);
    }
    run.end(done.map_err(Stop::from))
}

/// A worker that knows all kinds.
pub fn worker(worker: Worker, app: App) -> Worker<App> {
    let worker = worker.state(app).queue("default", MANY).queue(LIMITED, 2 * FEW);
    let worker = worker.register(plain).register(unique).register(narrow).register(flaky);
    let worker = worker.register(hopeless).register(snoozer).register(slow).register(panicky);
    let worker = worker.register(patient).register(hanging).register(parent).register(effect);
    worker.kind_concurrency::<Narrow>(1)
}
