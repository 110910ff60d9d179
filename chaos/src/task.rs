//! What the conductor tells a process.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Result;

/// How long a worker's lease lasts.
pub const LEASE: Duration = Duration::from_secs(3);
/// Time between two heartbeats.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long a handler may go on after it was told to end.
pub const GRACE: Duration = Duration::from_millis(500);
/// How long a worker waits for an answer.
pub const CALL: Duration = Duration::from_secs(4);
/// In this time all workers together do about one round of maintenance.
pub const SWEEP: Duration = Duration::from_millis(200);

/// What a process is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Task {
    /// Its name, used once.
    pub name: String,
    /// Where the jobs are.
    pub url: String,
    /// The folder of the histories.
    pub histories: PathBuf,
    /// Where the random choices of a producer begin.
    pub seed: u64,
    /// Jobs per second of a producer.
    pub rate: f64,
}

impl Task {
    /// Reads what the conductor wrote.
    pub fn read(path: &Path) -> Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(path)?)?)
    }
}

/// Ends this process when its parent is gone, also if it is stopped then.
pub fn end_with_parent() -> Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?)
}

/// Ends when the conductor is gone: its end of the pipe is closed then, however it ended.
pub async fn orphaned() {
    let (gone, told) = tokio::sync::oneshot::channel();
    // Not a task of the runtime, whose end would wait for it.
    std::thread::spawn(move || {
        let mut byte = [0];
        while std::io::stdin().read(&mut byte).is_ok_and(|read| read > 0) {}
        // Nobody may be waiting any more.
        let _ = gone.send(());
    });
    // The thread sends before it ends.
    let _ = told.await;
}
