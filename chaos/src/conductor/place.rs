//! Where a run takes place: a backend with its servers, and what can be done to it.

use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;
use windlass_checker::history::{Moment, micros};
use windlass_checker::{Promises, UndoneBy};

use super::WORKERS;
use super::network::Network;
use super::plan::{Dice, FaultKind};
use super::postgres::Postgres;
use super::redis::{Pair, Redis};
use super::sqlite::Sqlite;
use crate::task::{CALL, GRACE, LEASE, SWEEP};
use crate::{Error, Result};

/// The longest a worker rests between two sweeps: the more have a lease, the longer, and all may have predecessors whose leases still last.
const LONGEST_SWEEP: Duration = SWEEP.saturating_mul(2 * WORKERS);
/// What recovery may take on top of lease, grace and sweep, on a busy machine.
const SLACK: Duration = Duration::from_secs(5);

/// A backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[allow(missing_docs)]
pub enum Backend {
    Sqlite,
    Postgres,
    Redis,
}

impl Backend {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Redis => "redis",
        }
    }

    /// Its settings, and which part of the time each has.
    pub fn settings(self) -> &'static [(Setting, f64)] {
        match self {
            Self::Sqlite => &[(Setting::Sqlite, 1.0)],
            Self::Postgres => &[(Setting::Postgres, 1.0)],
            Self::Redis => &[
                (Setting::Always, 0.4),
                (Setting::EverySecond, 0.15),
                (Setting::Never, 0.15),
                (Setting::Failover, 0.15),
                (Setting::FailoverWaited, 0.15),
            ],
        }
    }
}

/// A backend in one of its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Setting {
    /// SQLite, `synchronous=FULL`.
    Sqlite,
    /// PostgreSQL, `synchronous_commit=on`.
    Postgres,
    /// Redis, `appendfsync always`.
    Always,
    /// Redis, `appendfsync everysec`.
    EverySecond,
    /// Redis, `appendfsync no`.
    Never,
    /// Redis with a replica and Sentinels.
    Failover,
    /// The same; inserts wait for the replica.
    FailoverWaited,
}

impl Setting {
    /// The backend.
    pub fn backend(self) -> Backend {
        match self {
            Self::Sqlite => Backend::Sqlite,
            Self::Postgres => Backend::Postgres,
            _ => Backend::Redis,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Always => "redis, appendfsync always",
            Self::EverySecond => "redis, appendfsync everysec",
            Self::Never => "redis, appendfsync no",
            Self::Failover => "redis, failover",
            Self::FailoverWaited => "redis, failover, inserts wait for the replica",
        }
    }

    /// What must hold.
    pub fn promises(self) -> Promises {
        let undone_by = match self {
            Self::Sqlite | Self::Postgres | Self::Always => UndoneBy::Nothing,
            // The system has what was written, also when the server is killed.
            Self::Never => UndoneBy::FullDisk,
            // A write waits while an earlier one is synced, for up to two seconds.
            Self::EverySecond => UndoneBy::KilledServer,
            Self::Failover | Self::FailoverWaited => UndoneBy::Failover,
        };
        Promises {
            undone_by,
            inserts: undone_by == UndoneBy::Nothing || self == Self::FailoverWaited,
            one_writer: self == Self::Sqlite,
            transactional: matches!(self, Self::Sqlite | Self::Postgres),
            busy: true,
            lease: micros(LEASE),
            recovery: micros(LEASE + GRACE + LONGEST_SWEEP + SLACK),
            call: micros(CALL),
        }
    }
}

/// Told of each moment of a fault that has several.
pub type Mark<'a> = dyn Fn(Moment) + Sync + 'a;

/// Servers that run.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Place {
    Sqlite(Sqlite),
    Postgres(Postgres),
    Redis(Redis),
    Pair(Pair),
}

impl Place {
    /// Starts what a setting needs.
    pub async fn start(setting: Setting, folder: &Path) -> Result<Self> {
        Ok(match setting {
            Setting::Sqlite => Self::Sqlite(Sqlite::start(folder).await?),
            Setting::Postgres => Self::Postgres(Postgres::start().await?),
            Setting::Always => Self::Redis(Redis::start("always").await?),
            Setting::EverySecond => Self::Redis(Redis::start("everysec").await?),
            Setting::Never => Self::Redis(Redis::start("no").await?),
            Setting::Failover => Self::Pair(Pair::start(false).await?),
            Setting::FailoverWaited => Self::Pair(Pair::start(true).await?),
        })
    }

    /// The URL for workers and producers.
    pub fn url(&self) -> String {
        match self {
            Self::Sqlite(place) => place.url(),
            Self::Postgres(place) => place.url(),
            Self::Redis(place) => place.url(),
            Self::Pair(place) => place.url(),
        }
    }

