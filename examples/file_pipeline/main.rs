//! Sends real files through a durable queue: each is stored as a blob, a job per file counts its lines, words and
//! bytes, hashes and compresses it, and at the end `result.json` combines what the jobs returned.
//!
//! ```sh
//! cargo run --example file_pipeline --features sqlite -- [--dir DIR] [--json] [FILES…]
//! ```
//!
//! Kill it at any moment and start it again on the same folder: it finishes the rest and doubles nothing.

#![allow(unreachable_pub)] // modules of a program

mod process;
mod summary;

use std::collections::HashSet;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use futures_util::StreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use process::{App, ProcessFile};
use summary::Summary;
use windlass::sqlite::{SqliteBackend, SqliteOptions};
use windlass::{Client, Draft, EventFilter, JobId, JobQuery, Since, State, Worker};

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

#[derive(Parser)]
#[command(about = "Count, hash and compress files through a durable job queue")]
struct Args {
    /// The files; the documents of this repository when none are given.
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
            eprintln!("error: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  caused by: {error}");
                cause = error.source();
            }
            ExitCode::from(2)
        }
    }
}

async fn run(args: Args) -> Result<Summary> {
    let dir = match args.dir {
        Some(dir) => dir,
        None => std::env::temp_dir().join(format!("windlass-file-pipeline-{}", JobId::new())),
    };
    std::fs::create_dir_all(&dir).map_err(|e| format!("folder {}: {e}", dir.display()))?;
    let dir = dir.canonicalize()?;
    if !args.json {
        println!("folder: {}", dir.display());
    }
    let client = match args.database {
        Some(url) => windlass::connect(&url).await?,
        // By its path, which may hold characters that mean something in a URL.
        None => {
            let options = SqliteOptions::new(dir.join("jobs.db"));
            Client::new(Arc::new(SqliteBackend::open(options).await?)).erase()
        }
    };
    let app = App::new(&dir)?;

    let files = if args.files.is_empty() { own_documents()? } else { args.files };
    // Followed from before the first job, so that no news is missed.
    let finals = EventFilter::default().to(State::FINAL);
    let mut news = client.subscribe(finals, Since::Now).await?;
    enqueue(&client, &files).await?;

    let worker = Worker::new(&client)
        .state(app)
        .register(process::process_file)
        .queue("files", args.concurrency)
        // After a crash the jobs of the dead process are taken up again when its lease has run out.
        .options(|o| (o.lease, o.heartbeat) = (Duration::from_secs(5), Duration::from_secs(1)))
        .start()?;

    let bar = progress_bar(args.json);
    loop {
        let stats = client.stats().await?;
        let finished = State::FINAL.iter().map(|state| stats.in_state(*state)).sum();
        let all = stats.counts.iter().map(|count| count.jobs).sum();
        bar.set_length(all);
        bar.set_position(finished);
        if finished == all {
            break;
        }
        tokio::select! {
            _ = tokio::time::timeout(Duration::from_millis(500), news.next()) => {}
            () = asked_to_stop() => {
                worker.stop().await?;
                return Err(format!("interrupted; `--dir {}` goes on from here", dir.display()).into());
            }
        }
    }
    bar.finish_and_clear();
    worker.stop().await?;
    process::clean(&dir)?;

    let summary = Summary::collect(&client, &dir).await?;
    summary.write(&dir.join("result.json"))?;
    client.close().await?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        print!("{summary}");
    }
    Ok(summary)
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

/// A job per file. Its id follows from path and content, so that a second start finds the job instead of adding another.
async fn enqueue(client: &Client, files: &[PathBuf]) -> Result<()> {
    let mut folders = HashSet::new();
    let mut jobs = pin!(client.list_all(JobQuery::default()));
    while let Some(job) = jobs.next().await {
        folders.insert(client.args::<ProcessFile>(&job?).await?.folder);
    }
    for path in files {
        let path = std::path::absolute(path)?;
        let digest = process::digest(&path).await.unwrap_or_default();
        let id = JobId::derived(&format!("{path:?}\n{digest}"));
        if client.get(id).await?.is_some() {
            continue;
        }
        let folder = process::folder_name(&path, &mut folders);
        // A file that can't be read now becomes a job as well: its handler tries again.
        let blob = client.put_blob(path.as_path()).await.ok();
        let path = path.to_string_lossy().into_owned();
        client.enqueue(Draft::new(ProcessFile { path, folder, blob }).id(id)).await?;
    }
    Ok(())
}

fn progress_bar(hidden: bool) -> ProgressBar {
    let bar = if hidden { ProgressBar::hidden() } else { ProgressBar::no_length() };
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} files, {elapsed}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// The Markdown files of this repository.
fn own_documents() -> Result<Vec<PathBuf>> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let hidden = name.to_string_lossy().starts_with('.');
            if entry.file_type()?.is_dir() {
                if !hidden && name != "target" {
                    walk(&entry.path(), found)?;
                }
            } else if entry.path().extension().is_some_and(|e| e == "md") {
                found.push(entry.path());
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    walk(Path::new(env!("CARGO_MANIFEST_DIR")), &mut found)?;
    found.sort();
    Ok(found)
}
