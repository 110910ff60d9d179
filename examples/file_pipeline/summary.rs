//! What became of all files of a folder.

use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::pin;

use futures_util::StreamExt;
use serde::Serialize;
use windlass::{Client, JobRecord, State};

use crate::Result;
use crate::process::{FileResult, ProcessFile, jobs};
use crate::terminal::line;

#[derive(Default, Serialize)]
pub struct Summary {
    pub dir: PathBuf,
    pub files: usize,
    pub completed: usize,
    pub discarded: usize,
    pub cancelled: usize,
    pub lines: u64,
    pub words: u64,
    pub bytes: u64,
    pub compressed_bytes: u64,
    pub failures: Vec<Failed>,
    pub results: Vec<FileResult>,
}

#[derive(Serialize)]
pub struct Failed {
    pub file: String,
    pub attempts: u32,
    pub errors: Vec<String>,
}

impl Summary {
    pub async fn collect(client: &Client, dir: &Path) -> Result<Self> {
        let mut all = Self { dir: dir.to_owned(), ..Self::default() };
        let mut found = pin!(client.list_all(jobs()?));
        while let Some(job) = found.next().await {
            all.add(client, &job?).await?;
        }
        all.results.sort_by(|a, b| a.artifacts.cmp(&b.artifacts));
        all.failures.sort_by(|a, b| a.file.cmp(&b.file));
        Ok(all)
    }

    async fn add(&mut self, client: &Client, job: &JobRecord) -> Result<()> {
        self.files += 1;
        match job.state {
            State::Completed => self.completed += 1,
            State::Cancelled => self.cancelled += 1,
            _ => self.discarded += 1,
        }
        if let Some(result) = client.output::<ProcessFile>(job).await? {
            self.lines += result.lines;
            self.words += result.words;
            self.bytes += result.bytes;
            self.compressed_bytes += result.compressed_bytes;
            self.results.push(result);
        } else {
            let file = client.args::<ProcessFile>(job).await?.path;
            let errors = job.errors.iter().map(|e| e.message.clone()).collect();
            self.failures.push(Failed { file, attempts: job.attempt, errors });
        }
        Ok(())
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} files: {} completed, {} discarded, {} cancelled\n{} lines, {} words, {} bytes ({} compressed)",
            self.files,
            self.completed,
            self.discarded,
            self.cancelled,
            self.lines,
            self.words,
            self.bytes,
            self.compressed_bytes
        )?;
        for failed in &self.failures {
            let (file, attempts) = (line(&failed.file), failed.attempts);
            writeln!(f, "not processed: {file} after {attempts} attempts")?;
            for (n, error) in failed.errors.iter().enumerate() {
                writeln!(f, "  {}. {}", n + 1, line(error.replace('\n', ": ")))?;
            }
        }
        let shown = |path: &Path| line(path.display());
        if !self.failures.is_empty() {
            writeln!(
                f,
                "to try a file again, mend what is wrong and name it again with `--dir {}`",
                shown(&self.dir)
            )?;
        }
        writeln!(f, "artifacts: {}", shown(&self.dir.join("artifacts")))?;
        write!(f, "combined result: {}", shown(&self.dir.join("result.json")))
    }
}
