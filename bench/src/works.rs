//! The workloads that every contestant does on a fresh database.

use windlass_bench_contestant::{Run, Workload};

use crate::process::Outcome;
use crate::report::Report;
use crate::runner::{DEFAULT, KEEPS_NOTHING, TUNED};
use crate::sizes::Sizes;

/// Names of workloads that are held against each other.
const DRAIN: &str = "drain of no-op jobs";
const QUEUES: &str = "drain of 100 queues of no-op jobs";
const BY_CLIENTS: &str = "drain of no-op jobs by 10 clients";

/// More jobs than are enqueued in the time.
const ENDLESS: u64 = 10_000_000;
/// Jobs that run at the same time, unless it is said otherwise.
const CONCURRENCY: usize = 100;
/// The same where each takes a while.
const MANY: usize = 1_000;
/// The same where latency is taken.
const FEW: usize = 8;

/// Who does a workload.
#[derive(Clone, Copy, PartialEq)]
pub enum Who {
    All,
    /// Peers only in the best configuration.
    BestOfPeers,
    /// Who can enqueue many at once.
    Bulk,
    Windlass,
    /// Who can spread jobs over queues; peers only in the best configuration.
    Queues,
}

/// Clients that stand for processes, each with a worker.
const CLIENTS: usize = 10;

/// A figure of a run.
pub struct Column {
    /// What is added to the workload's name.
    pub name: &'static str,
    pub unit: &'static str,
    /// No value, or one, or those of parts of the run.
    pub values: fn(&Outcome) -> Vec<f64>,
}

/// A workload.
pub struct Work {
    pub name: String,
    pub who: Who,
    /// Jobs that another process enqueues before.
    pub fill: u64,
    /// What is asked of the contestant; the URL and the configuration are still to be filled in.
    pub run: Run,
    /// Configurations of Windlass that take part.
    pub ours: &'static [&'static str],
    /// Another process enqueues while this one runs.
    pub remote: bool,
    pub columns: &'static [Column],
}

fn one(value: Option<f64>) -> Vec<f64> {
    value.into_iter().collect()
}

/// A figure for each job of a run, if it had any.
fn each(outcome: &Outcome, of_all: f64) -> Vec<f64> {
    let jobs = outcome.figures.jobs;
    // It is not a number where a server has rewritten its log.
    if jobs == 0 || of_all.is_nan() { Vec::new() } else { vec![of_all / jobs as f64] }
}

const fn column(
    name: &'static str,
    unit: &'static str,
    values: fn(&Outcome) -> Vec<f64>,
) -> Column {
    Column { name, unit, values }
}

const P50: Column = column(" p50", "ms", |o| one(o.figures.p50));
const P99: Column = column(" p99", "ms", |o| one(o.figures.p99));
const P999: Column = column(" p999", "ms", |o| one(o.figures.p999));
const RATE: Column = column("", "jobs/s", |o| one(o.figures.rate));
const CPU: Column = column(", processor time", "µs/job", |o| each(o, o.usage.cpu() * 1e6));
const WRITTEN: Column = column(", written", "bytes/job", |o| each(o, o.usage.written));
const RATES: &[Column] = &[RATE];
const COSTS: &[Column] = &[RATE, CPU, WRITTEN];
const LATENCIES: &[Column] = &[P50, P99, P999];
const LOAD: &[Column] = &[column(", pace", "jobs/s", |o| one(o.figures.rate)), P50, P99, P999];
const STEADY: &[Column] = &[RATE, P50, P99, CPU, WRITTEN];

/// The workloads of a backend, in order.
pub fn all(sizes: &Sizes) -> Vec<Work> {
    let base = |workload| Run { seconds: sizes.limit, ..Run::new("", "", workload) };
    let work = |name: &str, run: Run, columns| Work {
        name: name.to_owned(),
        who: Who::All,
        fill: 0,
        ours: &[DEFAULT, TUNED],
        run,
        remote: false,
        columns,
    };
    let enqueue = |concurrency, columns| {
        let run =
            Run { jobs: ENDLESS, seconds: sizes.seconds, concurrency, ..base(Workload::Enqueue) };
        work(&format!("enqueue {concurrency} at once"), run, columns)
    };
    let bulk = Run { jobs: ENDLESS, seconds: sizes.seconds, ..base(Workload::Bulk) };
    let drain = |name, jobs, columns| {
        let run = Run { jobs, concurrency: CONCURRENCY, ..base(Workload::Drain) };
        Work { fill: jobs, ..work(name, run, columns) }
    };
    let latency = |workload| {
        let seconds = sizes.sampling;
        Run { jobs: sizes.samples, seconds, concurrency: FEW, ..base(workload) }
    };
    let mut waiting = drain("drain of jobs that wait 1 ms, 1,000 at once", sizes.waiting, RATES);
    waiting.who = Who::BestOfPeers;
    (waiting.run.wait_ms, waiting.run.concurrency) = (1, MANY);
    let mut queues = drain(QUEUES, sizes.backlog, RATES);
    (queues.who, queues.run.queues) = (Who::Queues, 100);
    let mut clients = drain(BY_CLIENTS, sizes.backlog, RATES);
    (clients.who, clients.ours, clients.run.clients) = (Who::Windlass, &[DEFAULT], CLIENTS);
    let mut served = work("latency, other process", latency(Workload::Serve), LATENCIES);
    (served.who, served.remote) = (Who::BestOfPeers, true);
    let load = Run { seconds: sizes.load, concurrency: CONCURRENCY, ..base(Workload::Load) };
    let steady = Run { seconds: sizes.steady, concurrency: CONCURRENCY, ..base(Workload::Steady) };
    vec![
        enqueue(1, RATES),
        enqueue(8, RATES),
        enqueue(64, COSTS),
        Work { who: Who::Bulk, ..work("enqueue in bulks of 1,000", bulk, COSTS) },
        Work { ours: &[DEFAULT, TUNED, KEEPS_NOTHING], ..drain(DRAIN, sizes.backlog, COSTS) },
        waiting,
        queues,
        clients,
        work("latency, idle queue", latency(Workload::Latency), LATENCIES),
        served,
        work("latency at half load", load, LOAD),
        Work {
            who: Who::BestOfPeers,
            ours: &[DEFAULT, KEEPS_NOTHING],
            ..work("steady state", steady, STEADY)
        },
    ]
}

/// Adds how rates compare from one workload to another.
pub fn compare(report: &mut Report) {
    for (name, workload) in [("100 queues", QUEUES), ("10 clients", BY_CLIENTS)] {
        report.compare(&format!("drain, {name} to one"), workload, DRAIN);
    }
}

/// A workload whose steady rate tells what half of the load is.
pub fn calibration(sizes: &Sizes) -> Run {
    let base = Run::new("", "", Workload::Steady);
    Run { seconds: sizes.load, concurrency: CONCURRENCY, ..base }
}
