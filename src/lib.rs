//! Durable background jobs inside a Rust application: the same semantics on every backend, chosen by a URL.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use windlass::Job;
//!
//! #[derive(Job, Serialize, Deserialize)]
//! #[job(kind = "greet", output = String)]
//! struct Greet {
//!     name: String,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> windlass::Result<()> {
//! let client = windlass::connect("memory:").await?;
//! let job = client.enqueue(Greet { name: "world".into() }).queue("hello").await?;
//! println!("job {} waits for a worker", job.id());
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
//! | `object-store` | blobs in a folder, S3 and its look-alikes, GCS or Azure, through the crate `object_store` |
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod connect;
#[cfg(feature = "sqlite")]
mod sqlite;

pub use connect::{connect, connect_with};
pub use windlass_core::*;
pub use windlass_macros::Job;
