//! Which fault comes when: drawn from a seed.

use std::time::Duration;

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// A worker is killed (SIGKILL), and another started.
    WorkerKilled,
    /// A worker is stopped (SIGSTOP) for longer than its lease, and goes on.
    WorkerStopped,
    /// A producer is killed, and another started.
    ProducerKilled,
    /// A worker is killed while the log of the database grows.
    KilledInCommit,
    /// All processes are killed at once while the log of the database grows.
    AllKilled,
    /// A process's clock runs an hour ahead.
    ClockOfProcess,
    /// The disk is full for a while.
    DiskFull,
    /// The server is killed (SIGKILL, all its processes), and started.
    ServerKilled,
    /// The server is stopped for a while.
    ServerStopped,
    /// Its clock is moved an hour forward.
    ClockOfServer,
    /// All connections are cut.
    ConnectionsCut,
    /// Every piece of data takes longer.
    NetworkSlow,
    /// Nothing goes through for a while, then all connections are cut.
    NetworkStalled,
    /// Replies to what was committed are dropped with their connections.
    RepliesDropped,
    /// The server's memory is full.
    MemoryFull,
    /// The scripts are forgotten.
    ScriptsForgotten,
    /// The primary dies while its replica lags, and that takes over.
    Failover,
}

impl FaultKind {
    /// Its name in histories and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::WorkerKilled => "worker killed",
            Self::WorkerStopped => "worker stopped",
            Self::ProducerKilled => "producer killed",
            Self::KilledInCommit => "killed in mid-commit",
            Self::AllKilled => "all killed in mid-commit",
            Self::ClockOfProcess => "clock of a process",
            Self::DiskFull => "disk full",
            Self::ServerKilled => "server killed",
            Self::ServerStopped => "server stopped",
            Self::ClockOfServer => "clock of the server",
            Self::ConnectionsCut => "connections cut",
            Self::NetworkSlow => "network slow",
            Self::NetworkStalled => "network stalled",
            Self::RepliesDropped => "replies dropped",
            Self::MemoryFull => "memory full",
            Self::ScriptsForgotten => "scripts forgotten",
            Self::Failover => "failover",
        }
    }

    /// Whether it hits one worker.
    pub fn hits_worker(self) -> bool {
        matches!(self, Self::WorkerKilled | Self::WorkerStopped | Self::KilledInCommit)
    }
}

/// Draws faults: each kind once in a shuffled round, then all again, so that a short run has them all.
#[derive(Debug)]
pub struct Plan {
    kinds: Vec<FaultKind>,
    round: Vec<FaultKind>,
    random: fastrand::Rng,
}

impl Plan {
    /// A plan of these kinds.
    pub fn new(kinds: Vec<FaultKind>, seed: u64) -> Self {
        Self { kinds, round: Vec::new(), random: fastrand::Rng::with_seed(seed) }
    }

    /// The next fault.
    pub fn draw(&mut self) -> Option<FaultKind> {
        if self.round.is_empty() {
            self.round.clone_from(&self.kinds);
            self.random.shuffle(&mut self.round);
        }
        self.round.pop()
    }

    /// How long it is quiet before the next fault.
    pub fn quiet(&mut self) -> Duration {
        self.between(1.0, 4.0)
    }

    /// A length between two, in seconds.
    pub fn between(&mut self, from: f64, to: f64) -> Duration {
        Duration::from_secs_f64(from + (to - from) * self.random.f64())
    }

    /// One of several.
    pub fn one_of<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        if of.is_empty() { None } else { of.get(self.random.usize(..of.len())) }
    }

    /// A number below another.
    pub fn below(&mut self, most: u64) -> u64 {
        self.random.u64(..most.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_plan_and_every_kind_in_each_round() {
        let kinds = vec![FaultKind::WorkerKilled, FaultKind::WorkerStopped, FaultKind::DiskFull];
        let draw = |seed| {
            let mut plan = Plan::new(kinds.clone(), seed);
            (0..30).map(|_| (plan.draw().unwrap(), plan.quiet())).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        for round in draw(7).chunks(3) {
            let mut found: Vec<_> = round.iter().map(|(kind, _)| *kind).collect();
            found.sort();
            assert_eq!(found, kinds);
        }
    }
}
