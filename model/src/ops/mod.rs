//! Random operations, one by one on the memory backend and on a real one: each answer must be the same, and so must what is
//! stored after it.
//!
//! [`op`] says what can happen; choices that depend on what exists are indexes into it, so that a sequence stays one when it is
//! shrunk. [`compare`] is the one place that says what may honestly differ. The memory backend is recorded, too, and its history checked by
//! [`windlass_checker`]: two backends that are wrong alike would be the same.

pub mod compare;
pub mod host;
mod judge;
mod make;
pub mod op;
mod read;
mod run;
pub mod wrong;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use windlass_core::{Backend, MemoryBackend};

pub use self::compare::Seen;
pub use self::host::Host;
pub use self::run::run;

/// Moves the clock of a backend forward.
pub type Advance = Box<dyn Fn(Duration) + Send + Sync>;

/// How time passes on the real backend.
pub enum Time {
    /// Its clock can be moved.
    Moved(Advance),
    /// It can't: short spans are really waited for, at once after the operation that began them, so that none ends between an
    /// operation on one backend and the same on the other.
    Waited,
}

/// What a real backend is compared with: a fresh memory backend.
#[derive(Debug)]
pub struct Model {
    /// The backend that is asked.
    pub backend: Arc<dyn Backend>,
    /// The memory backend that it is, or stands on: its clock counts.
    pub clock: MemoryBackend,
}

impl Default for Model {
    fn default() -> Self {
        let clock = MemoryBackend::new();
        Self { backend: Arc::new(clock.clone()), clock }
    }
}

/// A fresh real backend.
#[derive(Debug)]
pub struct Real {
    /// The backend.
    pub backend: Arc<dyn Backend>,
    /// How its time passes.
    pub time: Time,
    /// Where the host's own transactions are, if it joins them.
    pub host: Option<Box<dyn Host>>,
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Moved(_) => "Moved",
            Self::Waited => "Waited",
        })
    }
}

impl Real {
    /// A span that can pass.
    #[must_use]
    pub const fn soon(&self) -> Duration {
        match self.time {
            Time::Moved(_) => Duration::from_secs(60),
            Time::Waited => Duration::from_millis(20),
        }
    }
}
