//! For backend authors: what every backend would otherwise write again.
//!
//! [`board`] is where a process waits for news, [`seen`] which of them claims have looked at, [`tasks`] are what brings them, [`gather`] sends calls together, [`upload`] cuts a blob into chunks. [`feed`] and [`trail`] give the history of jobs a compact text to be stored as (`docs/design/0001` has the
//! reasoning); a backend is free to store it otherwise.

pub mod board;
pub mod feed;
pub mod gather;
pub mod notes;
pub mod seen;
pub mod tasks;
pub mod trail;
pub mod upload;

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;

use crate::{Error, NewJob};

/// The jobs of an insert in as few runs as hold no id twice. Whether a repeat is new, and so wants its unique key, is known when what stands before it
/// is decided: an id whose first job met a held key is stored nowhere.
#[must_use]
pub fn without_repeats(jobs: &[NewJob]) -> Vec<&[NewJob]> {
    let (mut runs, mut begin, mut ids) = (Vec::new(), 0, HashSet::new());
    for (end, job) in jobs.iter().enumerate() {
        if !ids.insert(job.id) {
            runs.push(&jobs[begin..end]);
            begin = end;
            ids = HashSet::from([job.id]);
        }
    }
    runs.push(&jobs[begin..]);
    runs
}

/// A duration in whole microseconds, rounded up. Sums of two such values never overflow.
#[must_use]
pub fn micros(duration: Duration) -> i64 {
    let rounded = duration.as_nanos().div_ceil(1_000);
    // Half the range is 146,000 years.
    i64::try_from(rounded).unwrap_or(i64::MAX).min(i64::MAX / 2)
}

/// A time stored as microseconds since 1970. What is out of range becomes the nearest that can be told.
#[must_use]
pub fn timestamp(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(if micros < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

/// A duration stored as microseconds; negative ones are zero.
#[must_use]
pub fn duration(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// A stored value that can't be read.
pub fn unreadable(
    what: &'static str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    Error::Decode { what: what.into(), source: source.into() }
}

/// A column of a job that can't be read. The source must quote nothing of what is stored.
pub fn damaged(
    job: impl std::fmt::Display,
    column: &'static str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    Error::Decode { what: format!("column `{column}` of job {job}").into(), source: source.into() }
}

/// What is wrong with stored JSON, without a word of it.
#[must_use]
pub fn bad_json(error: &serde_json::Error) -> String {
    let what = if error.is_data() { "its JSON has another shape" } else { "it is not JSON" };
    format!("{what}, from line {}, column {} on", error.line(), error.column())
}

fn push_hex(to: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        to.push(char::from(DIGITS[usize::from(byte >> 4)]));
        to.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

fn push_json_text(to: &mut String, text: &str) {
    let plain = |b: u8| b >= 0x20 && b != b'"' && b != b'\\';
    if text.bytes().all(plain) {
        to.push('"');
        to.push_str(text);
        to.push('"');
    } else {
        to.push_str(&serde_json::Value::from(text).to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_rounded_up() {
        assert_eq!(micros(Duration::from_nanos(1)), 1);
        assert_eq!(micros(Duration::ZERO), 0);
        assert!(micros(Duration::MAX).checked_add(micros(Duration::MAX)).is_some());
    }
}
