//! The protocols by which threads of the library wait for each other, run in every order in which their threads can meet.
//!
//! The files are those of the core and the backends. They take what they share their state by from `crate::sync`, which here is loom's: each lock, each atomic and each operation
//! of a `Notify` or a channel is a place where another thread may go on. A wake-up that some order misses is a thread that waits for ever, which loom reports.
//! The `Notify` and the channels inside are Tokio's own, whose operations stand for one step each.
#![forbid(unsafe_code)]
// The tests inside of these files run where the files belong.
#![cfg(not(test))]

#[allow(dead_code, unreachable_pub, reason = "a part of the core")]
#[path = "../../core/src/kit/board.rs"]
mod board;
#[allow(dead_code, reason = "a part of the core")]
#[path = "../../core/src/worker/course.rs"]
mod course;
#[allow(dead_code, unreachable_pub, reason = "a part of the core")]
#[path = "../../core/src/kit/gather.rs"]
mod gather;
#[allow(dead_code, reason = "a part of the backend")]
#[path = "../../backend-sqlite/src/wake.rs"]
mod hub;
pub mod models;
#[allow(dead_code, unreachable_pub, reason = "a part of the core")]
#[path = "../../core/src/kit/seen.rs"]
mod seen;
#[allow(dead_code, unreachable_pub, reason = "a part of the core")]
#[path = "../../core/src/worker/slots.rs"]
mod slots;
mod sync;
#[allow(dead_code, reason = "a part of the core")]
#[path = "../../core/src/worker/upkeep/turns.rs"]
mod turns;
#[allow(dead_code, reason = "a part of the backend")]
#[path = "../../backend-postgres/src/ops/under_way.rs"]
mod under_way;

use windlass_core::{
    ClaimId, ClaimRequest, Error, Kind, KindSlots, Lane, Lease, LogLevel, Note, QueueName,
    QueueSettings, QueueSlots, Wake,
};

/// As in the core's `worker`.
fn lock<T>(mutex: &sync::Mutex<T>) -> sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(sync::PoisonError::into_inner)
}

/// As in the SQLite backend.
mod error {
    pub(crate) const NAME: &str = "sqlite";
}

/// As in the SQLite backend, as far as its hub looks at it.
mod txn {
    use std::collections::BTreeSet;

    #[derive(Debug, Clone, Copy, Default)]
    pub(crate) struct Tick {
        pub(crate) seq: i64,
        pub(crate) turn: i64,
        pub(crate) config: i64,
    }

    #[derive(Debug, Default)]
    pub(crate) struct News {
        pub(crate) queues: BTreeSet<String>,
        pub(crate) events: bool,
    }
}
