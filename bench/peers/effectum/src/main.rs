//! effectum, a queue on SQLite.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use effectum::{Job, JobRunner, Queue, RunningJob, Worker};
use rusqlite::Connection;
use windlass_bench_contestant::{Contestant, Error, Handler, Payload, Result, Setup, main_of};

/// Jobs at the same time, when tuned: a fetch takes no more than may run, so it may be many, whatever is asked.
const CONCURRENCY: u16 = 1_000;

fn main() -> Result<()> {
    main_of::<Effectum>()
}

/// A context has to be `Debug`.
#[derive(Clone)]
struct Context(Handler);

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Context")
    }
}

async fn noop(job: RunningJob, context: Context) -> Result<(), effectum::Error> {
    context.0.run(job.json_payload()?).await;
    Ok(())
}

#[derive(Clone)]
struct Effectum {
    queue: Arc<Queue>,
    /// To look into its tables, which is otherwise done job by job.
    conn: Arc<Mutex<Connection>>,
    tuned: bool,
}

fn job(payload: &Payload) -> Result<Job> {
    Ok(Job::builder("noop").json_payload(payload)?.build())
}

impl Contestant for Effectum {
    const NAME: &'static str = "effectum";
    const VERSION: &'static str = "0.7.0";
    const BULK: bool = true;
    type Worker = Worker;

    fn configs(_backend: &str) -> &'static [&'static str] {
        &["default", "tuned"]
    }

    async fn open(setup: &Setup) -> Result<Self> {
        let (path, tuned) = (setup.path(), setup.config == "tuned");
        let conn = Connection::open(path)?;
        if tuned {
            // Its own request for WAL is misspelt; the file remembers this one. With its NORMAL, WAL gives up the last commits when the machine
            // fails.
            conn.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        }
        let queue = Arc::new(Queue::new(Path::new(path)).await?);
        Ok(Self { queue, conn: Arc::new(Mutex::new(conn)), tuned })
    }

    async fn enqueue(&self, payload: Payload) -> Result<()> {
        self.queue.add_job(job(&payload)?).await?;
        Ok(())
    }

    async fn enqueue_bulk(&self, payloads: Vec<Payload>) -> Result<()> {
        let jobs = payloads.iter().map(job).collect::<Result<Vec<_>>>()?;
        self.queue.add_jobs(jobs).await?;
        Ok(())
    }

    async fn start(&self, handler: Handler, concurrency: usize) -> Result<Worker> {
        let concurrency = u16::try_from(concurrency)?;
        let runner = JobRunner::builder("noop", noop).build();
        let worker = Worker::builder(&self.queue, Context(handler)).jobs([runner]);
        let worker = if self.tuned {
            let most = concurrency.max(CONCURRENCY);
            // Fetches before the last one ran out.
            worker.max_concurrency(most).min_concurrency(most / 2)
        } else {
            worker.max_concurrency(concurrency)
        };
        Ok(worker.build().await?)
    }

    async fn stop(&self, worker: Worker) -> Result<()> {
        Ok(worker.unregister(None).await?)
    }

    async fn left(&self) -> Result<u64> {
        let conn = self.conn.clone();
        let count = move || {
            let conn = conn.lock().unwrap_or_else(PoisonError::into_inner);
            // What is finished leaves that table.
            let left =
                conn.query_row("SELECT count(*) FROM active_jobs", [], |row| row.get::<_, i64>(0))?;
            Ok::<_, Error>(u64::try_from(left)?)
        };
        tokio::task::spawn_blocking(count).await?
    }
}
