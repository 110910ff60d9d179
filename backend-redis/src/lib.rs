//! Redis backend of Windlass: jobs in the memory of a server that the service may already have.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod aside;
mod backend;
mod changes;
mod copies;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod link;
mod ops;
mod options;
mod pack;
mod queue;
mod read;
mod records;
mod route;
mod script;
mod storage;
mod store;
mod wake;
mod wire;

pub use backend::RedisBackend;
pub use options::{Durability, RedisOptions};
pub use redis::{ConnectionInfo, RedisConnectionInfo};
pub use script::scripts;
pub use storage::RedisStorage;
