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
            // serde_json's own text quotes the offending value, which may be a secret.
            let place =
                format!("{:?} error at line {} column {}", e.classify(), e.line(), e.column());
            Error::Decode { what: "payload".into(), source: place.into() }
        })
    }
}

impl fmt::Debug for Payload {
    /// Tells the size, never the content.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({:?}, {} bytes)", self.encoding, self.bytes.len())
    }
}
