//! A producer process: enqueues jobs of all sorts, and is the operator who cancels some.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use windlass::{Client, Draft, JobId, NewJob, OnConflict, Priority};
use windlass_checker::history::{Answer, What};

use crate::Result;
use crate::history::History;
use crate::jobs::{
    Effect, FEW, Flaky, Hanging, Hopeless, LIMITED, Made, Narrow, Panicky, Parent, Patient, Plain,
    Slow, Snoozer, Unique,
};
use crate::keys::Keys;
use crate::place::{self, Beside, Host};
use crate::task::{self, Task};

/// Calls at once.
const TASKS: u64 = 6;
/// Different unique keys of each mode.
const KEYS: u64 = 3;
/// How often a job whose insert failed is sent again.
const REPEATS: u32 = 3;

struct Producer {
    client: Client,
    host: Host,
    history: History,
    /// Jobs that an operator may want to cancel.
    recent: Mutex<VecDeque<JobId>>,
}

/// Enqueues until told to end.
pub async fn run(task: Task) -> Result<()> {
    task::end_with_parent()?;
    let history = History::begin(&task.histories, &task.name)?;
    let opened = async {
        loop {
            match place::open(&task.url, &history, &Keys::default()).await {
                Ok(opened) => break opened,
                Err(error) => eprintln!("can't open the backend: {error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let (client, host) = tokio::select! {
        opened = opened => opened,
        () = task::orphaned() => return Ok(()),
    };
    // Idempotent, and repeated by the next producer if it fails.
    if let Err(error) = client.resize_queue(LIMITED, FEW).await {
        eprintln!("can't set the concurrency of `{LIMITED}`: {error}");
    }
    let producer = Arc::new(Producer { client, host, history, recent: Mutex::default() });
    for n in 0..TASKS {
        let pause = Duration::from_secs_f64(TASKS as f64 / task.rate.max(0.1));
        let random = fastrand::Rng::with_seed(task.seed.wrapping_mul(TASKS).wrapping_add(n));
        tokio::spawn(produce(producer.clone(), random, pause));
    }
    let random = fastrand::Rng::with_seed(task.seed);
    tokio::select! {
        () = operate(&producer, random) => {}
        () = task::orphaned() => {}
    }
    Ok(())
}

async fn produce(producer: Arc<Producer>, mut random: fastrand::Rng, pause: Duration) {
    loop {
        let made = match random.u8(0..100) {
            0..4 => batch(&mut random),
            4..10 if producer.host.transactional() => {
                let commit = random.u8(0..4) > 0;
                match draft::<Plain>(0, &mut random).into_new_job() {
                    Ok(job) => producer.beside(job, commit).await,
                    Err(error) => eprintln!("no job: {error}"),
                }
                Ok(Vec::new())
            }
            _ => one(&mut random).map(|job| vec![job]),
        };
        match made {
            Ok(jobs) if jobs.is_empty() => {}
            Ok(jobs) => producer.send(jobs, &mut random).await,
            Err(error) => eprintln!("no job: {error}"),
        }
        tokio::time::sleep(pause.mul_f64(0.5 + random.f64())).await;
    }
}

fn batch(random: &mut fastrand::Rng) -> Result<Vec<NewJob>> {
    (0..random.u64(2..15)).map(|_| one(random)).collect()
}

/// A job of some sort.
fn one(random: &mut fastrand::Rng) -> Result<NewJob> {
    let n = random.u64(..);
    let job = match random.u8(0..100) {
        0..26 => draft::<Plain>(n, random).into_new_job(),
        26..40 => unique(n, random).into_new_job(),
        40..45 => draft::<Narrow>(n, random).into_new_job(),
        45..53 => draft::<Flaky>(n, random).into_new_job(),
        53..55 => draft::<Hopeless>(n, random).into_new_job(),
        55..61 => draft::<Snoozer>(n, random).into_new_job(),
        61..69 => draft::<Slow>(n, random).into_new_job(),
        69..72 => draft::<Panicky>(n, random).into_new_job(),
        72..77 => draft::<Patient>(n, random).into_new_job(),
        77..79 => draft::<Hanging>(n, random).into_new_job(),
        79..86 => draft::<Parent>(n, random).into_new_job(),
        _ => draft::<Effect>(n, random).into_new_job(),
    };
    Ok(job?)
}

/// A job, in some queue, with some priority, now or a little later.
fn draft<J: Made>(n: u64, random: &mut fastrand::Rng) -> Draft<J> {
    let draft = J::draft(n);
    let draft = if random.u8(0..10) == 0 { draft.queue(LIMITED) } else { draft };
    let draft = match random.u8(0..10) {
        0 => draft.priority(Priority::HIGH),
        1 => draft.priority(Priority::LOW),
        _ => draft,
    };
    if random.u8(0..6) == 0 {
        draft.delay(Duration::from_millis(random.u64(1..4_000)))
    } else {
        draft
    }
}

fn unique(n: u64, random: &mut fastrand::Rng) -> Draft<Unique> {
    let (mode, key) = (random.u8(0..3), random.u64(0..KEYS));
    let draft = Unique::draft(n).unique_key(format!("{mode}-{key}"));
    // It has its key for a while before it starts.
    let draft = match random.u8(0..3) {
        0 => draft.delay(Duration::from_millis(random.u64(1..3_000))),
        _ => draft,
    };
    let draft = match mode {
        0 => draft.unique_until_started(),
        1 => draft.unique_until_finished(),
        _ => draft.unique_for(Duration::from_millis(700)),
    };
    draft.on_conflict(match random.u8(0..4) {
        0 => OnConflict::Reject,
        1 if mode != 2 => OnConflict::Replace,
        _ => OnConflict::Keep,
    })
}

impl Producer {
    /// Inserts jobs in one call; some that failed are sent again, as they are.
    async fn send(&self, jobs: Vec<NewJob>, random: &mut fastrand::Rng) {
        for again in 0..=REPEATS {
            if self.client.insert(jobs.clone()).await.is_ok() {
                for job in &jobs {
                    self.remember(job.id).await;
                }
                return;
            }
            if again == REPEATS || random.bool() {
                return;
            }
        }
    }

    /// Inserts a job beside a row of the host's.
    async fn beside(&self, job: NewJob, commit: bool) {
        let id = job.id;
        self.history.record(What::sent(&job, true));
        let what = match self.host.insert(job, commit).await {
            Ok(Beside::Committed(inserted)) => {
                What::Acked { job: id, answer: Answer::of(id, &inserted) }
            }
            Ok(Beside::RolledBack) => What::RolledBack { job: id },
            Err(error) => What::Failed { job: id, error: error.to_string() },
        };
        self.history.record(what);
    }

    async fn remember(&self, job: JobId) {
        let mut recent = self.recent.lock().await;
        recent.push_back(job);
        if recent.len() > 40 {
            recent.pop_front();
        }
    }
}

/// Cancels a job now and then, or runs one that was cancelled again.
async fn operate(producer: &Producer, mut random: fastrand::Rng) {
    let mut cancelled = Vec::new();
    loop {
        tokio::time::sleep(Duration::from_millis(random.u64(100..600))).await;
        let Some(job) = producer.recent.lock().await.pop_front() else { continue };
        // What is asked and answered is written down at the seam.
        answered(job, producer.client.cancel(job).await);
        cancelled.push(job);
        if cancelled.len() > 8 {
            let job = cancelled.swap_remove(random.usize(..cancelled.len()));
            answered(job, producer.client.retry_unless_completed(job).await);
            cancelled.clear();
        }
    }
}

fn answered(job: JobId, changed: windlass::Result<bool>) {
    if let Err(error) = changed {
        eprintln!("no answer on job {job}: {error}");
    }
}
