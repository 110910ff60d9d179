//! Redis servers.

mod builder;
mod cluster;
mod sentinel;
mod server;
mod shared;

pub use builder::RedisBuilder;
pub use cluster::RedisCluster;
pub use sentinel::RedisSentinels;
pub use server::{Redis, RedisServer};
