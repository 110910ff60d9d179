//! Where a run takes place: a backend with its servers, and what can be done to it.

use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;

use super::network::Network;
use super::plan::{FaultKind, Plan};
use super::postgres::Postgres;
use super::redis::{Pair, Redis};
use super::sqlite::Sqlite;
use crate::checker::{Promises, UndoneBy};
use crate::history::micros;
use crate::task::{CALL, GRACE, LEASE, SWEEP};
use crate::{Error, Result};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
            lease: micros(LEASE),
            recovery: micros(LEASE + GRACE + SWEEP + SLACK),
            call: micros(CALL),
        }
    }
}

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

    /// Begins a fault of the servers or of the network, holds it for a while, and heals it. Answers what it counted.
    pub async fn strike(&mut self, kind: FaultKind, plan: &mut Plan) -> Result<u64> {
        if let Some(network) = self.network() {
            match kind {
                FaultKind::ConnectionsCut => network.cut(plan).await,
                FaultKind::NetworkSlow => network.slow(plan).await,
                FaultKind::NetworkStalled => network.stall(plan).await,
                FaultKind::RepliesDropped => return Ok(network.drop_replies(plan).await),
                _ => return self.strike_server(kind, plan).await.map(|()| 0),
            }
            return Ok(0);
        }
        self.strike_server(kind, plan).await.map(|()| 0)
    }

    async fn strike_server(&mut self, kind: FaultKind, plan: &mut Plan) -> Result<()> {
        let (short, long) = (plan.between(0.0, 1.5), plan.between(0.5, 5.0));
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
            (Self::Redis(place), FaultKind::ScriptsForgotten) => place.forget_scripts(plan).await,
            (Self::Redis(place), FaultKind::ClockOfServer) => place.move_clock().await,
            (Self::Pair(place), FaultKind::Failover) => {
                place.fail_over(plan.between(0.05, 0.4)).await
            }
            (_, other) => Err(Error::from(format!("no fault `{}` here", other.name()))),
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
