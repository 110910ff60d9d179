//! Runs one workload in a contestant's process.

use std::fs::File;
use std::io::{Read, Seek};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use windlass_bench_contestant::{Figures, Run};

use crate::Result;
use crate::contestants::Contestant;
use crate::place::{Database, Place};
use crate::usage::Usage;

/// How much longer than it was told a process may take, to open, to stop and to wait for late jobs.
const GRACE: Duration = Duration::from_secs(60);

/// What a run found, and what was used between its marks.
pub struct Outcome {
    pub figures: Figures,
    pub usage: Usage,
    /// Jobs that were enqueued before, if that was a part of it.
    pub filled: u64,
}

/// A contestant's process that speaks the protocol.
struct Session<'a> {
    place: &'a Place,
    database: &'a Database,
    child: Child,
    stderr: File,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl<'a> Session<'a> {
    fn start(
        contestant: &Contestant,
        run: &Run,
        place: &'a Place,
        database: &'a Database,
    ) -> Result<Self> {
        let mut command = Command::from(contestant.command());
        command.args(run.args()).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // A file takes as much as it says.
        let stderr = tempfile::tempfile()?;
        command.stderr(stderr.try_clone()?);
        let mut child = command.spawn()?;
        let stdin = child.stdin.take().ok_or("no input of the process")?;
        let stdout = child.stdout.take().ok_or("no output of the process")?;
        Ok(Self { place, database, child, stderr, stdin, lines: BufReader::new(stdout).lines() })
    }

    /// Reads up to a mark, and what was used until then. The process waits for [`go_on`](Self::go_on).
    async fn until(&mut self, mark: &str) -> Result<Usage> {
        while let Some(line) = self.lines.next_line().await? {
            if line == mark {
                let pid = self.child.id().ok_or("the process is gone")?;
                return self.place.usage(self.database, pid).await;
            }
        }
        Err(self.failure())
    }

    async fn go_on(&mut self) -> Result<()> {
        Ok(self.stdin.write_all(b"\n").await?)
    }

    /// The figures, once the process has ended.
    async fn figures(mut self) -> Result<Figures> {
        let mut last = None;
        while let Some(line) = self.lines.next_line().await? {
            last = Some(line);
        }
        let figures = last.and_then(|line| serde_json::from_str(&line).ok());
        match figures {
            Some(figures) if self.child.wait().await?.success() => Ok(figures),
            _ => Err(self.failure()),
        }
    }

    /// What a process that failed said last.
    fn failure(&mut self) -> crate::Error {
        let mut said = Vec::new();
        // Without it the error says less.
        let _ = self.stderr.rewind().and_then(|()| self.stderr.read_to_end(&mut said));
        let said = String::from_utf8_lossy(&said);
        let last = said.lines().rfind(|line| !line.trim().is_empty());
        format!("the program failed: {}", last.unwrap_or("it said nothing")).into()
    }
}

async fn in_time<T>(run: &Run, work: impl Future<Output = Result<T>>) -> Result<T> {
    let limit = Duration::from_secs_f64(run.seconds) + GRACE;
    let ended = tokio::time::timeout(limit, work).await;
    ended.map_err(|_| format!("nothing came within {} s", limit.as_secs()))?
}

/// Runs a workload that has no marks.
pub async fn plain(
    c: &Contestant,
    run: &Run,
    place: &Place,
    database: &Database,
) -> Result<Figures> {
    in_time(run, async { Session::start(c, run, place, database)?.figures().await }).await
}

/// Runs a workload that has marks; `between` runs while the process waits at the first.
pub async fn measured(
    c: &Contestant,
    run: &Run,
    place: &Place,
    database: &Database,
    between: impl Future<Output = Result<()>>,
) -> Result<Outcome> {
    let all = async {
        let mut session = Session::start(c, run, place, database)?;
        let begin = session.until("begin").await?;
        between.await?;
        session.go_on().await?;
        let end = session.until("end").await?;
        session.go_on().await?;
        Ok(Outcome { figures: session.figures().await?, usage: end.since(&begin), filled: 0 })
    };
    in_time(run, all).await
}
