//! What threads share their state by. The protocols that `interleavings` goes through take it from here, and there find instruments in its stead.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
pub(crate) use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) use tokio::spawn;
pub(crate) use tokio::sync::{Notify, oneshot};
pub(crate) use tokio::time::{Instant, sleep_until};