    /// The URL for what looks after it.
    pub fn direct(&self) -> String {
        match self {
            Self::Sqlite(place) => place.url(),
            Self::Postgres(place) => place.direct(),
            Self::Redis(place) => place.direct(),
            Self::Pair(place) => place.url(),
        }
    }

    /// The faults that it can have.
    pub fn faults(&self) -> Vec<FaultKind> {
        match self {
            Self::Sqlite(place) => place.faults(),
            Self::Postgres(place) => place.faults(),
            Self::Redis(place) => place.faults(),
            Self::Pair(place) => place.faults(),
        }
    }

    /// The network, where there is one.
    pub fn network(&self) -> Option<&Network> {
        match self {
            Self::Postgres(place) => Some(place.network()),
            Self::Redis(place) => Some(place.network()),
            Self::Sqlite(_) | Self::Pair(_) => None,
        }
    }

    /// The faults that it can't have, and why.
    pub fn left_out(&self) -> &[String] {
        match self {
            Self::Sqlite(place) => place.left_out(),
            Self::Postgres(place) => place.left_out(),
            Self::Redis(place) => place.left_out(),
            Self::Pair(_) => &[],
        }
    }

    /// How many seconds it is quiet between two faults: longer where one undoes answers for a while, and the others are to be strict.
    pub fn quiet(&self) -> (f64, f64) {
        match self {
            Self::Pair(_) => (4.0, 10.0),
            _ => (1.0, 4.0),
        }
    }

    /// Ends whatever may still be wrong after a fault that failed.
    pub async fn heal(&self) -> Result<()> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(place) => place.heal().await,
            Self::Redis(place) => place.heal().await,
            Self::Pair(place) => place.heal().await,
        }
    }

    /// Begins a fault of the servers or of the network, holds it for a while, and heals it. Answers what it met: 0 if that was nothing.
    pub async fn strike(
        &mut self,
        kind: FaultKind,
        dice: &mut Dice,
        mark: &Mark<'_>,
    ) -> Result<u64> {
        if let Some(network) = self.network() {
            match kind {
                FaultKind::ConnectionsCut => return Ok(network.cut(dice).await),
                FaultKind::NetworkSlow => return Ok(network.slow(dice).await),
                FaultKind::NetworkStalled => return Ok(network.stall(dice).await),
                FaultKind::RepliesDropped => return Ok(network.drop_replies(dice).await),
                _ => {}
            }
        }
        self.strike_server(kind, dice, mark).await
    }

    async fn strike_server(
        &mut self,
        kind: FaultKind,
        dice: &mut Dice,
        mark: &Mark<'_>,
    ) -> Result<u64> {
        let (short, long) = (dice.between(0.0, 1.5), dice.between(0.5, 5.0));
        match (self, kind) {
            (Self::Sqlite(place), FaultKind::DiskFull) => place.fill_disk(long).await,
            (Self::Postgres(place), FaultKind::ServerKilled) => place.kill(short).await,
            (Self::Postgres(place), FaultKind::ServerStopped) => place.stop(long).await,
            (Self::Postgres(place), FaultKind::DiskFull) => place.fill_disk(short).await,
            (Self::Postgres(place), FaultKind::ClockOfServer) => place.move_clock().await,
            (Self::Redis(place), FaultKind::ServerKilled) => place.kill(short).await,
            (Self::Redis(place), FaultKind::ServerStopped) => place.stop(long).await,
            (Self::Redis(place), FaultKind::DiskFull) => place.fill_disk(short).await,
            (Self::Redis(place), FaultKind::MemoryFull) => place.fill_memory(long).await,
            (Self::Redis(place), FaultKind::ScriptsForgotten) => place.forget_scripts(dice).await,
            (Self::Redis(place), FaultKind::ClockOfServer) => place.move_clock().await,
            (Self::Pair(place), FaultKind::Failover) => {
                place.fail_over(dice.between(0.05, 0.4), mark).await
            }
            (Self::Pair(place), FaultKind::PrimaryStopped) => place.stop_primary(mark).await,
            (Self::Pair(place), FaultKind::ConnectionsCut) => place.cut(dice).await,
            (_, other) => Err(Error::from(format!("no fault `{}` here", other.name()))),
        }
    }

    /// The version of a server that is no database of SQL.
    pub async fn version(&self) -> Result<Option<String>> {
        match self {
            Self::Sqlite(_) | Self::Postgres(_) => Ok(None),
            Self::Redis(place) => place.version().await.map(Some),
            Self::Pair(place) => place.version().await.map(Some),
        }
    }

    /// What the database finds wrong with itself.
    pub async fn damage(&self) -> Result<Vec<String>> {
        match self {
            Self::Sqlite(place) => place.damage().await,
            _ => Ok(Vec::new()),
        }
    }
}
