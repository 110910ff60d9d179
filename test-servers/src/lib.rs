//! Private servers for tests: each on a free port of 127.0.0.1, in a folder of its own, gone when the test process is gone.
//!
//! Servers come from Debian's packages. One that is missing is an error that names the package; no test is skipped. A process that
//! runs as root starts them as the user that the package makes, because they refuse to run as root. The environment variable
//! `WINDLASS_TEST_POSTGRES_BIN` names a folder of PostgreSQL's programs (`initdb`, `postgres`, `pg_ctl`) to use instead of the newest
//! that is installed; that user must be able to read it.
//!
//! A test process can end without running any destructor: by a signal, or with a server in a static. So each server has a
//! watchdog, a small shell process that waits for the end of the test process, then ends the server and removes its folder.
#![forbid(unsafe_code)]

mod binaries;
mod chromium;
mod clock;
mod disk;
mod error;
mod home;
mod pgbouncer;
mod port;
mod postgres;
mod proxy;
mod redis;
#[cfg(feature = "s3")]
mod s3;

pub use chromium::Chromium;
pub use clock::clock_ahead;
pub use disk::{Disk, Filler};
pub use error::{Error, Result};
pub use pgbouncer::{PgBouncer, PgBouncerBuilder};
pub use port::free as free_port;
pub use postgres::{Auth, Postgres, PostgresBuilder, PostgresServer};
pub use proxy::{Proxy, Stall};
pub use redis::{PATIENT, QUICK, Redis, RedisBuilder, RedisCluster, RedisSentinels, RedisServer};
#[cfg(feature = "s3")]
pub use s3::S3Server;
