//! The job: one file in, its figures and a compressed copy out.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use windlass::{Blob, Context, Job, JobFilter, JobId, Outcome, Stop};

use crate::folder::{self, AtPath, Folder};

/// Bytes of a file name, with room for `.gz` and a number.
pub const MAX_NAME: usize = 240;

/// What a folder of artifacts says about itself.
const STATS: &str = "stats.json";

/// Where things go.
#[derive(Clone)]
pub struct App {
    artifacts: PathBuf,
    work: PathBuf,
}

impl App {
    pub fn new(folder: &Folder) -> Self {
        Self { artifacts: folder.artifacts(), work: folder.work() }
    }
}

/// The jobs of this program, in a database that may have others.
pub fn jobs() -> windlass::Result<JobFilter> {
    JobFilter::default().kind_of::<ProcessFile>()
}

#[derive(Job, Serialize, Deserialize)]
#[job(
    kind = "process_file",
    queue = "files",
    max_attempts = 3,
    timeout = "5m",
    backoff(base = "200ms", max = "2s"),
    output = FileResult
)]
pub struct ProcessFile {
    /// The original; for people, so a name that is not UTF-8 is shown with replacement characters.
    pub path: String,
    /// The file's own name.
    pub name: String,
    /// The name of its folder under `artifacts`.
    pub folder: String,
    /// Its bytes; none when they could not be stored at the time of enqueueing.
    pub blob: Option<Blob>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct FileResult {
    /// By this a job knows a folder as its own.
    pub job: JobId,
    pub file: String,
    pub artifacts: PathBuf,
    pub lines: u64,
    pub words: u64,
    pub bytes: u64,
    pub sha256: String,
    pub compressed_bytes: u64,
}

pub async fn process_file(job: ProcessFile, cx: Context<App>) -> Outcome<FileResult> {
    let app = cx.state();
    // A folder of its own per attempt, so that one presumed dead can't write into another's.
    let work = app.work.join(folder::unique(cx.job_id()));
    let target = app.artifacts.join(&job.folder);
    tokio::fs::create_dir_all(&work).await.at(&work)?;
    let blob = match &job.blob {
        Some(blob) => blob.clone(),
        None => {
            let path = Path::new(&job.path);
            // Opening a pipe would wait for its writer, and a device may never end.
            if !tokio::fs::metadata(path).await.at(path)?.is_file() {
                return Err(Stop::discard(format!("`{}` is not a regular file", job.path)));
            }
            cx.client().put_blob(path).await?
        }
    };
    let mut body = cx.client().open_blob(&blob).await?.stream;
    let input = work.join("input");
    let mut copy = tokio::fs::File::create(&input).await.at(&input)?;
    while let Some(chunk) = body.next().await {
        copy.write_all(&chunk?).await.at(&input)?;
    }
    copy.flush().await.at(&input)?;
    drop(copy);
    cx.progress((1, 3));
    let id = cx.job_id();
    let make = move || make_artifacts(id, job, &work, &target);
    let result = tokio::task::spawn_blocking(make).await??;
    cx.progress((3, 3));
    Ok(result)
}

/// Everything is made in the work folder, then moved to its place in one step.
fn make_artifacts(
    id: JobId,
    job: ProcessFile,
    work: &Path,
    target: &Path,
) -> io::Result<FileResult> {
    let out = work.join("out");
    fs::create_dir_all(&out).at(&out)?;
    let (input, compressed) = (work.join("input"), out.join(format!("{}.gz", job.name)));
    let counts =
        compress(File::open(&input).at(&input)?, File::create(&compressed).at(&compressed)?)
            .at(&compressed)?;
    let result = FileResult {
        job: id,
        file: job.path,
        artifacts: target.to_owned(),
        lines: counts.lines,
        words: counts.words,
        bytes: counts.bytes,
        sha256: hex(&counts.sha256.finalize()),
        compressed_bytes: fs::metadata(&compressed).at(&compressed)?.len(),
    };
    folder::write_synced(&out.join(STATS), &serde_json::to_vec_pretty(&result)?)?;
    if target.symlink_metadata().is_ok() {
        if !is_of(id, target) {
            let why = "is in the way and not of this job: move it elsewhere";
            return Err(io::Error::other(format!("`{}` {why}", target.display())));
        }
        folder::remove(target)?; // of an earlier attempt that died before it was settled
    }
    fs::rename(&out, target).at(target)?;
    folder::remove(work)?;
    Ok(result)
}

/// Whether a job made this folder.
fn is_of(id: JobId, folder: &Path) -> bool {
    let stats = fs::read(folder.join(STATS)).ok();
    let made: Option<FileResult> = stats.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    made.is_some_and(|made| made.job == id)
}

fn compress(input: File, output: File) -> io::Result<Counts> {
    let mut counts = Counts::default();
    let mut gz = GzEncoder::new(BufWriter::new(output), Compression::default());
    let mut input = BufReader::new(input);
    let mut buffer = vec![0; 64 << 10];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                counts.add(&buffer[..n]);
                gz.write_all(&buffer[..n])?;
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    gz.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(counts)
}

/// Counts as `wc` does.
#[derive(Default)]
struct Counts {
    lines: u64,
    words: u64,
    bytes: u64,
    in_word: bool,
    sha256: Sha256,
}

impl Counts {
    fn add(&mut self, chunk: &[u8]) {
        self.bytes += chunk.len() as u64;
        self.sha256.update(chunk);
        for byte in chunk {
            self.lines += u64::from(*byte == b'\n');
            let in_word = !byte.is_ascii_whitespace();
            self.words += u64::from(in_word && !self.in_word);
            self.in_word = in_word;
        }
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
