//! What every process did, as it happened: lines of JSON in a file of its own.
//!
//! A line is in the file (not necessarily on the disk) before what it says is acted on: a process that is killed leaves all that anybody
//! could have learnt from it. Times are microseconds of the machine's monotonic clock, which all its processes share.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use windlass::{ClaimId, JobId, LeaseKey, State, WorkerId};

use crate::Result;

/// A line of a history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When, in microseconds of the machine's monotonic clock.
    pub t: u64,
    /// Which process; every start of one has a name of its own.
    #[serde(rename = "p")]
    pub process: String,
    /// What happened.
    #[serde(rename = "e")]
    pub what: What,
}

/// A job that was claimed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Taken {
    /// The fence.
    pub key: LeaseKey,
    /// Which attempt.
    pub attempt: u32,
}

/// How long a unique key is held.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// To the first claim.
    Started,
    /// To a final state.
    Finished,
    /// For so many milliseconds from the insert.
    For(u64),
}

/// A unique rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// The key.
    pub key: String,
    /// For how long.
    pub until: Until,
}

/// What an insert answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The job is stored.
    New,
    /// Another job has the unique key.
    Duplicate(JobId),
    /// Another job has the key and took over the contents.
    Replaced(JobId),
    /// Another job has the key, and this one was refused.
    Rejected(JobId),
}

/// What became of a settlement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Applied, with the state that it led to.
    Applied(State),
    /// It had been applied before.
    Already(State),
    /// Refused: the job is somebody else's by now.
    Lost,
    /// The list of answers was too short.
    Missing,
    /// Refused as it stands.
    Refused,
    /// Not for the time being.
    Busy,
    /// An error: applied or not.
    Unknown(String),
}

/// How an attempt is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Ending {
    Completed,
    Retry,
    Discarded,
    Cancelled,
    Snoozed,
    Released,
}

/// A moment of a fault that has several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// The replica hears nothing more.
    LinkCut,
    /// The server is gone.
    Killed,
    /// The replica has taken over.
    Promoted,
    /// The old primary is a replica.
    Demoted,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A job is about to be inserted.
    Sent {
        /// The job.
        job: JobId,
        /// Its kind.
        kind: String,
        /// Its queue.
        queue: String,
        /// Its unique rule.
        unique: Option<Held>,
        /// Until it is due, in milliseconds.
        delay: u64,
        /// It is inserted in a transaction of the host's, beside a row.
        with_row: bool,
    },
    /// The insert was acknowledged.
    Acked {
        /// The job.
        job: JobId,
        /// With what.
        answer: Answer,
    },
    /// The insert failed: it may have been applied.
    Failed {
        /// The job.
        job: JobId,
        /// Why.
        error: String,
    },
    /// The host rolled the insert back.
    RolledBack {
        /// The job.
        job: JobId,
    },
    /// An operator is about to cancel a job.
    Cancelling {
        /// The job.
        job: JobId,
    },
    /// An operator is about to run a job that did not complete again.
    Retrying {
        /// The job.
        job: JobId,
    },
    /// The operator was answered.
    Changed {
        /// The job.
        job: JobId,
        /// Whether that changed anything.
        changed: bool,
    },
    /// A worker got its lease; `sent` is when it asked.
    Registered {
        /// The worker.
        worker: WorkerId,
        /// When it asked.
        sent: u64,
    },
    /// A heartbeat was answered; `sent` is when it was sent.
    Beat {
        /// The worker.
        worker: WorkerId,
        /// When it was sent.
        sent: u64,
        /// The lease had run out.
        expired: bool,
        /// What the worker is told to have lost.
        lost: Vec<LeaseKey>,
    },
    /// A claim is about to be sent.
    Claiming {
        /// The worker.
        worker: WorkerId,
        /// Its claim id.
        claim: ClaimId,
        /// It was sent before.
        resend: bool,
    },
    /// A claim gave jobs.
    Claimed {
        /// The worker.
        worker: WorkerId,
        /// Its claim id.
        claim: ClaimId,
        /// The jobs.
        leases: Vec<Taken>,
    },
    /// A settlement is about to be sent.
    Settling {
        /// The fence.
        key: LeaseKey,
        /// The outcome.
        ending: Ending,
        /// In a transaction of the host's.
        in_host: bool,
    },
    /// A settlement was answered. In a transaction of the host's nothing counts before [`What::Committed`].
    Settled {
        /// The fence.
        key: LeaseKey,
        /// The outcome: two may be under way.
        ending: Ending,
        /// What became of it.
        verdict: Verdict,
        /// In a transaction of the host's.
        in_host: bool,
    },
    /// The host's transaction with the completion was committed.
    Committed {
        /// The fence.
        key: LeaseKey,
    },
    /// The commit failed: it may have been applied.
    CommitFailed {
        /// The fence.
        key: LeaseKey,
        /// Why.
        error: String,
    },
    /// Maintenance took these jobs from lost workers, or past their deadline.
    Rescued {
        /// The jobs.
        jobs: Vec<JobId>,
    },
    /// A handler begins.
    Begun {
        /// The fence.
        key: LeaseKey,
        /// Its kind.
        kind: String,
        /// Its queue.
        queue: String,
        /// Which attempt.
        attempt: u32,
    },
    /// A handler begins that has no claim of its own.
    Unclaimed {
        /// The job.
        job: JobId,
    },
    /// A handler's effect outside of the database.
    Effect {
        /// The fence.
        key: LeaseKey,
    },
    /// A handler adds a job that is to follow when it completes.
    FollowUp {
        /// The fence.
        key: LeaseKey,
        /// The job that follows.
        child: JobId,
    },
    /// A handler has ended, or was dropped.
    Ended {
        /// The fence.
        key: LeaseKey,
        /// It was dropped before its end.
        dropped: bool,
    },
    /// The conductor started a process.
    Born {
        /// The process.
        name: String,
        /// It is of another build of this program.
        #[serde(default)]
        second: bool,
    },
    /// A process ended.
    Died {
        /// The process.
        name: String,
    },
    /// A fault begins.
    Fault {
        /// Its number in the plan.
        number: u32,
        /// Which fault.
        kind: String,
        /// The process it hits, if one.
        victim: Option<String>,
    },
    /// A fault has got so far.
    Moment {
        /// Its number.
        number: u32,
        /// How far.
        moment: Moment,
    },
    /// A fault is over.
    Healed {
        /// Its number.
        number: u32,
        /// What else is to be said of it, such as how many replies were dropped.
        count: u64,
    },
    /// The memory of a process, in bytes.
    Memory {
        /// The process.
        name: String,
        /// Resident, in bytes.
        bytes: u64,
    },
}

