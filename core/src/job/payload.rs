//! Args and results as backends see them: bytes, with a word on how to read them.

use std::fmt;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// How to read the bytes of a [`Payload`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Encoding {
    /// JSON text.
    Json = 1,
    /// JSON text of a [`Blob`](crate::Blob), which holds the bytes that were too large for the row.
    Blob = 2,
}

impl Encoding {
    /// The stable number under which backends store the encoding.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Reads a stored number.
    #[must_use]
    pub fn from_code(code: i64) -> Option<Self> {
        [Self::Json, Self::Blob].into_iter().find(|e| i64::from(e.code()) == code)
    }
}

/// Args or a result. Backends store and return it unread.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    /// How to read the bytes.
    pub encoding: Encoding,
    /// The bytes.
    pub bytes: Bytes,
}

impl Payload {
    /// A value as JSON.
    ///
    /// # Errors
    /// [`Error::Encode`] when the value's `Serialize` fails.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        let bytes = serde_json::to_vec(value)
            .map_err(|e| Error::Encode { what: "payload".into(), source: e.into() })?;
        Ok(Self { encoding: Encoding::Json, bytes: bytes.into() })
    }

    /// Reads a JSON payload. The error tells the place, never the content.
    ///
    /// # Errors
    /// [`Error::Decode`] when the bytes are not JSON of a `T`, or are kept in a blob and must be fetched first.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        if self.encoding != Encoding::Json {
            return Err(Error::Decode {
                what: "payload".into(),
                source: "its bytes are in a blob; fetch them first".into(),
            });
        }
        serde_json::from_slice(&self.bytes).map_err(|e| {
            let text = format!("{} at line {} column {}", problem(&e), e.line(), e.column());
            Error::Decode { what: "payload".into(), source: text.into() }
        })
    }
}

/// What is wrong with JSON, in serde's words as far as they come from the type: of what is stored they quote the offending
/// value, which may be a secret.
fn problem(error: &serde_json::Error) -> String {
    use serde_json::error::Category;
    const KINDS: [&str; 11] = [
        "boolean",
        "integer",
        "floating point",
        "character",
        "string",
        "byte array",
        "null",
        "sequence",
        "map",
        "Option value",
        "unit value",
    ];
    match error.classify() {
        Category::Io | Category::Syntax => return "it is not JSON".to_owned(),
        Category::Eof => return "its JSON ends too early".to_owned(),
        Category::Data => {}
    }
    let text = error.to_string();
    let of_the_type = ["missing field `", "duplicate field `"];
    if of_the_type.iter().any(|start| text.starts_with(start))
        && let Some(end) = text.find("` at line ")
    {
        return text[..=end].to_owned();
    }
    let expected = text.strip_prefix("invalid type: ").and_then(|rest| {
        let kind = KINDS.iter().find(|kind| rest.starts_with(**kind))?;
        let expected = &rest[rest.rfind(", expected ")? + ", expected ".len()..];
        Some(format!("invalid type: {kind}, expected {}", &expected[..expected.find(" at line ")?]))
    });
    expected.unwrap_or_else(|| "it does not fit the type".to_owned())
}

impl fmt::Debug for Payload {
    /// Tells the size, never the content.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({:?}, {} bytes)", self.encoding, self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only read")]
    struct Args {
        width: u32,
        unit: Unit,
    }

    #[derive(Debug, Deserialize)]
    enum Unit {
        Pixel,
    }

    fn fault(json: &str) -> String {
        let payload = Payload { encoding: Encoding::Json, bytes: json.to_owned().into() };
        let error = payload.parse::<Args>().unwrap_err();
        let text = std::error::Error::source(&error).unwrap().to_string();
        assert!(!format!("{error} {error:?} {text}").contains("secret"), "{text}");
        text
    }

    #[test]
    fn f52_errors_tell_of_the_type_and_the_place_never_of_the_content() {
        let at = " at line 1 column ";
        assert!(fault("{}").starts_with(&format!("missing field `width`{at}")));
        assert!(fault("{\"width\":1,\"width\":2}").starts_with("duplicate field `width`"));
        let text = fault("{\"width\":\"secret, expected secret at line 7\"}");
        assert!(text.starts_with(&format!("invalid type: string, expected u32{at}")), "{text}");
        let general = format!("it does not fit the type{at}");
        assert!(fault("{\"width\":1,\"unit\":\"secret\"}").starts_with(&general));
        assert!(fault("{\"secret\":1}").starts_with(&general));
        assert!(fault("{\"width\":-55}").starts_with(&general));
        assert!(fault("secret").starts_with("it is not JSON"));
        assert!(fault("{\"width\":").starts_with("its JSON ends too early"));
    }
}
