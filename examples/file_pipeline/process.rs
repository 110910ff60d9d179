//! The job: one file in, its figures and a compressed copy out.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use windlass::{Blob, Context, Job, Outcome};

/// Bytes of a file name, with room for `.gz` and a number.
const MAX_NAME: usize = 240;

/// Where things go.
#[derive(Clone)]
pub struct App {
    artifacts: PathBuf,
    work: PathBuf,
}

impl App {
    pub fn new(dir: &Path) -> io::Result<Self> {
        let app = Self { artifacts: dir.join("artifacts"), work: dir.join("work") };
        fs::create_dir_all(&app.artifacts)?;
        fs::create_dir_all(&app.work)?;
        Ok(app)
    }
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
    /// The name of its folder under `artifacts`.
    pub folder: String,
    /// Its bytes; none when they could not be stored at the time of enqueueing.
    pub blob: Option<Blob>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct FileResult {
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
    let work = app.work.join(format!("{}-{}", cx.job_id(), cx.attempt()));
    let target = app.artifacts.join(&job.folder);
    tokio::fs::create_dir_all(&work).await?;
    let blob = match &job.blob {
        Some(blob) => blob.clone(),
        None => cx.client().put_blob(Path::new(&job.path)).await?,
    };
    let mut body = cx.client().open_blob(&blob).await?.stream;
    let mut copy = tokio::fs::File::create(work.join("input")).await?;
    while let Some(chunk) = body.next().await {
        copy.write_all(&chunk?).await?;
    }
    copy.flush().await?;
    drop(copy);
    cx.progress((1, 3));
    let make = move || make_artifacts(job.path, &job.folder, &work, &target);
    let result = tokio::task::spawn_blocking(make).await??;
    cx.progress((3, 3));
    Ok(result)
}

/// Everything is made in the work folder, then moved to its place in one step.
fn make_artifacts(file: String, name: &str, work: &Path, target: &Path) -> io::Result<FileResult> {
    let out = work.join("out");
    fs::create_dir_all(&out)?;
    let mut counts = Counts::default();
    let compressed = out.join(format!("{name}.gz"));
    let mut gz = GzEncoder::new(BufWriter::new(File::create(&compressed)?), Compression::default());
    let mut input = BufReader::new(File::open(work.join("input"))?);
    let mut buffer = vec![0; 64 << 10];
    loop {
        let n = input.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        counts.add(&buffer[..n]);
        gz.write_all(&buffer[..n])?;
    }
    gz.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    let result = FileResult {
        file,
        artifacts: target.to_owned(),
        lines: counts.lines,
        words: counts.words,
        bytes: counts.bytes,
        sha256: hex(&counts.sha256.finalize()),
        compressed_bytes: fs::metadata(&compressed)?.len(),
    };
    fs::write(out.join("stats.json"), serde_json::to_vec_pretty(&result)?)?;
    if target.exists() {
        fs::remove_dir_all(target)?; // of an earlier attempt that died before it was settled
    }
    fs::rename(&out, target)?;
    fs::remove_dir_all(work)?;
    Ok(result)
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

/// A name for a file's artifact folder: the file's own, cut to what a file system takes with an ending added, and
/// numbered where another file has it already.
pub fn folder_name(path: &Path, taken: &mut HashSet<String>) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let name = name[..name.floor_char_boundary(MAX_NAME)].to_owned();
    let free = |name: &String| !taken.contains(name);
    let numbered = (2..).map(|n| format!("{name}~{n}"));
    let name = std::iter::once(name.clone()).chain(numbered).find(free).unwrap_or(name);
    taken.insert(name.clone());
    name
}

/// Removes what attempts of killed processes left; call it when no job runs.
pub fn clean(dir: &Path) -> io::Result<()> {
    fs::remove_dir_all(dir.join("work"))
}

/// The SHA-256 of a file's content.
pub async fn digest(path: &Path) -> io::Result<String> {
    let path = path.to_owned();
    let hash = move || -> io::Result<String> {
        let mut hasher = Sha256::new();
        let mut file = File::open(path)?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let n = file.read(&mut buffer)?;
            if n == 0 {
                return Ok(hex(&hasher.finalize()));
            }
            hasher.update(&buffer[..n]);
        }
    };
    tokio::task::spawn_blocking(hash).await?
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
