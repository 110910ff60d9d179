//! SQLite: a file, on a small disk where that can be mounted.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use windlass_test_servers::Disk;

use super::met;
use super::plan::FaultKind;
use super::processes::stops;
use crate::Result;

/// Bytes of the small disk.
const DISK: u64 = 2 << 30;
/// How long the lock of the database is watched for a writer.
const WATCH: Duration = Duration::from_secs(5);
/// The byte of the file of shared memory that whoever writes has locked (`WAL_WRITE_LOCK`).
const WRITE_LOCK: u64 = 120;
/// Needs room on the disk.
const PROBE: &str = "INSERT INTO chaos_probes VALUES (zeroblob(262144))";
/// `SQLITE_IOERR` and `SQLITE_FULL`.
const NO_ROOM: [i32; 2] = [10, 13];

/// A database, and where it lies.
#[derive(Debug)]
pub struct Sqlite {
    disk: Option<Disk>,
    path: PathBuf,
    left_out: Vec<String>,
}

impl Sqlite {
    /// Makes a place for a database, in `folder` where no disk can be mounted.
    pub async fn start(folder: &Path) -> Result<Self> {
        let (disk, left_out) = match Disk::new(DISK).await {
            Ok(disk) => (Some(disk), Vec::new()),
            Err(error) => (None, vec![format!("disk full: {error}")]),
        };
        let path = disk.as_ref().map_or(folder, Disk::path).join("jobs.db");
        Ok(Self { disk, path, left_out })
    }

    /// The URL of the database.
    pub fn url(&self) -> String {
        format!("sqlite:{}", self.path.display())
    }

    /// The faults that it can have.
    pub fn faults(&self) -> Vec<FaultKind> {
        let mut faults = vec![
            FaultKind::WorkerKilled,
            FaultKind::WorkerStopped,
            FaultKind::ProducerKilled,
            FaultKind::KilledInCommit,
            FaultKind::AllKilled,
        ];
        if self.disk.is_some() {
            faults.push(FaultKind::DiskFull);
        }
        faults
    }

    /// The faults that it can't have, and why.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// Fills the disk for a while, until what needs room fails. Answers whether it did.
    pub async fn fill_disk(&self, hold: Duration) -> Result<u64> {
        let Some(disk) = &self.disk else { return Ok(0) };
        let filler = disk.fill().await?;
        let met = met::hold(hold, || async { u64::from(self.is_full().await) }).await;
        drop(filler);
        Ok(met)
    }

    /// Whether there is no room for what is written now. Not so if somebody else writes meanwhile.
    async fn is_full(&self) -> bool {
        let probe = async {
            let options = self.options().busy_timeout(Duration::from_secs(1));
            let mut conn = options.connect().await?;
            sqlx::query(PROBE).execute(&mut conn).await?;
            conn.close().await
        };
        let failed: Option<sqlx::Error> = probe.await.err();
        let code = failed.as_ref().and_then(sqlx::Error::as_database_error);
        let code = code.and_then(|error| error.code()?.parse::<i32>().ok());
        // What stands above tells more of it.
        code.is_some_and(|code| NO_ROOM.contains(&(code & 0xff)))
    }

    /// Stops the one of these processes that holds the write lock, as soon as one does. Answers which: it holds it still.
    pub async fn stop_writer(&self, pids: Vec<i32>) -> Result<Option<i32>> {
        let mut shared = self.path.clone().into_os_string();
        shared.push("-shm");
        let shared = PathBuf::from(shared);
        // Looks as often as it can: a commit takes less than a timer's pace.
        tokio::task::spawn_blocking(move || {
            let inode = std::fs::metadata(&shared)?.ino();
            let begun = Instant::now();
            while begun.elapsed() < WATCH {
                let Some(pid) = writer(inode)?.filter(|pid| pids.contains(pid)) else { continue };
                let Some(process) = Pid::from_raw(pid) else { continue };
                kill_process(process, Signal::STOP)?;
                if stops(pid) && writer(inode)? == Some(pid) {
                    return Ok(Some(pid));
                }
                kill_process(process, Signal::CONT)?;
            }
            Ok(None)
        })
        .await?
    }

    fn options(&self) -> SqliteConnectOptions {
        let options = SqliteConnectOptions::new().filename(&self.path);
        options.busy_timeout(Duration::from_secs(20))
    }

    async fn connect(&self) -> Result<SqliteConnection> {
        Ok(self.options().connect().await?)
    }

    /// What the database finds wrong with itself.
    pub async fn damage(&self) -> Result<Vec<String>> {
        let mut conn = self.connect().await?;
        let said: Vec<String> =
            sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&mut conn).await?;
        conn.close().await?;
        Ok(said.into_iter().filter(|line| line != "ok").collect())
    }
}

/// Who holds the write lock of a database with this file of shared memory.
fn writer(inode: u64) -> Result<Option<i32>> {
    Ok(holder(&std::fs::read_to_string("/proc/locks")?, inode))
}

fn holder(locks: &str, inode: u64) -> Option<i32> {
    let inode = inode.to_string();
    locks.lines().find_map(|line| {
        // `1: POSIX  ADVISORY  WRITE 77 fd:00:1234 120 120`; one that waits has an arrow after its number.
        let [_, "POSIX", _, "WRITE", pid, file, from, to] =
            *line.split_whitespace().collect::<Vec<_>>().as_slice()
        else {
            return None;
        };
        let to = if to == "EOF" { u64::MAX } else { to.parse().ok()? };
        let covers = (from.parse::<u64>().ok()?..=to).contains(&WRITE_LOCK);
        (covers && file.rsplit(':').next() == Some(&inode)).then(|| pid.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCKS: &str = "1: POSIX  ADVISORY  READ 70 fd:00:1234 124 124
2: POSIX  ADVISORY  WRITE 71 fd:00:9999 120 120
2: -> POSIX  ADVISORY  WRITE 72 fd:00:1234 120 120
3: FLOCK  ADVISORY  WRITE 73 fd:00:1234 0 EOF
4: POSIX  ADVISORY  WRITE 74 fd:00:1234 120 122
";

    #[test]
    fn who_writes_is_who_holds_that_lock() {
        assert_eq!(holder(LOCKS, 1234), Some(74));
        assert_eq!(holder(LOCKS, 1235), None);
    }

    #[tokio::test]
    async fn a_process_that_holds_no_lock_is_not_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let place =
            Sqlite { disk: None, path: folder.path().join("jobs.db"), left_out: Vec::new() };
        // Our own: were it stopped, this test would not end.
        let pid = i32::try_from(std::process::id()).unwrap();
        let options = SqliteConnectOptions::new().filename(&place.path).create_if_missing(true);
        let mut conn = options.connect().await.unwrap();
        sqlx::raw_sql("PRAGMA journal_mode = WAL; CREATE TABLE a (n); BEGIN IMMEDIATE")
            .execute(&mut conn)
            .await
            .unwrap();
        let inode = std::fs::metadata(folder.path().join("jobs.db-shm")).unwrap().ino();
        assert_eq!(writer(inode).unwrap(), Some(pid));
        sqlx::raw_sql("COMMIT").execute(&mut conn).await.unwrap();
        assert_eq!(writer(inode).unwrap(), None);
        assert_eq!(place.stop_writer(vec![pid]).await.unwrap(), None);
    }
}
