//! SQLite: a file, on a small disk where that can be mounted.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use windlass_test_servers::Disk;

use super::plan::FaultKind;
use crate::Result;

/// Bytes of the small disk.
const DISK: u64 = 2 << 30;
/// How long the log of the database is watched for a commit.
const WATCH: Duration = Duration::from_secs(5);

/// A database, and where it lies.
#[derive(Debug)]
pub struct Sqlite {
    disk: Option<Disk>,
    path: PathBuf,
}

impl Sqlite {
    /// Makes a place for a database, in `folder` where no disk can be mounted.
    pub async fn start(folder: &Path) -> Result<Self> {
        let disk = match Disk::new(DISK).await {
            Ok(disk) => Some(disk),
            Err(error) => {
                eprintln!("no fault `disk full`: {error}");
                None
            }
        };
        let path = disk.as_ref().map_or(folder, Disk::path).join("jobs.db");
        Ok(Self { disk, path })
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

    /// Fills the disk for a while.
    pub async fn fill_disk(&self, hold: Duration) -> Result<()> {
        let Some(disk) = &self.disk else { return Ok(()) };
        let filler = disk.fill().await?;
        tokio::time::sleep(hold).await;
        drop(filler);
        Ok(())
    }

    /// Waits for a moment at which the log of the database grows. Answers whether there was one.
    pub async fn in_commit(&self) -> Result<bool> {
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        let log = PathBuf::from(log);
        // Looks as often as it can: a commit takes less than a timer's pace.
        Ok(tokio::task::spawn_blocking(move || {
            let seen = || std::fs::metadata(&log).and_then(|log| log.modified()).ok();
            let (begun, before) = (Instant::now(), seen());
            while begun.elapsed() < WATCH {
                if seen() != before {
                    return true;
                }
            }
            false
        })
        .await?)
    }

    async fn connect(&self) -> Result<SqliteConnection> {
        let options = SqliteConnectOptions::new().filename(&self.path);
        Ok(options.busy_timeout(Duration::from_secs(20)).connect().await?)
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
