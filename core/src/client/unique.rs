//! Making unique keys out of values.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{Error, Job, OnConflict, Result, Unique, UniqueKey, UniqueUntil};

impl Unique {
    /// A rule with a key made of a value, until the job is finished, keeping what is there. The key stands under the
    /// kind of the job, so those of different kinds never meet.
    ///
    /// Text is taken as it is, anything else as JSON with sorted fields, blobs in it by their content. What is
    /// too long for a key, or has control characters, is taken by its SHA-256.
    ///
    /// ```
    /// # use windlass_core::{Job, Result, Unique, UniqueUntil};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)] struct Mail { to: String }
    /// impl Job for Mail {
    ///     const KIND: &'static str = "mail";
    ///     type Output = ();
    ///     fn unique(&self) -> Result<Option<Unique>> {
    ///         Ok(Some(Unique::of::<Self>(&self.to)?.until(UniqueUntil::Started)))
    ///     }
    /// }
    /// # let mail = Mail { to: "a@b".to_owned() };
    /// # assert_eq!(mail.unique().unwrap().unwrap().key.as_str(), "mail:a@b");
    /// ```
    ///
    /// # Errors
    /// [`Error::Encode`] when the value can't be written as JSON.
    pub fn of<J: Job>(value: &(impl Serialize + ?Sized)) -> Result<Self> {
        let value = serde_json::to_value(value)
            .map_err(|e| Error::Encode { what: "unique key".into(), source: e.into() })?;
        let text = match value {
            Value::String(text) => text,
            mut other => {
                normalize(&mut other);
                other.to_string()
            }
        };
        let kind = J::KIND;
        let key = UniqueKey::new(format!("{kind}:{text}"))
            .or_else(|_| UniqueKey::new(format!("{kind}:sha256:{}", sha256(text.as_bytes()))))?;
        Ok(Self { key, until: UniqueUntil::default(), on_conflict: OnConflict::default() })
    }

    /// With another time for which the key is held.
    #[must_use]
    pub fn until(mut self, until: UniqueUntil) -> Self {
        self.until = until;
        self
    }

    /// With another answer to a key that is held.
    #[must_use]
    pub fn on_conflict(mut self, on_conflict: OnConflict) -> Self {
        self.on_conflict = on_conflict;
        self
    }
}

/// Makes equal values print equally: fields sorted whatever the map, and blobs without the key they happen to have.
fn normalize(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(normalize),
        Value::Object(fields) => {
            if fields.get("sha256").is_some_and(Value::is_string) {
                fields.remove("$blob");
            }
            fields.values_mut().for_each(normalize);
            fields.sort_keys();
        }
        _ => {}
    }
}

fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Any;
    impl Job for Any {
        const KIND: &'static str = "any";
        type Output = ();
    }

    fn key(value: Value) -> String {
        Unique::of::<Any>(&value).unwrap().key.as_str().to_owned()
    }

    #[test]
    fn keys_stand_under_their_kind_and_never_depend_on_the_order_of_fields() {
        assert_eq!(key(json!("plain text")), "any:plain text");
        assert_eq!(key(json!(7)), "any:7");
        assert_eq!(
            key(json!({"b": [1, {"d": 1, "c": 2}], "a": null})),
            r#"any:{"a":null,"b":[1,{"c":2,"d":1}]}"#
        );
        let blob = |key| json!({"file": {"$blob": key, "len": 3, "sha256": "abc"}});
        assert_eq!(key(blob("blobs/1")), key(blob("blobs/2")));
    }

    #[test]
    fn what_no_key_can_hold_is_hashed() {
        let long = key(json!("x".repeat(300)));
        assert_eq!(long.len(), "any:sha256:".len() + 64);
        assert_eq!(long, key(json!("x".repeat(300))));
        assert_ne!(long, key(json!("x".repeat(301))));
        assert_eq!(
            key(json!("a\n")),
            "any:sha256:87428fc522803d31065e7bce3cf03fe475096631e5e07bbd7a0fde60c4cf25c7"
        );
    }
}
