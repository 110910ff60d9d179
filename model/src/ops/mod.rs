//! Random operations, one by one on the memory backend and on a real one: each answer must be the same, and so must what is
//! stored after it.
//!
//! [`op`] says what can happen; choices that depend on what exists are indexes into it, so that a sequence stays one when it is
//! shrunk. [`compare`] is the one place that says what may honestly differ.

pub mod compare;
pub mod op;
mod run;
pub mod wrong;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use windlass_core::Backend;

pub use self::compare::Seen;
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

/// A fresh real backend.
#[derive(Debug)]
pub struct Real {
    /// The backend.
    pub backend: Arc<dyn Backend>,
    /// How its time passes.
    pub time: Time,
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
