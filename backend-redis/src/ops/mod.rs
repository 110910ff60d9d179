//! What changes jobs: each call as one script, or as a few that are each whole by themselves.

pub(crate) mod blobs;
pub(crate) mod change;
pub(crate) mod claim;
pub(crate) mod insert;
pub(crate) mod maintain;
pub(crate) mod prune;
pub(crate) mod record;
pub(crate) mod settings;
pub(crate) mod settle;
pub(crate) mod worker;

use windlass_core::{Error, Limits, Result};

/// The error of a value above a limit.
fn above(what: &'static str, actual: u64, limit: u64, hint: &'static str) -> Error {
    Error::LimitExceeded { what: what.into(), actual, limit, hint: hint.into() }
}

fn at_most(what: &'static str, actual: usize, limit: usize, hint: &'static str) -> Result<()> {
    if actual <= limit { Ok(()) } else { Err(above(what, actual as u64, limit as u64, hint)) }
}

/// A start that lies too far ahead by the server's clock.
fn too_far(limits: &Limits, seconds: i64) -> Error {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    above("delay in seconds", seconds, limits.delay.as_secs(), "use a shorter one")
}
