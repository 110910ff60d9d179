//! Durable background jobs inside a Rust application: the same semantics on every backend, chosen by a URL.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use windlass::{Context, Job, Outcome, Worker};
//!
//! #[derive(Job, Serialize, Deserialize)]
//! #[job(kind = "greet", output = String)]
//! struct Greet {
//!     name: String,
//! }
//!
//! async fn greet(job: Greet, cx: Context) -> Outcome<String> {
//!     Ok(format!("Hello, {}! (attempt {})", job.name, cx.attempt()))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = windlass::connect("memory:").await?;
//! let worker = Worker::new(&client).register(greet).queue("default", 8).start()?;
//!
//! let job = client.enqueue(Greet { name: "world".into() }).await?;
//! assert_eq!(job.result().await?, "Hello, world! (attempt 1)");
//!
//! worker.shutdown();
//! worker.join().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | (none) | the client, the worker, `#[derive(Job)]`, and the memory backend for tests: `memory:` |
//! | `sqlite` | the SQLite backend, one file and nothing to install: `sqlite:jobs.db` |
//! | `postgres` | the Postgres backend, in a schema of its own: `postgres://user@host/database` |
//! | `postgres-tls` | TLS to Postgres, by rustls |
//! | `redis` | the Redis backend, in a namespace of its own: `redis://user:password@host/0`, `redis+sentinel://host,host/service` or `redis+cluster://host,host` |
//! | `redis-tls` | TLS to Redis, by rustls: `rediss://`, `rediss+sentinel://`, `rediss+cluster://` |
//! | `object-store` | blobs in a folder, or in any store of the crate `object_store` |
//! | `s3` | blobs in S3 and its look-alikes by a URL: `s3://bucket/prefix` |
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod connect;

pub use connect::{connect, connect_with};
pub use windlass_core::*;
pub use windlass_macros::Job;

/// The SQLite backend, for what goes beyond [`connect`]: options, and jobs in the host's own transaction.
#[cfg(feature = "sqlite")]
#[cfg_attr(docsrs, doc(cfg(feature = "sqlite")))]
pub mod sqlite {
    pub use windlass_sqlite::*;
}

/// The Postgres backend, for what goes beyond [`connect`]: options, the host's own pool, and jobs in the host's own transaction.
#[cfg(feature = "postgres")]
#[cfg_attr(docsrs, doc(cfg(feature = "postgres")))]
pub mod postgres {
    pub use windlass_postgres::*;
}

/// The Redis backend, for what goes beyond [`connect`]: options.
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub mod redis {
    pub use windlass_redis::*;
}

/// The guide's code, compiled.
#[cfg(all(doctest, feature = "sqlite", feature = "postgres"))]
#[doc = include_str!("../docs/guide.md")]
mod guide {}

/// The README's code, compiled.
#[cfg(all(doctest, feature = "sqlite"))]
#[doc = include_str!("../README.md")]
mod readme {}