/// Now, by the machine's monotonic clock.
pub fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds * 1_000_000 + u64::try_from(now.tv_nsec).unwrap_or_default() / 1_000
}

/// A length in the unit of the histories.
pub fn micros(length: Duration) -> u64 {
    u64::try_from(length.as_micros()).unwrap_or(u64::MAX)
}

/// Writes a history. Cheap to clone.
#[derive(Debug, Clone)]
pub struct History {
    process: String,
    file: Arc<Mutex<File>>,
}

impl History {
    /// Begins the history of a process, in a new file of its name.
    pub fn begin(folder: &Path, process: &str) -> Result<Self> {
        let path = folder.join(format!("{process}.jsonl"));
        let file = OpenOptions::new().create_new(true).append(true).open(path)?;
        Ok(Self { process: process.to_owned(), file: Arc::new(Mutex::new(file)) })
    }

    /// Writes down what happened. Returns when the system has it.
    ///
    /// # Panics
    /// When it can't: nothing may happen that is not written down.
    pub fn record(&self, what: What) {
        let entry = Entry { t: now(), process: self.process.clone(), what };
        if let Err(error) = self.write(&entry) {
            panic!("the history of `{}` can't be written: {error}", self.process);
        }
    }

    fn write(&self, entry: &Entry) -> Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // One call: a process that is killed leaves whole lines.
        Ok(file.write_all(&line)?)
    }
}

/// Reads all histories of a folder, in the order of their times.
pub fn read(folder: &Path) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for file in std::fs::read_dir(folder)? {
        let path = file?.path();
        let mut lines = BufReader::new(File::open(&path)?);
        let mut line = String::new();
        while lines.read_line(&mut line)? > 0 {
            // A process that was killed in the middle of a line acted on nothing that the line says.
            if line.ends_with('\n') {
                let entry = serde_json::from_str(&line);
                entries.push(entry.map_err(|e| format!("`{}`: {e}", path.display()))?);
            }
            line.clear();
        }
    }
    entries.sort_by_key(|entry: &Entry| entry.t);
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (
            History::begin(folder.path(), "one").unwrap(),
            History::begin(folder.path(), "two").unwrap(),
        );
        let names = ["a", "b", "c", "d"];
        for (n, name) in names.into_iter().enumerate() {
            let history = if n % 2 == 0 { &one } else { &two };
            history.record(What::Born { name: name.to_owned(), second: false });
        }
        std::fs::OpenOptions::new()
            .append(true)
            .open(folder.path().join("one.jsonl"))
            .unwrap()
            .write_all(b"{\"t\":1,")
            .unwrap();
        let read = read(folder.path()).unwrap();
        let found: Vec<_> = read
            .iter()
            .map(|entry| match &entry.what {
                What::Born { name, .. } => name.as_str(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(found, names);
        assert_eq!(read[1].process, "two");
    }

    #[test]
    fn a_history_is_begun_once() {
        let folder = tempfile::tempdir().unwrap();
        History::begin(folder.path(), "one").unwrap();
        assert!(History::begin(folder.path(), "one").is_err());
    }
}
