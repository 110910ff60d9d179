//! What every process did, as it happened: lines of JSON in a file of its own.
//!
//! A line is in the file (not necessarily on the disk) before what it says is acted on: a process that is killed leaves all that anybody
//! could have learnt from it. Times are microseconds of the machine's monotonic clock, which all its processes share.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use windlass_checker::history::{Entry, What};

use crate::Result;

/// Now, by the machine's monotonic clock.
pub fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds * 1_000_000 + u64::try_from(now.tv_nsec).unwrap_or_default() / 1_000
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
