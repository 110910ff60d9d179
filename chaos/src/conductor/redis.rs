//! Redis: one server behind a network that fails when told to, or a primary with a replica and Sentinels.

use std::time::{Duration, Instant};

use windlass_test_servers::{Proxy, QUICK, RedisBuilder, RedisSentinels, RedisServer};

use super::network::Network;
use super::plan::{FaultKind, Plan};
use crate::Result;
use crate::wire::redis::Redis as Protocol;

/// Bytes of the disk of the append-only file, where one can be mounted.
const DISK: u64 = 3 << 30;
const HOUR: Duration = Duration::from_secs(3_600);
/// Room in bytes before the memory is full.
const ROOM: u64 = 200 << 10;
const PATIENCE: Duration = Duration::from_secs(60);

/// A server, and the network before it.
#[derive(Debug)]
pub struct Redis {
    server: RedisServer,
    network: Network,
    small_disk: bool,
    movable_clock: bool,
    ahead: Duration,
}

impl Redis {
    /// Starts a server that syncs its append-only file so (`appendfsync`), with as many ways to fail as there can be.
    pub async fn start(fsync: &str) -> Result<Self> {
        let plain = RedisServer::builder().setting("appendfsync", fsync);
        type Change = fn(RedisBuilder) -> RedisBuilder;
        let changes: [(bool, bool, Change); 4] = [
            (true, true, |server| server.data_on_tmpfs(DISK).movable_clock()),
            (true, false, |server| server.data_on_tmpfs(DISK)),
            (false, true, |server| server.movable_clock()),
            (false, false, |server| server),
        ];
        let mut last = None;
        for (small_disk, movable_clock, change) in changes {
            match change(plain.clone()).start().await {
                Ok(server) => {
                    let proxy = Proxy::start(server.port()).await?;
                    let network = Network::start(proxy, Protocol::new).await?;
                    let ahead = Duration::ZERO;
                    return Ok(Self { server, network, small_disk, movable_clock, ahead });
                }
                Err(error) => {
                    eprintln!("a fault less: {error}");
                    last = Some(error);
                }
            }
        }
        Err(last.map_or_else(|| "no server".into(), Into::into))
    }

    /// The URL through the network.
    pub fn url(&self) -> String {
        let (from, to) = (self.server.port().to_string(), self.network.port().to_string());
        self.direct().replace(&format!(":{from}/"), &format!(":{to}/"))
    }

    /// The URL around it.
    pub fn direct(&self) -> String {
        self.server.url("chaos")
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The faults that it can have.
    pub fn faults(&self) -> Vec<FaultKind> {
        let mut faults = vec![
            FaultKind::WorkerKilled,
            FaultKind::WorkerStopped,
            FaultKind::ProducerKilled,
            FaultKind::ServerKilled,
            FaultKind::ServerStopped,
            FaultKind::ConnectionsCut,
            FaultKind::NetworkSlow,
            FaultKind::NetworkStalled,
            FaultKind::RepliesDropped,
            FaultKind::MemoryFull,
            FaultKind::ScriptsForgotten,
        ];
        if self.small_disk {
            faults.push(FaultKind::DiskFull);
        }
        if self.movable_clock {
            faults.push(FaultKind::ClockOfServer);
        }
        faults
    }

    /// Kills the server, and starts it after a while.
    pub async fn kill(&self, hold: Duration) -> Result<()> {
        self.server.kill_9().await?;
        tokio::time::sleep(hold).await;
        Ok(self.server.start().await?)
    }

    /// Stops the server for a while.
    pub async fn stop(&self, hold: Duration) -> Result<()> {
        self.server.pause().await?;
        tokio::time::sleep(hold).await;
        Ok(self.server.resume().await?)
    }

    /// Fills its disk for a while.
    pub async fn fill_disk(&self, hold: Duration) -> Result<()> {
        let filler = self.server.fill_disk().await?;
        tokio::time::sleep(hold).await;
        drop(filler);
        // A server that must sync each write and can't has ended; another takes writes again within a second.
        if self.server.command(&["PING"]).await.is_err() {
            self.server.kill_9().await?;
            self.server.start().await?;
        }
        Ok(())
    }

    /// Lets its memory be full for a while.
    pub async fn fill_memory(&self, hold: Duration) -> Result<()> {
        let used: u64 = self.server.info("used_memory").await?.parse()?;
        let most = (used + ROOM).to_string();
        self.server.command(&["CONFIG", "SET", "maxmemory", &most]).await?;
        tokio::time::sleep(hold).await;
        self.server.command(&["CONFIG", "SET", "maxmemory", "0"]).await?;
        Ok(())
    }

    /// Forgets the scripts several times.
    pub async fn forget_scripts(&self, plan: &mut Plan) -> Result<()> {
        for _ in 0..5 {
            self.server.command(&["SCRIPT", "FLUSH"]).await?;
            tokio::time::sleep(plan.between(0.05, 0.3)).await;
        }
        Ok(())
    }

    /// Moves its clock an hour forward.
    pub async fn move_clock(&mut self) -> Result<()> {
        self.ahead += HOUR;
        self.server.clock_ahead(self.ahead).await?;
        // Until it looks again.
        tokio::time::sleep(Duration::from_secs(2)).await;
        Ok(())
    }
}

/// A primary, a replica, and Sentinels.
#[derive(Debug)]
pub struct Pair {
    all: RedisSentinels,
    /// Parameters of the URL.
    more: &'static str,
}

impl Pair {
    /// Starts them; with `wait`, inserts wait for the replica.
    pub async fn start(wait: bool) -> Result<Self> {
        let all = RedisSentinels::start(RedisServer::builder(), 1, QUICK).await?;
        let more = if wait { "&wait_replicas=1&wait_timeout=500ms" } else { "" };
        Ok(Self { all, more })
    }

    /// The URL.
    pub fn url(&self) -> String {
        format!("{}{}", self.all.url("chaos"), self.more)
    }

    /// The faults that they can have.
    pub fn faults(&self) -> Vec<FaultKind> {
        // A failover more often than the others, which are shown on one server.
        vec![
            FaultKind::WorkerKilled,
            FaultKind::WorkerStopped,
            FaultKind::Failover,
            FaultKind::Failover,
            FaultKind::Failover,
        ]
    }

    /// The primary dies after a while in which its replica hears nothing, which takes over.
    pub async fn fail_over(&self, unheard: Duration) -> Result<()> {
        let port = self.all.primary().await?;
        let (primary, replica): (Vec<_>, Vec<_>) =
            self.all.servers().iter().partition(|server| server.port() == port);
        let (Some(primary), Some(replica)) = (primary.first(), replica.first()) else {
            return Err("there is no primary with a replica".into());
        };
        replica.pause().await?;
        primary.command(&["CLIENT", "KILL", "TYPE", "replica"]).await?;
        tokio::time::sleep(unheard).await;
        primary.kill_9().await?;
        replica.resume().await?;
        replica.until_info("role", "master").await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        primary.start().await?;
        primary.until_info("role", "slave").await?;
        primary.until_info("master_link_status", "up").await?;
        // Another failover needs a Sentinel that knows of this one.
        let begun = Instant::now();
        while self.all.primary().await? != replica.port() {
            if begun.elapsed() > PATIENCE {
                return Err("Sentinel does not name the new primary".into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}
