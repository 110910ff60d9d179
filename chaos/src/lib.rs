//! Real faults on real servers: worker and producer processes, a seeded plan of faults, and a history of everything that was done.
//! `docs/evidence.md` has the method.
//!
//! [`conductor`] starts servers and processes and applies the plan; [`worker`] and [`producer`] are the processes, which write down what
//! they do ([`history`], [`seam`]); [`windlass_checker`] checks what was written down and what is in the store at the end; [`report`] tells it.
#![forbid(unsafe_code)]

pub mod conductor;
pub mod history;
pub mod jobs;
pub mod keys;
pub mod place;
pub mod producer;
pub mod report;
pub mod seam;
pub mod task;
pub mod wire;
pub mod worker;

/// What can go wrong with the program itself.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// The result of what the program does.
pub type Result<T, E = Error> = std::result::Result<T, E>;
