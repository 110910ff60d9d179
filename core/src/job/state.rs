//! The states of a job.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// Where a job stands. The transitions between states are in [`machine`](crate::machine).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum State {
    /// Waits for other jobs.
    Blocked = 0,
    /// Waits for its time.
    Scheduled = 1,
    /// May be claimed now.
    Available = 2,
    /// Claimed by a live worker.
    Running = 3,
    /// Failed, waits for its next attempt.
    Retryable = 4,
    /// Final: the handler succeeded.
    Completed = 5,
    /// Final: cancelled by a user or by its handler.
    Cancelled = 6,
    /// Final: out of attempts, or given up by its handler.
    Discarded = 7,
}

impl State {
    /// Every state, in the order of their codes.
    pub const ALL: [Self; 8] = [
        Self::Blocked,
        Self::Scheduled,
        Self::Available,
        Self::Running,
        Self::Retryable,
        Self::Completed,
        Self::Cancelled,
        Self::Discarded,
    ];
    /// The states that a job leaves only by an explicit retry or by pruning.
    pub const FINAL: [Self; 3] = [Self::Completed, Self::Cancelled, Self::Discarded];

    /// Whether only an explicit retry or pruning changes the job from here.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled | Self::Discarded)
    }

    /// The stable number under which backends store the state.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Reads a stored number.
    #[must_use]
    pub fn from_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|s| i64::from(s.code()) == code)
    }

    /// The name in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Scheduled => "scheduled",
            Self::Available => "available",
            Self::Running => "running",
            Self::Retryable => "retryable",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Discarded => "discarded",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for State {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|s| s.as_str() == text).ok_or_else(|| {
            Error::invalid(
                "state",
                format!("expected one of {}", Self::ALL.map(Self::as_str).join(", ")),
            )
        })
    }
}
