//! Redis: one server behind a network that fails when told to, or a primary with a replica and Sentinels.

use std::time::{Duration, Instant};

use windlass_checker::history::Moment;
use windlass_test_servers::{Proxy, QUICK, RedisBuilder, RedisSentinels, RedisServer};

use super::met;
use super::network::Network;
use super::place::Mark;
use super::plan::{Dice, FaultKind, left_out};
use crate::Result;
use crate::wire::redis::Redis as Protocol;

/// Bytes of the disk of the append-only file, where one can be mounted.
const DISK: u64 = 3 << 30;
const HOUR: Duration = Duration::from_secs(3_600);
/// Room in bytes before the memory is full.
const ROOM: u64 = 200 << 10;
const PATIENCE: Duration = Duration::from_secs(60);
const PACE: Duration = Duration::from_millis(100);

/// A server, and the network before it.
#[derive(Debug)]
pub struct Redis {
    server: RedisServer,
    network: Network,
    small_disk: bool,
    movable_clock: bool,
    left_out: Vec<String>,
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
        let mut errors: Vec<String> = Vec::new();
        for (small_disk, movable_clock, change) in changes {
            match change(plain.clone()).start().await {
                Ok(server) => {
                    let proxy = Proxy::start(server.port()).await?;
                    let network = Network::start(proxy, Protocol::new).await?;
                    let ahead = Duration::ZERO;
                    let left_out = left_out(small_disk, movable_clock, &errors);
                    return Ok(Self {
                        server,
                        network,
                        small_disk,
                        movable_clock,
                        left_out,
                        ahead,
                    });
                }
                Err(error) => errors.push(error.to_string()),
            }
        }
        Err(format!("no server: {}", errors.join("; ")).into())
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

    /// The faults that it can't have, and why.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// Its version.
    pub async fn version(&self) -> Result<String> {
        version(&self.server).await
    }

    /// Whether it answers. One that refuses writes does.
    async fn answers(&self) -> bool {
        self.server.command(&["INFO", "server"]).await.is_ok()
    }

    /// Kills the server, and starts it after a while. Answers whether it was alive.
    pub async fn kill(&self, hold: Duration) -> Result<u64> {
        let alive = self.answers().await;
        self.server.kill_9().await?;
        tokio::time::sleep(hold).await;
        self.server.start().await?;
        Ok(u64::from(alive))
    }

    /// Stops the server for a while. Answers whether it was alive.
    pub async fn stop(&self, hold: Duration) -> Result<u64> {
        let alive = self.answers().await;
        self.server.pause().await?;
        tokio::time::sleep(hold).await;
        self.server.resume().await?;
        Ok(u64::from(alive))
    }

    /// How often it answered with an error of this name since it was started; nothing if it does not answer.
    async fn refused(&self, error: &str) -> Option<u64> {
        let told = self.server.command(&["INFO", "errorstats"]).await.ok()?;
        Some(refusals(&told, error))
    }

    /// How many writes it has refused for want of room since it had refused so many. Its end is one, if it answered before; one that does not
    /// answer in time has not ended.
    async fn had_no_room(&self, before: Option<u64>) -> u64 {
        let Some(before) = before else { return 0 };
        match self.refused("MISCONF").await {
            Some(refused) => refused.saturating_sub(before),
            None => u64::from(self.server.has_ended().await.unwrap_or(false)),
        }
    }

    /// Fills its disk for a while, until it refuses writes or ends. Answers how many it refused; its end is one.
    pub async fn fill_disk(&self, hold: Duration) -> Result<u64> {
        let before = self.refused("MISCONF").await;
        let filler = self.server.fill_disk().await?;
        let met = met::hold(hold, || self.had_no_room(before)).await;
        drop(filler);
        // A server that must sync each write and can't has ended; another takes writes again within a second.
        if self.server.command(&["PING"]).await.is_err() {
            self.server.kill_9().await?;
            self.server.start().await?;
        }
        // What an operator has to do: the log may have a hole, with which the server doesn't start again (`docs/operations.md`).
        self.server.until_info("aof_last_write_status", "ok").await?;
        self.write_log_anew().await?;
        Ok(met)
    }

