//! The worker and producer processes: started, stopped, killed, and measured.

use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use windlass_checker::history::What;

use crate::Result;
use crate::history::History;
use crate::task::Task;

/// How long a process may take to end.
const END: Duration = Duration::from_secs(30);

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Runs jobs.
    Worker,
    /// Enqueues them.
    Producer,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Producer => "producer",
        }
    }
}

/// How processes are started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// This program.
    pub program: PathBuf,
    /// Another build of it, for every other worker.
    pub second: Option<PathBuf>,
    /// The folder of a run: histories, logs, tasks.
    pub folder: PathBuf,
    /// Where the jobs are.
    pub url: String,
    /// Where random choices begin.
    pub seed: u64,
    /// Jobs per second of a producer.
    pub rate: f64,
}

impl Launch {
    /// Where the histories are.
    pub fn histories(&self) -> PathBuf {
        self.folder.join("histories")
    }
}

#[derive(Debug)]
struct Process {
    role: Role,
    name: String,
    child: Child,
    /// Environment variables that it was started with.
    env: Vec<(String, String)>,
}

impl Process {
    fn pid(&self) -> Option<i32> {
        i32::try_from(self.child.id()?).ok()
    }
}

/// A process that is gone.
#[derive(Debug)]
pub struct Gone {
    /// Its name.
    pub name: String,
    /// What it did.
    pub role: Role,
    /// What another like it is to be started with.
    pub env: Vec<(String, String)>,
    status: ExitStatus,
}

impl Gone {
    /// It lived until it was killed.
    pub fn was_killed(&self) -> bool {
        self.status.signal() == Some(Signal::KILL.as_raw())
    }

    /// None may end by itself.
    pub fn wrong(&self) -> Option<String> {
        let (name, status) = (&self.name, self.status);
        (!self.was_killed()).then(|| format!("{name} ended by itself with {status}"))
    }
}

/// All processes of a run.
#[derive(Debug)]
pub struct Processes {
    launch: Launch,
    history: History,
    running: Vec<Process>,
    started: u64,
    /// Those that no fault hits.
    spared: Vec<(Role, String)>,
}

impl Processes {
    /// None as yet.
    pub fn new(launch: Launch, history: History) -> Self {
        Self { launch, history, running: Vec::new(), started: 0, spared: Vec::new() }
    }

    /// Starts a process. Answers its name.
    pub fn start(&mut self, role: Role, env: Vec<(String, String)>) -> Result<String> {
        self.started += 1;
        let name = format!("{}-{}", role.name(), self.started);
        let task = Task {
            name: name.clone(),
            url: self.launch.url.clone(),
            histories: self.launch.histories(),
            seed: self.launch.seed.wrapping_add(self.started),
            rate: self.launch.rate,
        };
        let at = |end: &str| self.launch.folder.join(format!("{name}.{end}"));
        std::fs::write(at("task"), serde_json::to_vec(&task)?)?;
        let log = File::create(at("log"))?;
        let second = self
            .launch
            .second
            .as_ref()
            .filter(|_| role == Role::Worker && self.started.is_multiple_of(2));
        let child = Command::new(second.unwrap_or(&self.launch.program))
            .arg(role.name())
            .arg(at("task"))
            .envs(env.iter().cloned())
            // Some handlers panic by design.
            .env("RUST_BACKTRACE", "0")
            // Closed when this program ends, however it does: then they end, too.
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            // A signal of the terminal is the conductor's affair.
            .process_group(0)
            .spawn()?;
        self.history.record(What::Born { name: name.clone(), second: second.is_some() });
        self.running.push(Process { role, name: name.clone(), child, env });
        Ok(name)
    }

    /// Whether a process has written anything down yet.
    pub fn has_written(&self, name: &str) -> bool {
        let history = self.launch.histories().join(format!("{name}.jsonl"));
        std::fs::metadata(history).is_ok_and(|file| file.len() > 0)
    }

    /// The names of those of a role.
    pub fn names(&self, role: Role) -> Vec<String> {
        let of_role = self.running.iter().filter(|process| process.role == role);
        of_role.map(|process| process.name.clone()).collect()
    }

    /// Those of a role that a fault may hit.
    pub fn victims(&self, role: Role) -> Vec<String> {
        let mut names = self.names(role);
        names.retain(|name| !self.spared.iter().any(|(_, spared)| spared == name));
        names
    }

    /// No fault hits the first of a role from now on.
    pub fn spare_one(&mut self, role: Role) {
        let first = self.names(role).into_iter().next();
        self.spared.extend(first.map(|name| (role, name)));
    }

    /// The one of a role that no fault hits.
    pub fn spared(&self, role: Role) -> Option<String> {
        self.spared.iter().find(|(of, _)| *of == role).map(|(_, name)| name.clone())
    }

    /// The process ids of some.
    pub fn pids(&self, names: &[String]) -> Vec<i32> {
        let those = self.running.iter().filter(|process| names.contains(&process.name));
        those.filter_map(Process::pid).collect()
    }

    /// Which has this process id.
    pub fn name_of(&self, pid: i32) -> Option<String> {
        let process = self.running.iter().find(|process| process.pid() == Some(pid))?;
        Some(process.name.clone())
    }

    /// Lets all go on that may be stopped.
    pub fn all_go_on(&self) {
        for process in &self.running {
            // One that is gone is found to be so elsewhere.
            let _ = self.go_on(&process.name);
        }
    }

