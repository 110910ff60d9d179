//! What each server can do at most: loops by hand, without a library of jobs.
//!
//! They make the durable writes that Windlass makes, and no others: a key that is a UUIDv7, a claim that raises an epoch and leaves a fresh claim id, and
//! a finish that is fenced by both and keeps the job among the finished.
//! A batch is finished in the commit that claims the next.
#![forbid(unsafe_code)]

mod postgres;
mod redis;
mod rusqlite;
mod sqlite;
mod table;

pub use postgres::Postgres;
pub use redis::Redis;
pub use rusqlite::Rusqlite;
pub use sqlite::Sqlite;
pub use table::Raw;
