//! Which fault comes when: drawn from a seed.

use std::collections::BTreeSet;
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
    /// The worker is killed that holds the write lock of the database.
    KilledInCommit,
    /// All processes are killed at once while one of them holds the write lock of the database.
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
    /// The primary is stopped until its replica has taken over, and goes on as if it still were the primary.
    PrimaryStopped,
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
            Self::PrimaryStopped => "primary stopped",
        }
    }
}

/// What a server can't have that was started after these errors: first with a clock that moves on a small disk, then on the disk alone.
pub fn left_out(small_disk: bool, movable_clock: bool, errors: &[String]) -> Vec<String> {
    // What follows the first line is told by the server, and to whom it concerns.
    let first_line = |error: &String| error.lines().next().unwrap_or_default().to_owned();
    let of = |has: bool, fault: FaultKind, error: usize| {
        let error = errors.get(error).or(errors.last()).map(first_line).unwrap_or_default();
        (!has).then(|| format!("{}: {error}", fault.name()))
    };
    let disk = of(small_disk, FaultKind::DiskFull, 1);
    disk.into_iter().chain(of(movable_clock, FaultKind::ClockOfServer, 0)).collect()
}

/// Random choices, of which each fault has its own: how many one makes changes nothing of the next.
#[derive(Debug)]
pub struct Dice(fastrand::Rng);

impl Dice {
    /// Those of a fault, by its number.
    pub fn of(seed: u64, number: u32) -> Self {
        // An odd factor: other numbers begin elsewhere.
        let number = u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self(fastrand::Rng::with_seed(seed ^ number))
    }

    /// A length between two, in seconds.
    pub fn between(&mut self, from: f64, to: f64) -> Duration {
        Duration::from_secs_f64(from + (to - from) * self.0.f64())
    }

    /// One of several.
    pub fn one_of<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        if of.is_empty() { None } else { of.get(self.0.usize(..of.len())) }
    }

    /// A number below another.
    pub fn below(&mut self, most: u64) -> u64 {
        self.0.u64(..most.max(1))
    }

    /// Another order.
    pub fn shuffle<T>(&mut self, of: &mut [T]) {
        self.0.shuffle(of);
    }
}

/// Draws faults: each kind once in a shuffled round, then all again, so that a short run has them all.
#[derive(Debug)]
pub struct Plan {
    kinds: Vec<FaultKind>,
    round: Vec<FaultKind>,
    drawn: BTreeSet<FaultKind>,
    /// Seconds of quiet between two faults.
    quiet: (f64, f64),
    seed: u64,
    dice: Dice,
}

impl Plan {
    /// A plan of these kinds.
    pub fn new(kinds: Vec<FaultKind>, quiet: (f64, f64), seed: u64) -> Self {
        let (round, drawn, dice) = (Vec::new(), BTreeSet::new(), Dice::of(seed, 0));
        Self { kinds, round, drawn, quiet, seed, dice }
    }

    /// The next fault.
    pub fn draw(&mut self) -> Option<FaultKind> {
        if self.round.is_empty() {
            self.round.clone_from(&self.kinds);
            self.dice.shuffle(&mut self.round);
        }
        let drawn = self.round.pop();
        self.drawn.extend(drawn);
        drawn
    }

    /// The choices of a fault.
    pub fn dice(&self, number: u32) -> Dice {
        Dice::of(self.seed, number)
    }

    /// How long it is quiet before the next fault.
    pub fn quiet(&mut self) -> Duration {
        self.dice.between(self.quiet.0, self.quiet.1)
    }

    /// What was not drawn in the time there was.
    pub fn missing(&self) -> Vec<FaultKind> {
        self.kinds.iter().copied().filter(|kind| !self.drawn.contains(kind)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_plan_and_every_kind_in_each_round() {
        let kinds = vec![FaultKind::WorkerKilled, FaultKind::WorkerStopped, FaultKind::DiskFull];
        let draw = |seed| {
            let mut plan = Plan::new(kinds.clone(), (1.0, 4.0), seed);
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

    #[test]
    fn what_one_fault_chooses_changes_nothing_of_the_next() {
        let kinds = vec![FaultKind::WorkerKilled, FaultKind::RepliesDropped];
        let next = |choices| {
            let mut plan = Plan::new(kinds.clone(), (1.0, 4.0), 7);
            let mut dice = plan.dice(1);
            (0..choices).for_each(|_| {
                dice.below(1_000);
            });
            (plan.draw(), plan.quiet(), plan.dice(2).below(1_000_000))
        };
        assert_eq!(next(0), next(5));
    }

    #[test]
    fn it_is_told_what_there_was_no_time_for() {
        let kinds = vec![FaultKind::WorkerKilled, FaultKind::DiskFull];
        let mut plan = Plan::new(kinds.clone(), (1.0, 4.0), 7);
        assert_eq!(plan.missing(), kinds);
        let drawn = plan.draw().unwrap();
        assert!(!plan.missing().contains(&drawn) && plan.missing().len() == 1);
    }
}
