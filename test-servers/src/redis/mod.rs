//! Redis servers.

mod builder;
mod server;
mod shared;

pub use builder::RedisBuilder;
pub use server::{Redis, RedisServer};
