//! A producer process: enqueues jobs of all sorts, and is the operator who cancels some.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use windlass::{Client, Draft, Inserted, Job, JobId, NewJob, OnConflict, Priority, UniqueUntil};

use crate::history::{Answer, Held, History, Until, What};
use crate::jobs::{
    Effect, FEW, Flaky, Hanging, Hopeless, LIMITED, Narrow, Panicky, Parent, Patient, Plain, Slow,
    Snoozer, Unique,
};
use crate::keys::Keys;
use crate::place::{self, Beside, Host};
use crate::task::{self, Task};
use crate::{Error, Result};

/// Calls at once.
const TASKS: u64 = 6;
/// Different unique keys of each mode.
const KEYS: u64 = 5;
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
                match draft(Plain { n: 0 }, &mut random).into_new_job() {
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
        0..26 => draft(Plain { n }, random).into_new_job(),
        26..40 => unique(n, random).into_new_job(),
        40..45 => draft(Narrow { n }, random).into_new_job(),
        45..53 => draft(Flaky { n }, random).into_new_job(),
        53..55 => draft(Hopeless { n }, random).into_new_job(),
        55..61 => draft(Snoozer { n }, random).into_new_job(),
        61..69 => draft(Slow { n }, random).into_new_job(),
        69..72 => draft(Panicky { n }, random).into_new_job(),
        72..77 => draft(Patient { n }, random).into_new_job(),
        77..79 => draft(Hanging { n }, random).into_new_job(),
        79..86 => draft(Parent { n }, random).into_new_job(),
        _ => draft(Effect { n }, random).into_new_job(),
    };
    Ok(job?)
}

/// A job, in some queue, with some priority, now or a little later.
fn draft<J: Job>(job: J, random: &mut fastrand::Rng) -> Draft<J> {
    let draft = Draft::new(job);
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
    let draft = Draft::new(Unique { n }).unique_key(format!("{mode}-{key}"));
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

fn sent(job: &NewJob, with_row: bool) -> What {
    let unique = job.unique.as_ref().map(|rule| Held {
        key: rule.key.as_str().to_owned(),
        until: match rule.until {
            UniqueUntil::Started => Until::Started,
            UniqueUntil::Finished => Until::Finished,
            UniqueUntil::For(window) => Until::For(millis(window)),
        },
    });
    let delay = match job.start {
        windlass::Start::In(delay) => millis(delay),
        _ => 0,
    };
    let (kind, queue) = (job.kind.to_string(), job.queue.to_string());
    What::Sent { job: job.id, kind, queue, unique, delay, with_row }
}

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

fn answer(job: JobId, inserted: &Inserted) -> Answer {
    match *inserted {
        // A sending before this one was applied.
        Inserted::Duplicate { existing } if existing == job => Answer::New,
        Inserted::Duplicate { existing } => Answer::Duplicate(existing),
        Inserted::Replaced { existing } => Answer::Replaced(existing),
        Inserted::Rejected { existing } => Answer::Rejected(existing),
        Inserted::New(_) => Answer::New,
    }
}

impl Producer {
    /// Inserts jobs in one call; some that failed are sent again, as they are.
    async fn send(&self, jobs: Vec<NewJob>, random: &mut fastrand::Rng) {
        jobs.iter().for_each(|job| self.history.record(sent(job, false)));
        for again in 0..=REPEATS {
            match self.client.insert(jobs.clone()).await {
                Ok(answers) => {
                    for (job, inserted) in jobs.iter().zip(&answers) {
                        let answer = answer(job.id, inserted);
                        self.history.record(What::Acked { job: job.id, answer });
                        self.remember(job.id).await;
                    }
                    return;
                }
                Err(error) => {
                    let error = Error::from(error).to_string();
                    for job in &jobs {
                        self.history.record(What::Failed { job: job.id, error: error.clone() });
                    }
                    if again == REPEATS || random.bool() {
                        return;
                    }
                }
            }
        }
    }

    /// Inserts a job beside a row of the host's.
    async fn beside(&self, job: NewJob, commit: bool) {
        let id = job.id;
        self.history.record(sent(&job, true));
        let what = match self.host.insert(job, commit).await {
            Ok(Beside::Committed(inserted)) => {
                What::Acked { job: id, answer: answer(id, &inserted) }
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
        producer.history.record(What::Cancelling { job });
        let changed = producer.client.cancel(job).await;
        answered(producer, job, changed);
        cancelled.push(job);
        if cancelled.len() > 8 {
            let job = cancelled.swap_remove(random.usize(..cancelled.len()));
            producer.history.record(What::Retrying { job });
            let changed = producer.client.retry_unless_completed(job).await;
            answered(producer, job, changed);
            cancelled.clear();
        }
    }
}

fn answered(producer: &Producer, job: JobId, changed: windlass::Result<bool>) {
    match changed {
        Ok(changed) => producer.history.record(What::Changed { job, changed }),
        Err(error) => eprintln!("no answer on job {job}: {error}"),
    }
}
