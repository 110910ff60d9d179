//! SQLite backend of Windlass: jobs in one file, shared by any number of processes on one host.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod backend;
mod batch;
mod calls;
mod clock;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod host;
mod open;
mod ops;
mod options;
mod outbox;
mod queue;
mod read;
mod readers;
mod records;
mod schema;
mod script;
mod storage;
mod store;
mod sync;
mod transactional;
mod txn;
mod wake;
mod watch;
mod writer;

pub use backend::SqliteBackend;
pub use host::pool_options;
pub use options::SqliteOptions;
pub use storage::SqliteStorage;
