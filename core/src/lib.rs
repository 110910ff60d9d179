//! Core of the Windlass background-job library: the traits [`Queue`], [`Store`] and [`Storage`],
//! the pure state machine that every backend is held to, the memory backend and the worker runtime.
//!
//! Applications use the facade crate `windlass`; backend authors start at [`backend`].
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod backend;
pub mod client;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod definition;
pub mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod job;
pub mod kit;
pub mod limits;
pub mod machine;
pub mod memory;
pub mod outbox;
pub mod queue;
pub mod retention;
pub mod storage;
pub mod store;
mod sync;
pub mod worker;

pub use backend::{Backend, Capabilities, Transactional};
pub use client::{
    BlobSource, Client, Draft, Enqueue, Followed, Handle, IntoDraft, NoResult, PrunedAll, PutBlob,
    ResultOf, Since,
};
pub use definition::{Backoff, Job, Outcome, Stop};
pub use error::{Error, Result};
pub use jiff::Timestamp;
pub use job::*;
pub use limits::Limits;
pub use memory::MemoryBackend;
pub use outbox::Outbox;
pub use queue::*;
pub use retention::Retention;
pub use storage::{Blob, BlobKey, BlobMeta, MemoryStorage, Storage};
pub use store::*;
pub use worker::{
    CancelCause, Context, Handler, MAINTENANCE_MAX, RunningWorker, Worker, WorkerOptions,
    WorkerStats,
};
