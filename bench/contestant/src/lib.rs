//! What every system under test is measured by.
//!
//! A contestant is a program of its own, so that its dependencies, its memory and its processor time are its own. It implements
//! [`Contestant`] and leaves the rest to [`main_of`]:
//!
//! ```no_run
//! use windlass_bench_contestant::{Contestant, Handler, Payload, Result, Setup, main_of};
//!
//! #[derive(Clone)]
//! struct Mine;
//!
//! impl Contestant for Mine {
//!     const NAME: &'static str = "mine";
//!     type Worker = ();
//!
//!     async fn open(setup: &Setup) -> Result<Self> {
//!         // Connect to `setup.url`, make the schema if it isn't there, and heed `setup.config`.
//!         Ok(Self)
//!     }
//!     async fn enqueue(&self, payload: Payload) -> Result<()> {
//!         Ok(()) // Done when the job is durable.
//!     }
//!     async fn start(&self, handler: Handler, concurrency: usize) -> Result<()> {
//!         Ok(()) // Each job calls `handler.run(payload).await`.
//!     }
//!     async fn stop(&self, worker: ()) -> Result<()> {
//!         Ok(())
//!     }
//!     async fn left(&self) -> Result<u64> {
//!         Ok(0) // How many jobs the store holds that aren't done.
//!     }
//! }
//!
//! fn main() -> Result<()> {
//!     main_of::<Mine>()
//! }
//! ```
//!
//! # Protocol
//!
//! A contestant in another language speaks the same:
//!
//! - `NAME describe --backend BACKEND` prints [`Description`] as one line of JSON.
//! - `NAME run --url URL --config CONFIG --workload WORKLOAD …` (see [`Run`]) does one workload on that database. It prints the line `begin` where
//!   the measured part begins and the line `end` where it ends. After each it reads a line from its standard input before it goes on: meanwhile the
//!   bench program reads what the process and the server have used. The last line is [`Figures`] as JSON.
//! - A failure is a non-zero exit code, with the cause on the standard error.
#![forbid(unsafe_code)]

mod command;
mod handler;
mod histogram;
mod payload;
mod workload;

use std::future::Future;

use serde::{Deserialize, Serialize};

pub use command::{Run, Workload, main_of};
pub use handler::Handler;
pub use payload::{Payload, micros};

/// Any error.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// An answer, or any error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a contestant is opened on.
#[derive(Clone, Debug)]
pub struct Setup {
    /// `sqlite:PATH`, `postgres://…` or `redis://…`.
    pub url: String,
    /// One of [`Contestant::configs`].
    pub config: String,
    /// Over how many queues jobs are spread, by their number. 1, unless the contestant has [`Contestant::QUEUES`].
    pub queues: u64,
    /// How many jobs run at the same time; 0 where none do.
    pub concurrency: usize,
}

impl Setup {
    /// `sqlite`, `postgres` or `redis`.
    pub fn backend(&self) -> &str {
        self.url.split_once(':').map_or(self.url.as_str(), |(scheme, _)| scheme)
    }

    /// The path of the file, where the URL is SQLite's.
    pub fn path(&self) -> &str {
        self.url.strip_prefix("sqlite:").unwrap_or(&self.url)
    }
}

/// A job queue under test.
pub trait Contestant: Clone + Send + Sync + 'static {
    /// Its name, as in the tables.
    const NAME: &'static str;
    /// Its version; empty for what is part of this repository.
    const VERSION: &'static str = "";
    /// Whether it has an enqueue of many jobs at once.
    const BULK: bool = false;
    /// Whether it can spread jobs over [`Setup::queues`].
    const QUEUES: bool = false;
    /// What runs jobs until it is stopped.
    type Worker: Send;

    /// Its configurations: `default` is as it comes; `tuned` is the best that its documentation tells of.
    fn configs(_backend: &str) -> &'static [&'static str] {
        &["default"]
    }

    /// The largest backlog that it survives in a configuration, where that is known to be small.
    fn largest_backlog(_backend: &str, _config: &str) -> Option<u64> {
        None
    }

    /// Connects, and makes the schema where there is none. It is called many times on the same database, but never twice at the same time.
    fn open(setup: &Setup) -> impl Future<Output = Result<Self>> + Send;

    /// Enqueues one job. It is durable when this ends.
    fn enqueue(&self, payload: Payload) -> impl Future<Output = Result<()>> + Send;

    /// Enqueues many jobs at once.
    fn enqueue_bulk(&self, payloads: Vec<Payload>) -> impl Future<Output = Result<()>> + Send {
        async move {
            for payload in payloads {
                self.enqueue(payload).await?;
            }
            Ok(())
        }
    }

    /// Starts a worker that gives each job to `handler`, and runs up to `concurrency` at the same time.
    fn start(
        &self,
        handler: Handler,
        concurrency: usize,
    ) -> impl Future<Output = Result<Self::Worker>> + Send;

    /// Stops a worker, and waits until it has.
    fn stop(&self, worker: Self::Worker) -> impl Future<Output = Result<()>> + Send;

    /// Does what a configuration puts off until later, once a drain has run all jobs: deletes what it doesn't keep, for example. It counts as part
    /// of the drain.
    fn finish(&self) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }

    /// How many jobs the store holds that aren't done: a drain ends when this is 0.
    fn left(&self) -> impl Future<Output = Result<u64>> + Send;
}

/// What a contestant says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Description {
    /// [`Contestant::NAME`].
    pub system: String,
    /// [`Contestant::VERSION`].
    pub version: String,
    /// [`Contestant::configs`] on that backend, each with its largest backlog.
    pub configs: Vec<(String, Option<u64>)>,
    /// [`Contestant::BULK`].
    pub bulk: bool,
    /// [`Contestant::QUEUES`].
    pub queues: bool,
}

/// What one run found. What doesn't apply is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figures {
    /// Jobs per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// From the time a job was to be sent to the time its handler began, in milliseconds: the median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50: Option<f64>,
    /// The same: 99 of 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99: Option<f64>,
    /// The same: 999 of 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p999: Option<f64>,
    /// The jobs that the figures are of.
    pub jobs: u64,
    /// Jobs that are done by the store's word, and never ran.
    pub lost: u64,
    /// Runs of jobs that had run already.
    pub repeated: u64,
    /// Jobs that weren't done when the time was up.
    pub unfinished: u64,
    /// Whether the time was up and nothing had moved for the last 3 s, or a job whose latency was to be taken was waited for in vain: the other
    /// figures are those of what did run.
    pub hung: bool,
}
