//! What changes jobs: each call as one script, or as a few that are each whole by themselves.

pub(crate) mod blobs;
pub(crate) mod change;
pub(crate) mod claim;
pub(crate) mod insert;
pub(crate) mod maintain;
pub(crate) mod plain;
pub(crate) mod prune;
pub(crate) mod record;
pub(crate) mod settings;
pub(crate) mod settle;
pub(crate) mod worker;

#[cfg(test)]
mod tests;

use windlass_core::{Error, Limits, Note, Result};

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

/// What one script takes at once, besides the number of entries: things to write, and bytes that come with them.
const THINGS: usize = 200;
const BYTES: usize = 4 << 20;

/// Splits what is to be sent into scripts. Each takes so many entries at the most, and no more than is done in some milliseconds: an entry that alone is
/// more than that has a script of its own.
fn portions<T>(
    mut all: &[T],
    at_once: usize,
    load: impl Fn(&T) -> (usize, usize),
) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let (mut things, mut bytes) = (0, 0);
        let fits = |entry: &&T| {
            let (more, larger) = load(entry);
            (things, bytes) = (things + more, bytes + larger);
            things <= THINGS && bytes <= BYTES
        };
        let count = all.iter().take(at_once).take_while(fits).count().max(1).min(all.len());
        let (portion, rest) = all.split_at(count);
        all = rest;
        (!portion.is_empty()).then_some(portion)
    })
}

/// The load of notes.
fn load_of(notes: &[Note]) -> (usize, usize) {
    (notes.len(), notes.iter().map(Note::bytes).sum())
}