    /// Lets it write its log anew, and waits until it has.
    async fn write_log_anew(&self) -> Result<()> {
        let begun = Instant::now();
        // Refused while it does so already.
        while let Err(error) = self.server.command(&["BGREWRITEAOF"]).await {
            if begun.elapsed() > PATIENCE {
                return Err(error.into());
            }
            tokio::time::sleep(PACE).await;
        }
        for (figure, value) in [
            ("aof_rewrite_scheduled", "0"),
            ("aof_rewrite_in_progress", "0"),
            ("aof_last_bgrewrite_status", "ok"),
        ] {
            self.server.until_info(figure, value).await?;
        }
        Ok(())
    }

    /// Lets its memory be full for a while, until it refuses writes. Answers how many.
    pub async fn fill_memory(&self, hold: Duration) -> Result<u64> {
        let before = self.refused("OOM").await.unwrap_or_default();
        let used: u64 = self.server.info("used_memory").await?.parse()?;
        let most = (used + ROOM).to_string();
        self.server.command(&["CONFIG", "SET", "maxmemory", &most]).await?;
        let refused = || async {
            self.refused("OOM").await.map_or(0, |refused| refused.saturating_sub(before))
        };
        let met = met::hold(hold, refused).await;
        self.server.command(&["CONFIG", "SET", "maxmemory", "0"]).await?;
        Ok(met)
    }

    /// Forgets the scripts several times. Answers how many it knew.
    pub async fn forget_scripts(&self, dice: &mut Dice) -> Result<u64> {
        let mut forgotten = 0;
        for _ in 0..5 {
            forgotten += self.server.info("number_of_cached_scripts").await?.parse::<u64>()?;
            self.server.command(&["SCRIPT", "FLUSH"]).await?;
            tokio::time::sleep(dice.between(0.05, 0.3)).await;
        }
        Ok(forgotten)
    }

    /// Lets it run, whatever was done to it.
    pub async fn heal(&self) -> Result<()> {
        self.network.heal();
        revive(&self.server).await?;
        self.server.command(&["CONFIG", "SET", "maxmemory", "0"]).await?;
        Ok(())
    }

    /// Moves its clock an hour forward. Answers whether it tells so.
    pub async fn move_clock(&mut self) -> Result<u64> {
        self.ahead += HOUR;
        self.server.clock_ahead(self.ahead).await?;
        // Until it looks again.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let told = self.server.command(&["TIME"]).await.unwrap_or_default();
        let seconds = told.lines().next().and_then(|line| line.trim().parse().ok());
        Ok(u64::from(seconds.is_some_and(|seconds| met::is_ahead(seconds, self.ahead))))
    }
}

/// How many errors of a name a section of `INFO` tells of; it names none that never came.
fn refusals(told: &str, error: &str) -> u64 {
    let name = format!("errorstat_{error}:count=");
    let count = told.lines().find_map(|line| line.trim().strip_prefix(&name)?.parse().ok());
    count.unwrap_or_default()
}

async fn version(server: &RedisServer) -> Result<String> {
    let told = server.command(&["INFO", "server"]).await?;
    let version = told.lines().find_map(|line| line.trim().strip_prefix("redis_version:"));
    Ok(version.ok_or("the server does not tell its version")?.to_owned())
}

