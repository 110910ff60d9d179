//! Which blobs JSON text refers to.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::BlobKey;
use crate::{Error, Result};

/// The field that marks a serialized [`Blob`](super::Blob).
const MARK: &str = "$blob";

/// The keys of the managed blobs (`keep` not set) that JSON text refers to, at any depth, each once and
/// in the order in which they stand. Text without the marker is not parsed.
///
/// # Errors
/// [`Error::Decode`] for text that is not JSON, or nested deeper than a reader would accept.
pub fn blobs_in(json: &[u8]) -> Result<Vec<BlobKey>> {
    let decode = |why: String| Error::Decode { what: "payload".into(), source: why.into() };
    let text = std::str::from_utf8(json).map_err(|_| decode("it is not UTF-8".to_owned()))?;
    if !text.contains(MARK) {
        return Ok(Vec::new());
    }
    let mut found = Found::default();
    // The error's own text may quote the content.
    let place = |e: serde_json::Error| {
        decode(format!("{:?} error at line {} column {}", e.classify(), e.line(), e.column()))
    };
    let mut parser = serde_json::Deserializer::from_str(text);
    Walk(&mut found).deserialize(&mut parser).map_err(place)?;
    parser.end().map_err(place)?;
    Ok(found.keys)
}

#[derive(Default)]
struct Found {
    keys: Vec<BlobKey>,
    seen: HashSet<BlobKey>,
}

/// What a visited value was, as far as a blob's fields are concerned.
enum Seen {
    Text(String),
    Number,
    True,
    Other,
}

/// Walks through a value without building it, so that large args cost no memory.
struct Walk<'a>(&'a mut Found);

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = Seen;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Seen, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = Seen;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Seen, A::Error> {
        let (mut key, mut len, mut sha256, mut keep) = (None, false, false, false);
        while let Some(Name(name)) = map.next_key()? {
            let seen = map.next_value_seed(Walk(&mut *self.0))?;
            match (name, seen) {
                (Field::Key, Seen::Text(text)) => key = BlobKey::new(text).ok(),
                (Field::Len, Seen::Number) => len = true,
                (Field::Sha256, Seen::Text(text)) => sha256 = text.len() == 64,
                (Field::Keep, Seen::True) => keep = true,
                _ => {}
            }
        }
        // The host's own data may have a field of this name: only a whole handle counts. And it may come from
        // strangers: only keys that the library made are managed, so nobody can get another blob deleted.
        if let Some(key) = key.filter(|key| key.is_managed() && len && sha256 && !keep)
            && self.0.seen.insert(key.clone())
        {
            self.0.keys.push(key);
        }
        Ok(Seen::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Seen, A::Error> {
        while seq.next_element_seed(Walk(&mut *self.0))?.is_some() {}
        Ok(Seen::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Seen, E> {
        // No field of a handle that matters here is longer; the host's texts may be.
        Ok(match text.len() <= crate::limits::BLOB_KEY_BYTES {
            true => Seen::Text(text.to_owned()),
            false => Seen::Other,
        })
    }

    fn visit_bool<E>(self, value: bool) -> Result<Seen, E> {
        Ok(if value { Seen::True } else { Seen::Other })
    }

    fn visit_u64<E>(self, _: u64) -> Result<Seen, E> {
        Ok(Seen::Number)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Seen, E> {
        Ok(Seen::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Seen, E> {
        Ok(Seen::Other)
    }

    fn visit_unit<E>(self) -> Result<Seen, E> {
        Ok(Seen::Other)
    }
}

/// The name of a field, as far as it can be one of a handle's.
struct Name(Field);

enum Field {
    Key,
    Len,
    Sha256,
    Keep,
    Other,
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl Visitor<'_> for NameVisitor {
            type Value = Name;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_str<E>(self, name: &str) -> Result<Name, E> {
                Ok(Name(match name {
                    MARK => Field::Key,
                    "len" => Field::Len,
                    "sha256" => Field::Sha256,
                    "keep" => Field::Keep,
                    _ => Field::Other,
                }))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}
