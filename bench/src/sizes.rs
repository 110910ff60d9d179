//! How much is done.

/// Numbers of jobs and seconds.
pub struct Sizes {
    pub rounds: usize,
    /// Of each enqueue workload.
    pub seconds: f64,
    /// Jobs whose latency is taken.
    pub samples: u64,
    /// Jobs that are drained.
    pub backlog: u64,
    /// Jobs that wait 1 ms each.
    pub waiting: u64,
    /// How long a drain may take.
    pub limit: f64,
    /// How long a row of latencies may take.
    pub sampling: f64,
    /// How long jobs come at a pace.
    pub load: f64,
    pub steady: f64,
    /// How long nothing is to be done, of Windlass, then of peers.
    pub idle: [f64; 2],
    /// A large backlog, and a large history.
    pub large: u64,
    /// What is drained of it, or beside it.
    pub part: u64,
    /// Jobs that are drained beside an old snapshot.
    pub pinned: u64,
    /// Jobs after which tables and memory are weighed.
    pub kept: u64,
}

impl Sizes {
    pub fn quick() -> Self {
        Self {
            rounds: 1,
            seconds: 0.2,
            samples: 30,
            backlog: 2_000,
            waiting: 1_000,
            limit: 30.0,
            sampling: 30.0,
            load: 0.5,
            steady: 0.5,
            idle: [0.5; 2],
            large: 10_000,
            part: 1_000,
            pinned: 10_000,
            kept: 5_000,
        }
    }

    pub fn full() -> Self {
        Self {
            rounds: 5,
            seconds: 0.4,
            samples: 1_000,
            backlog: 50_000,
            waiting: 20_000,
            limit: 4.0,
            sampling: 1.5,
            load: 2.0,
            steady: 60.0,
            idle: [60.0, 20.0],
            large: 1_000_000,
            part: 10_000,
            pinned: 200_000,
            kept: 1_000_000,
        }
    }
}
