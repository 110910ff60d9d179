//! Names, keys, ids, cursors and positions: what users pass and what stands in rows.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::kit::feed::{cause_code, cause_from};
use crate::kit::{duration, micros, timestamp};
use crate::limits::{BLOB_KEY_BYTES, NAME_BYTES, UNIQUE_KEY_BYTES};
use crate::store::Cursor;
use crate::{
    BlobKey, ClaimId, Encoding, EventName, JobId, Kind, Position, QueueName, State, Tag, UniqueKey,
    WorkerId,
};

/// An error is no longer than this, however long the input.
const LONGEST_ERROR: usize = 1_024;

/// A text as each of these, and a number as each of the codes.
pub fn names(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    name::<Kind>(&text);
    name::<QueueName>(&text);
    name::<Tag>(&text);
    name::<EventName>(&text);
    if let Some(key) = again::<BlobKey>(&text) {
        assert!(key.as_str() == text && (1..=BLOB_KEY_BYTES).contains(&text.len()));
        assert!(key.as_str().split('/').all(|part| !matches!(part, "" | "." | "..")));
        json(&key);
    }
    if let Ok(key) = UniqueKey::new(&text) {
        assert!(key.as_str() == text && (1..=UNIQUE_KEY_BYTES).contains(&text.len()));
        json(&key);
    }
    again::<JobId>(&text).iter().for_each(json);
    again::<WorkerId>(&text).iter().for_each(json);
    again::<ClaimId>(&text).iter().for_each(json);
    again::<Position>(&text).iter().for_each(json);
    again::<State>(&text).iter().for_each(json);
    again::<Cursor>(&text);
    if let Ok(id) = JobId::from_slice(data) {
        assert_eq!(id.as_bytes(), data);
    }
    if let Some(bytes) = data.first_chunk() {
        number(i64::from_le_bytes(*bytes));
    }
    data.iter().for_each(|byte| number(i64::from(*byte)));
}

fn name<T>(text: &str)
where
    T: FromStr<Err = crate::Error> + Display + PartialEq + Debug + Serialize + DeserializeOwned,
{
    if let Some(name) = again::<T>(text) {
        assert!(name.to_string() == text && (1..=NAME_BYTES).contains(&text.len()));
        json(&name);
    }
}

/// What could be read is written and read again.
fn again<T: FromStr<Err = crate::Error> + Display + PartialEq + Debug>(text: &str) -> Option<T> {
    match text.parse::<T>() {
        Ok(value) => {
            assert_eq!(value.to_string().parse::<T>().unwrap(), value);
            Some(value)
        }
        Err(error) => {
            assert!(super::told(&error).len() < LONGEST_ERROR);
            None
        }
    }
}

fn json<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let text = serde_json::to_string(value).unwrap();
    assert_eq!(serde_json::from_str::<T>(&text).unwrap(), *value);
}

fn number(n: i64) {
    if let Some(state) = State::from_code(n) {
        assert_eq!(i64::from(state.code()), n);
    }
    if let Some(encoding) = Encoding::from_code(n) {
        assert_eq!(i64::from(encoding.code()), n);
    }
    if let Ok(code) = u8::try_from(n)
        && let Ok(cause) = cause_from(code)
    {
        assert_eq!(cause_code(cause), code);
    }
    // What can be told of a time that is out of range is the nearest one.
    let at = timestamp(n);
    if at != jiff::Timestamp::MIN && at != jiff::Timestamp::MAX {
        assert_eq!(at.as_microsecond(), n);
    }
    assert_eq!(micros(duration(n)), n.clamp(0, i64::MAX / 2));
}
