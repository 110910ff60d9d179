//! Args and results too large for their row: out to a blob and back.

use super::{Blob, BlobKey, Storage, put_bytes, read_blob};
use crate::job::Encoding;
use crate::{Error, Payload, Result};

/// Moves a payload above `inline_limit` bytes into a blob under `key`: the answer is what goes into the
/// row, and the blob that it refers to. A payload within the limit comes back as it was.
///
/// Blobs that the payload itself refers to must be looked for before, see [`blobs_in`](super::blobs_in);
/// `key` is to be fresh and announced by [`Store::stage_blobs`](crate::Store::stage_blobs).
///
/// # Errors
/// [`Error::LimitExceeded`] above `max` bytes; those of [`put_bytes`].
pub async fn offload(
    storage: &dyn Storage,
    key: &BlobKey,
    payload: Payload,
    inline_limit: usize,
    max: usize,
) -> Result<(Payload, Option<Blob>)> {
    let len = payload.bytes.len();
    if len > max {
        return Err(Error::LimitExceeded {
            what: "args or result in bytes".into(),
            actual: len as u64,
            limit: max as u64,
            hint: "store large data as a `Blob` and refer to it".into(),
        });
    }
    if len <= inline_limit || payload.encoding != Encoding::Json {
        return Ok((payload, None));
    }
    let blob = put_bytes(storage, key, payload.bytes).await?;
    let row = Payload { encoding: Encoding::Blob, ..Payload::json(&blob)? };
    Ok((row, Some(blob)))
}

/// Brings back what [`offload`] moved out, checked against its handle. A payload that was not moved
/// comes back as it was.
///
/// # Errors
/// [`Error::LimitExceeded`] above `max` bytes; [`Error::Decode`] when the row holds no handle;
/// those of [`read_blob`].
pub async fn load(storage: &dyn Storage, payload: Payload, max: usize) -> Result<Payload> {
    if payload.encoding != Encoding::Blob {
        return Ok(payload);
    }
    let blob: Blob = Payload { encoding: Encoding::Json, ..payload }.parse()?;
    let bytes = read_blob(storage, &blob, max as u64).await?;
    Ok(Payload { encoding: Encoding::Json, bytes })
}
