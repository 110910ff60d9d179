//! Sends real files through a durable queue: each is stored as a blob, a job per file counts its lines, words and
//! bytes, hashes and compresses it, and at the end `result.json` combines what the jobs returned.
//!
//! ```sh
//! cargo run --example file_pipeline --features sqlite -- [--dir DIR] [--json] [FILES…]
//! ```
//!
//! Kill it at any moment and start it again on the same folder: it finishes the rest and doubles nothing. Files that had
//! no job yet are named again, and so are those that were given up and should be tried again.

#![allow(unreachable_pub)] // modules of a program

mod files;
mod folder;
mod process;
mod summary;
mod terminal;

use std::error::Error;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use folder::Folder;
use futures_util::StreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use process::{App, ProcessFile};
use summary::Summary;
use terminal::{line, print, print_beside};
use tokio::task::JoinHandle;
use windlass::sqlite::{SqliteBackend, SqliteOptions};
use windlass::{Client, EventFilter, Job, JobId, Retention, Since, State, Worker};

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// What to work on.
enum Files {
    Named(Vec<PathBuf>),
    /// The documents of this repository, in a folder that has no jobs yet.
    Own,
}

#[derive(Parser)]
#[command(about = "Count, hash and compress files through a durable job queue")]
struct Args {
    /// The files. When none are given: what `--dir` has unfinished, or in a fresh folder the documents of this repository.
    files: Vec<PathBuf>,
    /// Folder for database and artifacts; a fresh one, named in the output, when left out.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Where the jobs are kept; `DIR/jobs.db` when left out.
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
    /// Files processed at once.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=256))]
    concurrency: u32,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(summary) if summary.discarded + summary.cancelled == 0 => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(error) => {
            print_beside(format_args!("error: {}", line(&error)));
            let mut cause = error.source();
            while let Some(error) = cause {
                print_beside(format_args!("  caused by: {}", line(error)));
                cause = error.source();
            }
            ExitCode::from(2)
        }
    }
}

async fn run(args: Args) -> Result<Summary> {
    let mut stop = tokio::spawn(asked_to_stop());
    let dir = match args.dir {
        Some(dir) => dir,
        None => std::env::temp_dir().join(format!("windlass-file-pipeline-{}", JobId::new())),
    };
    let folder = Folder::open(&dir)?;
    let named = format!("folder: {}", line(folder.path().display()));
    match args.json {
        true => print_beside(named),
        false => print(named)?,
    }
    let client = match args.database {
        Some(url) => windlass::connect(&url).await?,
        // By its path, which may hold characters that mean something in a URL.
        None => {
            let options = SqliteOptions::new(folder.path().join("jobs.db"));
            Client::new(Arc::new(SqliteBackend::open(options).await?)).erase()
        }
    };
    let files = if args.files.is_empty() { Files::Own } else { Files::Named(args.files) };
    let bar = progress_bar(args.json);
    let worker = Worker::new(&client)
        .state(App::new(&folder))
        .register(process::process_file)
        .queue(ProcessFile::QUEUE, args.concurrency)
        .options(|o| {
            // After a crash the jobs of the dead process are taken up again when its lease has run out.
            (o.lease, o.heartbeat) = (Duration::from_secs(5), Duration::from_secs(1));
            // A later start must know what was done, however much later it is.
            o.retention = Some(Retention::keep_all());
        })
        .start()?;
    let done = work(&client, files, &bar, &mut stop).await;
    bar.finish_and_clear();
    worker.stop().await?;
    let interrupted = |how: &str| {
        format!("interrupted; `--dir {}`{how} goes on from here", folder.path().display())
    };
    match done? {
        Done::All => {}
        Done::Interrupted { enqueued: true } => return Err(interrupted("").into()),
        Done::Interrupted { enqueued: false } => {
            return Err(interrupted(" with the same files").into());
        }
    }

    let summary = Summary::collect(&client, folder.path()).await?;
    let json = serde_json::to_string_pretty(&summary)?;
    folder.write("result.json", json.as_bytes())?;
    folder.clean()?;
    client.close().await?;
    match args.json {
        true => print(json)?,
        false => print(&summary)?,
    }
    Ok(summary)
}

enum Done {
    All,
    Interrupted { enqueued: bool },
}

/// Enqueues the files, while the worker works on them, and waits for the last.
async fn work(
    client: &Client,
    files: Files,
    bar: &ProgressBar,
    stop: &mut JoinHandle<()>,
) -> Result<Done> {
    // Followed from before the first job, so that no news is missed.
    let finals = EventFilter::default().to(State::FINAL);
    let mut news = client.subscribe(finals, Since::Now).await?;
    let expected = match &files {
        Files::Named(files) => files.len() as u64,
        Files::Own => 0,
    };
    let mut enqueueing = pin!(files::enqueue(client, files));
    let mut enqueued = false;
    loop {
        let mut stats = client.stats_of([ProcessFile::QUEUE]).await?;
        stats.counts.retain(|count| count.kind.as_str() == ProcessFile::KIND);
        let finished = State::FINAL.iter().map(|state| stats.in_state(*state)).sum();
        let all = stats.counts.iter().map(|count| count.jobs).sum();
        bar.set_length(if enqueued { all } else { expected.max(all) });
        bar.set_position(finished);
        if enqueued && finished == all {
            return Ok(Done::All);
        }
        tokio::select! {
            added = &mut enqueueing, if !enqueued => {
                added?;
                enqueued = true;
            }
            _ = tokio::time::timeout(Duration::from_millis(500), news.next()) => {}
            _ = &mut *stop => return Ok(Done::Interrupted { enqueued }),
        }
    }
}

/// Ctrl-C, or the signal by which process managers end a program.
async fn asked_to_stop() {
    #[cfg(unix)]
    if let Ok(mut terminate) =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
    {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        return;
    }
    let _ = tokio::signal::ctrl_c().await;
}

fn progress_bar(hidden: bool) -> ProgressBar {
    let bar = if hidden { ProgressBar::hidden() } else { ProgressBar::no_length() };
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} files, {elapsed}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
