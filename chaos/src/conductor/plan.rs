//! Which fault comes when: drawn from a seed.

use std::collections::{BTreeMap, BTreeSet};
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

/// How long faults are injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// So long.
    Time(Duration),
    /// Until each kind had its turn so often, and met something.
    Rounds(u32),
}

/// Of so many losses of a worker of one kind, the first has nothing else beside it.
const ALONE: u32 = 4;
/// In rounds, how often a fault is made again that met nothing.
const AGAIN: u32 = 2;

/// Quiet around the loss of a worker: its recovery is judged by the bound of a quiet system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rest {
    /// Until nothing waits for the fault before.
    pub before: Duration,
    /// Until its jobs must have been taken up.
    pub after: Duration,
}

/// Draws faults: each kind once in a shuffled round, then all again, so that a short run has them all.
#[derive(Debug)]
pub struct Plan {
    kinds: Vec<FaultKind>,
    round: Vec<FaultKind>,
    /// Rounds that began.
    rounds: u32,
    /// Those that met something.
    met: BTreeSet<FaultKind>,
    /// How often each met nothing in this round.
    unmet: BTreeMap<FaultKind, u32>,
    /// In rounds, those that met nothing in one of them, however often they were made again.
    failed: BTreeSet<FaultKind>,
    /// How often each worker was lost, by kind.
    losses: BTreeMap<FaultKind, u32>,
    /// Around some of these.
    rest: Rest,
    /// The fault that was drawn last has it.
    rests: bool,
    /// Workers that were lost with it around them.
    quiet_losses: BTreeMap<FaultKind, u64>,
    /// Seconds of quiet between two faults.
    quiet: (f64, f64),
    seed: u64,
    dice: Dice,
}

impl Plan {
    /// A plan of these kinds.
    pub fn new(kinds: Vec<FaultKind>, quiet: (f64, f64), rest: Rest, seed: u64) -> Self {
        let (round, rounds, met, dice) = (Vec::new(), 0, BTreeSet::new(), Dice::of(seed, 0));
        let (unmet, failed, losses) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        let (rests, quiet_losses) = (false, BTreeMap::new());
        Self {
            kinds,
            round,
            rounds,
            met,
            unmet,
            failed,
            losses,
            rest,
            rests,
            quiet_losses,
            quiet,
            seed,
            dice,
        }
    }

    /// For rounds, which have no time to fill: each kind has its turn once, and the quiet after it is the shortest.
    #[must_use]
    pub fn brief(mut self) -> Self {
        let mut known = BTreeSet::new();
        self.kinds.retain(|kind| known.insert(*kind));
        self.quiet.1 = self.quiet.0;
        self
    }

    /// Whether all is done, that long after the begin.
    pub fn is_done(&self, length: Length, elapsed: Duration) -> bool {
        match length {
            Length::Time(time) => elapsed >= time,
            Length::Rounds(rounds) => self.round.is_empty() && self.rounds >= rounds,
        }
    }

    /// The next fault.
    pub fn draw(&mut self) -> Option<FaultKind> {
        if self.round.is_empty() {
            self.round.clone_from(&self.kinds);
            self.dice.shuffle(&mut self.round);
            self.rounds += 1;
            self.unmet.clear();
        }
        self.round.pop()
    }

    /// The quiet around a fault that was drawn, if it is to have some: other faults make the bound of its recovery longer.
    pub fn rest(&mut self, kind: FaultKind) -> Option<Rest> {
        self.rests = false;
        if !matches!(kind, FaultKind::WorkerKilled | FaultKind::WorkerStopped) {
            return None;
        }
        let before = self.losses.entry(kind).or_default();
        *before += 1;
        self.rests = *before % ALONE == 1;
        self.rests.then_some(self.rest)
    }

    /// A fault was made, and met so much. In rounds, one that met nothing has its turn again once the others had theirs.
    pub fn made(&mut self, kind: FaultKind, count: u64, length: Length) {
        if count > 0 {
            self.met.insert(kind);
            if self.rests {
                *self.quiet_losses.entry(kind).or_default() += 1;
            }
            return;
        }
        let unmet = self.unmet.entry(kind).or_default();
        *unmet += 1;
        if !matches!(length, Length::Rounds(_)) {
            return;
        }
        if *unmet <= AGAIN {
            self.round.insert(0, kind);
        } else {
            self.failed.insert(kind);
        }
    }

    /// Workers of a kind of loss that were lost with quiet around them.
    pub fn quiet_losses(&self, kind: FaultKind) -> u64 {
        self.quiet_losses.get(&kind).copied().unwrap_or_default()
    }

    /// The choices of a fault.
    pub fn dice(&self, number: u32) -> Dice {
        Dice::of(self.seed, number)
    }

    /// How long it is quiet before the next fault.
    pub fn quiet(&mut self) -> Duration {
        self.dice.between(self.quiet.0, self.quiet.1)
    }

    /// What was not drawn in the time there was, or met nothing: in all of a time, or in any of the rounds.
    pub fn missing(&self) -> Vec<FaultKind> {
        let kinds: BTreeSet<FaultKind> = self.kinds.iter().copied().collect();
        let never: BTreeSet<FaultKind> = kinds.difference(&self.met).copied().collect();
        never.union(&self.failed).copied().collect()
    }
}

#[cfg(test)]
mod tests;