/// Starts a server that does not run, or is stopped.
async fn revive(server: &RedisServer) -> Result<()> {
    // It may not be stopped.
    let _ = server.resume().await;
    if server.command(&["PING"]).await.is_err() {
        let _ = server.kill_9().await;
        server.start().await?;
    }
    Ok(())
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
            FaultKind::ProducerKilled,
            FaultKind::ConnectionsCut,
            FaultKind::PrimaryStopped,
            FaultKind::Failover,
            FaultKind::Failover,
        ]
    }

    /// Their version.
    pub async fn version(&self) -> Result<String> {
        version(self.roles().await?.0).await
    }

    /// The primary and its replica.
    async fn roles(&self) -> Result<(&RedisServer, &RedisServer)> {
        let port = self.all.primary().await?;
        let (primary, replica): (Vec<_>, Vec<_>) =
            self.all.servers().iter().partition(|server| server.port() == port);
        match (primary.first(), replica.first()) {
            (Some(primary), Some(replica)) => Ok((*primary, *replica)),
            _ => Err("there is no primary with a replica".into()),
        }
    }

    /// Cuts all connections of clients several times. Answers how many there were.
    pub async fn cut(&self, dice: &mut Dice) -> Result<u64> {
        let (primary, _) = self.roles().await?;
        let mut cut = 0;
        for _ in 0..1 + dice.below(4) {
            let killed = primary.command(&["CLIENT", "KILL", "TYPE", "normal"]).await?;
            cut += killed.parse::<u64>()?;
            tokio::time::sleep(dice.between(0.1, 0.6)).await;
        }
        Ok(cut)
    }

    /// Lets all servers run, whatever was done to them.
    pub async fn heal(&self) -> Result<()> {
        for server in self.all.servers() {
            revive(server).await?;
        }
        Ok(())
    }

    /// The primary is stopped until its replica has taken over; it goes on as a primary until it is told. Answers 1, once that is so.
    pub async fn stop_primary(&self, mark: &Mark<'_>) -> Result<u64> {
        let (primary, replica) = self.roles().await?;
        primary.pause().await?;
        replica.until_info("role", "master").await?;
        mark(Moment::Promoted);
        primary.resume().await?;
        self.demoted(primary, replica, mark).await?;
        Ok(1)
    }

    /// The primary dies after a while in which its replica hears nothing, which takes over. Answers 1, once that is so.
    pub async fn fail_over(&self, unheard: Duration, mark: &Mark<'_>) -> Result<u64> {
        let (primary, replica) = self.roles().await?;
        replica.pause().await?;
        mark(Moment::LinkCut);
        primary.command(&["CLIENT", "KILL", "TYPE", "replica"]).await?;
        tokio::time::sleep(unheard).await;
        primary.kill_9().await?;
        mark(Moment::Killed);
        replica.resume().await?;
        replica.until_info("role", "master").await?;
        mark(Moment::Promoted);
        tokio::time::sleep(Duration::from_secs(1)).await;
        primary.start().await?;
        self.demoted(primary, replica, mark).await?;
        Ok(1)
    }

    /// Waits until the old primary follows the new one, and Sentinel says so.
    async fn demoted(
        &self,
        primary: &RedisServer,
        replica: &RedisServer,
        mark: &Mark<'_>,
    ) -> Result<()> {
        primary.until_info("role", "slave").await?;
        mark(Moment::Demoted);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_is_told_by_name() {
        let told = "# Errorstats\r\nerrorstat_ERR:count=3\r\nerrorstat_OOM:count=12\r\n";
        assert_eq!((refusals(told, "OOM"), refusals(told, "MISCONF")), (12, 0));
    }

    #[tokio::test]
    async fn a_full_disk_is_not_met_by_a_server_that_had_ended_before() {
        let place = Redis::start("always").await.unwrap();
        place.server.kill_9().await.unwrap();
        assert_eq!(place.fill_disk(Duration::ZERO).await.unwrap(), 0);
        // It runs again, and ends while its disk is full.
        let before = place.refused("MISCONF").await;
        assert_eq!(place.had_no_room(before).await, 0);
        place.server.kill_9().await.unwrap();
        assert_eq!(place.had_no_room(before).await, 1);
    }

    #[tokio::test]
    async fn a_server_whose_disk_was_full_starts_again() {
        let place = Redis::start("everysec").await.unwrap();
        assert!(place.small_disk, "{:?}", place.left_out);
        place.write_log_anew().await.unwrap();
        let write = async |value: &str| place.server.command(&["SET", "key", value]).await;
        let value = "x".repeat(5_001);
        let writes = async {
            loop {
                // Refused while there is no room.
                let _ = write(&value).await;
            }
        };
        let met = tokio::select! {
            met = place.fill_disk(Duration::ZERO) => met.unwrap(),
            () = writes => 0,
        };
        assert!(met > 0);
        place.server.until_info("aof_last_write_status", "ok").await.unwrap();
        write("last").await.unwrap();
        place.server.kill_9().await.unwrap();
        place.server.start().await.unwrap();
        assert_eq!(place.server.command(&["GET", "key"]).await.unwrap().trim(), "last");
    }
}
