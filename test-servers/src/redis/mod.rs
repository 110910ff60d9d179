//! Redis servers.

use std::time::Duration;

mod builder;
mod cluster;
mod sentinel;
mod server;
mod shared;

/// How long a server may be silent when none is meant to be lost, however busy the machine is.
pub const PATIENT: Duration = Duration::from_secs(30);
/// How long a server may be silent when the loss of one is to be noticed.
pub const QUICK: Duration = Duration::from_secs(3);

pub use builder::RedisBuilder;
pub use cluster::RedisCluster;
pub use sentinel::RedisSentinels;
pub use server::{Redis, RedisServer};
