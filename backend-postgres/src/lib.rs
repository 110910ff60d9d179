//! Postgres backend of Windlass: jobs in a schema of their own, in the database that the service already has.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod aside;
mod backend;
mod calls;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod gather;
mod ops;
mod options;
mod outbox;
mod queue;
mod read;
mod records;
mod schema;
mod session;
mod spare;
mod sql;
mod storage;
mod store;
mod sync;
mod transactional;
mod txn;
mod wake;

pub use backend::{PoolFigures, PostgresBackend, Role};
pub use options::PostgresOptions;
pub use storage::PostgresStorage;
