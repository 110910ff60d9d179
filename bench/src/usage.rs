//! What processes have used, as the system counts it.

use std::collections::HashMap;

use crate::Result;

/// The system counts processor time in hundredths of a second.
const TICKS: f64 = 100.0;

/// What a process, and what a server, has used so far.
#[derive(Clone, Copy, Default)]
pub struct Usage {
    /// Processor time of the process in seconds.
    pub client_cpu: f64,
    /// Most memory that the process had, in bytes.
    pub peak: f64,
    /// Processor time of the server in seconds.
    pub server_cpu: f64,
    /// Bytes of the log that makes commits durable; where there is no server, bytes that the process wrote.
    pub written: f64,
    /// Transactions, or requests that the server read.
    pub queries: f64,
    /// How often the server has begun to rewrite its log, which makes it shorter, and whether it is at it.
    pub rewrites: u64,
    pub rewriting: bool,
}

/// A process and its ended children.
struct Process {
    parent: u32,
    cpu: f64,
}

fn process(pid: u32) -> Option<Process> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name comes before, in parentheses, and may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|field| field.parse::<f64>().ok());
    let cpu = (11..15).map(ticks).sum::<Option<f64>>()? / TICKS;
    Some(Process { parent: fields.get(1)?.parse().ok()?, cpu })
}

/// Processor time of a process and of its children, in seconds.
pub fn cpu(pid: u32) -> Result<f64> {
    let mut processes = HashMap::new();
    for entry in std::fs::read_dir("/proc")? {
        if let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok())
            && let Some(process) = process(pid)
        {
            processes.insert(pid, process);
        }
    }
    let own = |(id, process): (&u32, &Process)| {
        (*id == pid || process.parent == pid).then_some(process.cpu)
    };
    Ok(processes.iter().filter_map(own).sum())
}

/// A figure of a file of `name: figure` lines, in its unit.
fn field(pid: u32, file: &str, name: &str) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let figure = line.and_then(|rest| rest.split_whitespace().next());
    Ok(figure.ok_or_else(|| format!("no `{name}` in the process's `{file}`"))?.parse()?)
}

/// The most memory that a process had, in bytes.
pub fn peak(pid: u32) -> Result<f64> {
    Ok(field(pid, "status", "VmHWM")? * 1024.0)
}

/// Bytes that a process wrote, to files and elsewhere.
pub fn written(pid: u32) -> Result<f64> {
    field(pid, "io", "wchar")
}

impl Usage {
    /// What came between.
    pub fn since(&self, begin: &Self) -> Self {
        Self {
            client_cpu: self.client_cpu - begin.client_cpu,
            peak: self.peak,
            server_cpu: self.server_cpu - begin.server_cpu,
            written: if self.rewrites == begin.rewrites && !begin.rewriting {
                self.written - begin.written
            } else {
                f64::NAN
            },
            rewrites: self.rewrites - begin.rewrites,
            rewriting: self.rewriting,
            queries: self.queries - begin.queries,
        }
    }

    pub fn cpu(&self) -> f64 {
        self.client_cpu + self.server_cpu
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read() {
        let pid = std::process::id();
        // More than the system counts in.
        let begun = std::time::Instant::now();
        while begun.elapsed().as_millis() < 100 {
            std::hint::spin_loop();
        }
        assert!(cpu(pid).unwrap() > 0.0);
        assert!(peak(pid).unwrap() > 100_000.0);
        let before = written(pid).unwrap();
        std::fs::write(tempfile::NamedTempFile::new().unwrap().path(), [0; 5_000]).unwrap();
        assert!(written(pid).unwrap() - before >= 5_000.0);
    }

    #[test]
    fn ended_children_count() {
        let pid = std::process::id();
        let before = cpu(pid).unwrap();
        let spin = "n=0; while [ $n -lt 200000 ]; do n=$((n + 1)); done";
        std::process::Command::new("sh").args(["-c", spin]).status().unwrap();
        assert!(cpu(pid).unwrap() > before);
    }

    #[test]
    fn a_log_that_was_rewritten_tells_nothing() {
        let begin = Usage { written: 500.0, ..Usage::default() };
        let end = Usage { written: 800.0, ..begin };
        assert_eq!(end.since(&begin).written, 300.0);
        assert!(Usage { rewrites: 1, ..end }.since(&begin).written.is_nan());
        assert!(end.since(&Usage { rewriting: true, ..begin }).written.is_nan());
    }
}
