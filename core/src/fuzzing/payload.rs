//! Args and results, and the blobs that they refer to.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::check_told;
use crate::storage::blobs_in;
use crate::{Blob, BlobKey, Encoding, Kind, Payload};

/// Args with a field of each sort.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Args {
    width: u32,
    unit: Unit,
    kind: Option<Kind>,
    blob: Option<Blob>,
    parts: Vec<(u8, String)>,
    counts: BTreeMap<String, i64>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Unit {
    Pixel,
    Other { name: char, flag: bool },
}

/// Bytes as stored args.
pub fn payload(data: &[u8]) {
    let stored = Payload { encoding: Encoding::Json, bytes: data.to_vec().into() };
    match stored.parse::<Args>() {
        Ok(args) => {
            let again = Payload::json(&args).unwrap();
            assert_eq!(again.parse::<Args>().unwrap(), args);
        }
        Err(error) => check_told(&error),
    }
    if let Err(error) = (Payload { encoding: Encoding::Blob, ..stored }).parse::<Args>() {
        check_told(&error);
    }
    if let Err(error) = blobs_in(data) {
        check_told(&error);
    }
    if let Ok(value) = serde_json::from_slice::<Value>(data) {
        let mut expected = Vec::new();
        walk(&value, &mut HashSet::new(), &mut expected);
        let text = serde_json::to_vec(&value).unwrap();
        assert_eq!(blobs_in(&text).unwrap(), expected);
    }
}

/// Which blobs a value refers to, told in the plainest way.
fn walk(value: &Value, seen: &mut HashSet<BlobKey>, found: &mut Vec<BlobKey>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| walk(item, seen, found)),
        Value::Object(fields) => {
            fields.values().for_each(|value| walk(value, seen, found));
            let text = |name: &str| fields.get(name).and_then(Value::as_str);
            let key = text("$blob").and_then(|key| BlobKey::new(key).ok());
            let is_whole = fields.get("len").is_some_and(Value::is_u64)
                && text("sha256").is_some_and(|sum| sum.len() == 64)
                && fields.get("keep") != Some(&Value::Bool(true));
            if let Some(key) = key.filter(|key| is_whole && key.is_managed())
                && seen.insert(key.clone())
            {
                found.push(key);
            }
        }
        _ => {}
    }
}
