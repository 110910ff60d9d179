//! PostgreSQL behind a network that fails when told to.

use std::io::ErrorKind;
use std::time::Duration;

use sqlx::{Connection as _, PgConnection};
use windlass_test_servers::{Auth, PostgresBuilder, PostgresServer, Proxy};

use super::met;
use super::network::Network;
use super::plan::{FaultKind, left_out};
use crate::Result;
use crate::wire::postgres::Postgres as Protocol;

/// Bytes of the disk of the data, where one can be mounted.
const DISK: u64 = 3 << 30;
const HOUR: Duration = Duration::from_secs(3_600);
/// Needs room in a table.
const PROBE: &str = "INSERT INTO chaos_probes SELECT string_agg(md5(n::text), '') FROM generate_series(1, 8000) AS n";
/// `disk_full`.
const NO_ROOM: &str = "53100";
/// `crash_shutdown` and `cannot_connect_now`: the server has ended, or starts again.
const ENDED: [&str; 2] = ["57P02", "57P03"];
const CLOCK: &str = "SELECT extract(epoch FROM clock_timestamp())::bigint::text";

/// A server, and the network before it.
#[derive(Debug)]
pub struct Postgres {
    server: PostgresServer,
    network: Network,
    small_disk: bool,
    movable_clock: bool,
    left_out: Vec<String>,
    ahead: Duration,
}

impl Postgres {
    /// Starts a server, with as many ways to fail as there can be.
    pub async fn start() -> Result<Self> {
        // Less room for the log, so that a full disk is met by all that writes.
        let plain = PostgresServer::builder().setting("max_wal_size", "256MB");
        // Proving who one is takes processor time that hundreds of cut connections would take from the work.
        let plain = plain.auth(Auth::Trust);
        type Change = fn(PostgresBuilder) -> PostgresBuilder;
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
        self.server.at_port(self.network.port()).url("postgres")
    }

    /// The URL around it.
    pub fn direct(&self) -> String {
        self.server.url("postgres")
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

    /// Whether it answers.
    async fn answers(&self) -> bool {
        self.server.execute("postgres", "SELECT 1").await.is_ok()
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

    /// Whether there is no room: it says so, or it answered before and has ended.
    async fn is_full(&self, answered: bool) -> bool {
        let probe = async {
            let mut conn = PgConnection::connect(&self.direct()).await?;
            sqlx::raw_sql(PROBE).execute(&mut conn).await?;
            conn.close().await
        };
        let failed: Option<sqlx::Error> = probe.await.err();
        failed.is_some_and(|error| tells_of_full_disk(&error, answered))
    }

    /// Fills its disk for a while, until it refuses what needs room, or ends for want of it. Answers whether it did.
    pub async fn fill_disk(&self, hold: Duration) -> Result<u64> {
        let answered = self.answers().await;
        let filler = self.server.fill_disk().await?;
        let met = met::hold(hold, || async { u64::from(self.is_full(answered).await) }).await;
        drop(filler);
        // A server that could not write its log has ended, or is about to.
        for _ in 0..60 {
            if self.answers().await {
                return Ok(met);
            }
            // It may be starting by itself.
            let _ = self.server.start().await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Err("the server does not come back after a full disk".into())
    }

    /// Lets it run, whatever was done to it.
    pub async fn heal(&self) -> Result<()> {
        self.network.heal();
        // It may not be stopped.
        let _ = self.server.resume().await;
        if !self.answers().await {
            let _ = self.server.kill_9().await;
            self.server.start().await?;
        }
        Ok(())
    }

    /// Moves its clock an hour forward. Answers whether it tells so.
    pub async fn move_clock(&mut self) -> Result<u64> {
        self.ahead += HOUR;
        self.server.clock_ahead(self.ahead).await?;
        // Until it looks again.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let told = self.server.value("postgres", CLOCK).await.ok().flatten();
        let seconds = told.and_then(|text| text.parse().ok());
        Ok(u64::from(seconds.is_some_and(|seconds| met::is_ahead(seconds, self.ahead))))
    }
}

/// Whether an error of a server tells of a full disk: it has no room, or it answered before and has ended, as it must if its log can't be written.
fn tells_of_full_disk(error: &sqlx::Error, answered: bool) -> bool {
    match error {
        sqlx::Error::Database(error) => match error.code().as_deref() {
            Some(NO_ROOM) => true,
            code => answered && code.is_some_and(|code| ENDED.contains(&code)),
        },
        sqlx::Error::Io(error) => answered && error.kind() == ErrorKind::ConnectionRefused,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_refuses_connections_has_ended_only_if_it_answered_before() {
        let refused = |kind: ErrorKind| sqlx::Error::Io(kind.into());
        let gone = refused(ErrorKind::ConnectionRefused);
        assert!(tells_of_full_disk(&gone, true) && !tells_of_full_disk(&gone, false));
        assert!(!tells_of_full_disk(&refused(ErrorKind::TimedOut), true));
        assert!(!tells_of_full_disk(&sqlx::Error::RowNotFound, true));
    }
}
