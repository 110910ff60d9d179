//! What jobs carry.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// The arguments of a job: about 100 bytes as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Payload {
    /// Which job it is. Numbers of a run are consecutive.
    pub number: u64,
    /// When it was to be sent, in microseconds since 1970.
    pub sent_at: u64,
    /// What makes it larger.
    pub padding: String,
}

impl Payload {
    /// The job of that number, sent now.
    pub fn new(number: u64) -> Self {
        Self::sent(number, micros())
    }

    /// The same, sent at a time given in microseconds since 1970.
    pub fn sent(number: u64, sent_at: u64) -> Self {
        Self { number, sent_at, padding: "x".repeat(40) }
    }
}

/// Microseconds since 1970. Processes of one machine share them.
pub fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_about_100_bytes() {
        let text = serde_json::to_string(&Payload::new(123_456)).unwrap();
        assert!((90..=110).contains(&text.len()), "{}", text.len());
    }
}
