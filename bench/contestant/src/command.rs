//! The command line of a contestant.

use std::fmt;
use std::io::{BufRead, Write};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{Contestant, Description, Figures, Result, Setup, workload};

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Tells what the contestant can do.
    Describe {
        #[arg(long)]
        backend: String,
    },
    /// Does one workload.
    Run(Run),
}

/// One workload, and where to do it. The bench program gives it by [`Run::args`].
#[derive(Args, Clone, Debug)]
pub struct Run {
    /// The database.
    #[arg(long)]
    pub url: String,
    /// One of the contestant's configurations.
    #[arg(long, default_value = "default")]
    pub config: String,
    /// What to do.
    #[arg(long)]
    pub workload: Workload,
    /// How many jobs, at most.
    #[arg(long, default_value_t = 1_000)]
    pub jobs: u64,
    /// The number of the first job.
    #[arg(long, default_value_t = 0)]
    pub first: u64,
    /// Jobs that run at the same time; where nothing runs, enqueues at the same time.
    #[arg(long, default_value_t = 100)]
    pub concurrency: usize,
    /// How long, at most.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// How long each job waits.
    #[arg(long, default_value_t = 0)]
    pub wait_ms: u64,
    /// Jobs per second, where they come at a pace.
    #[arg(long, default_value_t = 1_000.0)]
    pub rate: f64,
    /// Over how many queues jobs are spread.
    #[arg(long, default_value_t = 1)]
    pub queues: u64,
    /// A drain ends when so many jobs ran, and leaves the others.
    #[arg(long)]
    pub stop_at: Option<u64>,
    /// Clients with connections of their own, where jobs are drained or nothing is to be done.
    #[arg(long, default_value_t = 1)]
    pub clients: usize,
    /// Workers on each of them, where nothing is to be done.
    #[arg(long, default_value_t = 1)]
    pub workers: usize,
}

/// What a contestant can be asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// Enqueues jobs in the fastest way it has, for a run that follows.
    Fill,
    /// Enqueues one by one, some at the same time.
    Enqueue,
    /// Enqueues 1,000 at once.
    Bulk,
    /// Runs all that waits.
    Drain,
    /// Enqueues a job, waits until it runs, and does so again.
    Latency,
    /// Enqueues and runs jobs that come at a pace.
    Load,
    /// Enqueues and runs as much as it can.
    Steady,
    /// Has workers, and nothing for them to do.
    Idle,
    /// Runs jobs that another process enqueues.
    Serve,
    /// Enqueues jobs for another process, each some time after the one before.
    Pace,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_possible_value().as_ref().map_or("", |value| value.get_name()))
    }
}

impl Run {
    /// That workload on that database, with the defaults of the command line.
    pub fn new(url: &str, config: &str, workload: Workload) -> Self {
        Self {
            url: url.to_owned(),
            config: config.to_owned(),
            workload,
            jobs: 1_000,
            first: 0,
            concurrency: 100,
            seconds: 10.0,
            wait_ms: 0,
            rate: 1_000.0,
            queues: 1,
            stop_at: None,
            clients: 1,
            workers: 1,
        }
    }

    /// The arguments of a contestant's program that ask for this.
    pub fn args(&self) -> Vec<String> {
        let mut args = vec!["run".to_owned()];
        let mut add = |name: &str, value: String| args.extend([format!("--{name}"), value]);
        add("url", self.url.clone());
        add("config", self.config.clone());
        add("workload", self.workload.to_string());
        add("jobs", self.jobs.to_string());
        add("first", self.first.to_string());
        add("concurrency", self.concurrency.to_string());
        add("seconds", self.seconds.to_string());
        add("wait-ms", self.wait_ms.to_string());
        add("rate", self.rate.to_string());
        add("queues", self.queues.to_string());
        add("clients", self.clients.to_string());
        add("workers", self.workers.to_string());
        if let Some(jobs) = self.stop_at {
            add("stop-at", jobs.to_string());
        }
        args
    }

    pub(crate) fn wait(&self) -> Duration {
        Duration::from_millis(self.wait_ms)
    }

    pub(crate) fn limit(&self) -> Duration {
        Duration::try_from_secs_f64(self.seconds).unwrap_or(Duration::MAX)
    }

    pub(crate) fn setup(&self) -> Setup {
        Setup {
            url: self.url.clone(),
            config: self.config.clone(),
            queues: self.queues.max(1),
            concurrency: self.concurrency,
        }
    }
}

/// Tells the bench program where in the workload this is, and waits until it has read what it wants to know.
pub(crate) async fn mark(place: &'static str) -> Result<()> {
    if cfg!(test) {
        return Ok(());
    }
    let told = tokio::task::spawn_blocking(move || {
        println!("{place}");
        std::io::stdout().flush()?;
        // At the end of the input nobody answers: it was started by hand.
        std::io::stdin().lock().read_line(&mut String::new())
    });
    told.await??;
    Ok(())
}

/// The whole of a contestant's program.
pub fn main_of<C: Contestant>() -> Result<()> {
    match Line::parse().command {
        Command::Describe { backend } => println!("{}", describe::<C>(&backend)?),
        Command::Run(run) => {
            if !C::configs(run.setup().backend()).contains(&run.config.as_str()) {
                return Err(format!("{} has no configuration {}", C::NAME, run.config).into());
            }
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            let figures: Figures = runtime.block_on(workload::run::<C>(&run))?;
            println!("{}", serde_json::to_string(&figures)?);
            // What a contestant left behind doesn't hold up the end.
            runtime.shutdown_background();
        }
    }
    Ok(())
}

fn describe<C: Contestant>(backend: &str) -> Result<String> {
    let config = |name: &&str| ((*name).to_owned(), C::largest_backlog(backend, name));
    Ok(serde_json::to_string(&Description {
        system: C::NAME.to_owned(),
        version: C::VERSION.to_owned(),
        configs: C::configs(backend).iter().map(config).collect(),
        bulk: C::BULK,
        queues: C::QUEUES,
    })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_as_they_were_given() {
        for workload in Workload::value_variants() {
            let mut run = Run::new("sqlite:jobs.db", "tuned", *workload);
            (run.jobs, run.rate, run.stop_at) = (7, 12.5, Some(3));
            let line = Line::try_parse_from([vec!["mine".to_owned()], run.args()].concat());
            let Command::Run(read) = line.unwrap().command else { panic!("not a run") };
            assert_eq!(format!("{read:?}"), format!("{run:?}"));
        }
    }
}