    fn signal(&self, name: &str, signal: Signal) -> Result<()> {
        let process = self.running.iter().find(|process| process.name == name);
        let pid = process.and_then(Process::pid).and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| format!("`{name}` does not run"))?;
        Ok(kill_process(pid, signal)?)
    }

    /// Stops a process in the middle of what it does. Answers whether it did: one that has ended does not.
    pub async fn stop(&self, name: &str) -> Result<bool> {
        self.signal(name, Signal::STOP)?;
        let pid = self.pids(&[name.to_owned()]).pop();
        let stopped = tokio::task::spawn_blocking(move || pid.is_some_and(stops)).await?;
        Ok(stopped)
    }

    /// Lets it go on.
    pub fn go_on(&self, name: &str) -> Result<()> {
        self.signal(name, Signal::CONT)
    }

    /// Kills a process, and waits until it is gone.
    pub async fn kill(&mut self, name: &str) -> Result<Gone> {
        self.signal(name, Signal::KILL)?;
        self.gone(name).await
    }

    async fn gone(&mut self, name: &str) -> Result<Gone> {
        let n = self.running.iter().position(|process| process.name == name);
        let n = n.ok_or_else(|| format!("`{name}` does not run"))?;
        let Process { role, name, mut child, env } = self.running.swap_remove(n);
        let status = child.wait().await?;
        self.history.record(What::Died { name: name.clone() });
        Ok(Gone { name, role, env, status })
    }

    /// Kills several at once.
    pub async fn kill_all(&mut self, names: &[String]) -> Result<Vec<Gone>> {
        names.iter().try_for_each(|name| self.signal(name, Signal::KILL))?;
        let mut gone = Vec::new();
        for name in names {
            gone.push(self.gone(name).await?);
        }
        Ok(gone)
    }

    /// Asks those of a role to end, and waits until they have; answers what ended otherwise than well.
    pub async fn end(&mut self, role: Role) -> Result<Vec<String>> {
        let names = self.names(role);
        // Producers know no shutdown: what they have not heard of may or may not be there.
        let signal = if role == Role::Producer { Signal::KILL } else { Signal::TERM };
        names.iter().try_for_each(|name| self.signal(name, signal))?;
        let mut wrong = Vec::new();
        for name in names {
            let n = self.running.iter().position(|process| process.name == name);
            let Some(n) = n else { continue };
            let mut process = self.running.swap_remove(n);
            let status = match tokio::time::timeout(END, process.child.wait()).await {
                Ok(status) => status?,
                Err(_) => {
                    wrong.push(format!("{name} did not end within {END:?}"));
                    process.child.kill().await?;
                    self.history.record(What::Died { name: process.name });
                    continue;
                }
            };
            self.history.record(What::Died { name: process.name });
            if role == Role::Worker && !status.success() {
                wrong.push(format!("{name} ended with {status}"));
            }
        }
        Ok(wrong)
    }

    /// Starts others for those that ended by themselves, which none may; tells of them.
    pub async fn replace_ended(&mut self) -> Result<Vec<String>> {
        let mut ended = Vec::new();
        for process in &mut self.running {
            if let Some(status) = process.child.try_wait()? {
                ended.push((process.name.clone(), status));
            }
        }
        let mut told = Vec::new();
        for (name, status) in ended {
            let gone = self.gone(&name).await?;
            self.start(gone.role, gone.env)?;
            told.push(format!("{name} ended by itself with {status}"));
        }
        Ok(told)
    }

    /// Writes down how much memory the workers have.
    pub fn measure(&self) {
        for process in self.running.iter().filter(|process| process.role == Role::Worker) {
            if let Some(bytes) = process.child.id().and_then(resident) {
                self.history.record(What::Memory { name: process.name.clone(), bytes });
            }
        }
    }
}

/// Resident memory of a process, in bytes.
fn resident(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1_024)
}

/// Waits until a process has stopped that was told to.
pub(super) fn stops(pid: i32) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
        // The state follows the name, which is in parentheses.
        if stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T')) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// Processes that do as a line of a shell says.
    fn processes(folder: &std::path::Path, line: &str) -> Processes {
        let program = folder.join("program");
        std::fs::write(&program, format!("#!/bin/sh\n{line}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let launch = Launch {
            program,
            second: None,
            folder: folder.to_owned(),
            url: String::new(),
            seed: 1,
            rate: 1.0,
        };
        std::fs::create_dir(launch.histories()).unwrap();
        let history = History::begin(&launch.histories(), "conductor").unwrap();
        Processes::new(launch, history)
    }

    /// Waits until a process has ended that nobody has asked about.
    async fn ends(pid: i32) {
        let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        while !stat().rsplit(')').next().unwrap().trim_start().starts_with('Z') {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    // One test: a process that is started beside the other would have the file of its program open.
    #[tokio::test]
    async fn a_kill_and_a_stop_meet_what_is_alive_and_tell_of_what_had_ended() {
        let folder = tempfile::tempdir().unwrap();
        let mut lasting = processes(folder.path(), "exec sleep 600");
        let name = lasting.start(Role::Worker, Vec::new()).unwrap();
        assert!(lasting.stop(&name).await.unwrap());
        let gone = lasting.kill(&name).await.unwrap();
        assert!(gone.was_killed() && gone.wrong().is_none());

        let folder = tempfile::tempdir().unwrap();
        let mut short = processes(folder.path(), "exit 3");
        let name = short.start(Role::Worker, Vec::new()).unwrap();
        ends(short.pids(std::slice::from_ref(&name))[0]).await;
        assert!(!short.stop(&name).await.unwrap());
        let gone = short.kill(&name).await.unwrap();
        assert!(!gone.was_killed());
        assert!(gone.wrong().unwrap().contains("ended by itself"));
    }
}
