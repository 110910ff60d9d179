//! Blobs written and read with their length and SHA-256, on any [`Storage`].

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::digest::Tally;
use super::{Blob, BlobBody, BlobKey, ByteStream, Storage, file};
use crate::{Error, Result};

/// Stores a stream under `key` and answers the handle, whose length and SHA-256 are computed on the way.
///
/// # Errors
/// Those of the stream and of [`Storage::put`]; the key is then as it was before.
/// [`Error::Corrupt`] when the storage took in less or more than the stream gave.
pub async fn put_blob(storage: &dyn Storage, key: &BlobKey, body: ByteStream) -> Result<Blob> {
    // The storage owns the stream, so the sum comes back through a shared cell; it holds what
    // had passed when the stream ended.
    let end = Arc::new(Mutex::new(None));
    let stored = storage.put(key, tallied(body, end.clone())).await?;
    let tally = end.lock().unwrap_or_else(PoisonError::into_inner).take();
    match tally {
        Some(tally) if tally.len == stored => Ok(Blob::new(key.clone(), tally.len, tally.sha256())),
        Some(tally) => {
            Err(damaged(key, format!("{} bytes were given, {stored} stored", tally.len)))
        }
        None => Err(damaged(key, "the storage did not take it to its end".to_owned())),
    }
}

/// Stores bytes under `key`, as [`put_blob`] does.
///
/// # Errors
/// Those of [`put_blob`].
pub async fn put_bytes(
    storage: &dyn Storage,
    key: &BlobKey,
    bytes: impl Into<Bytes>,
) -> Result<Blob> {
    let bytes = bytes.into();
    put_blob(storage, key, stream::once(async move { Ok(bytes) }).boxed()).await
}

/// Stores a file under `key`, as [`put_blob`] does, without holding it in memory.
///
/// # Errors
/// Those of [`put_blob`]; [`Error::NotFound`] or [`Error::Invalid`] when the file can't be read.
pub async fn put_file(
    storage: &dyn Storage,
    key: &BlobKey,
    path: impl AsRef<Path>,
) -> Result<Blob> {
    let path = path.as_ref().to_owned();
    let shown = format!("file {}", path.display());
    let body = file::stream(file::open(path).await?, move |e| {
        Error::invalid(shown.clone(), format!("it can't be read: {e}"))
    });
    put_blob(storage, key, body).await
}

/// Opens a blob as a stream that is checked against the handle while it is read.
///
/// The last chunk comes only after the SHA-256 was found right; a stream that differs, also in length, ends in
/// [`Error::Corrupt`]. What came before that must not be relied on.
///
/// # Errors
/// Those of [`Storage::get`]; [`Error::Corrupt`] at once when the storage knows another length.
pub async fn open_blob(storage: &dyn Storage, blob: &Blob) -> Result<BlobBody> {
    let BlobBody { meta, stream } = storage.get(&blob.key).await?;
    if meta.len != blob.len {
        return Err(damaged(
            &blob.key,
            format!("{} bytes are stored, {} expected", meta.len, blob.len),
        ));
    }
    Ok(BlobBody { meta, stream: verified(stream, blob.clone()) })
}

/// Reads a whole blob of at most `max` bytes, checked against its handle.
///
/// # Errors
/// [`Error::LimitExceeded`] when it is larger; those of [`open_blob`].
pub async fn read_blob(storage: &dyn Storage, blob: &Blob, max: u64) -> Result<Bytes> {
    if blob.len > max {
        return Err(Error::LimitExceeded {
            what: "blob read into memory, in bytes".into(),
            actual: blob.len,
            limit: max,
            hint: "read it as a stream".into(),
        });
    }
    let mut stream = open_blob(storage, blob).await?.stream;
    let Some(first) = stream.try_next().await? else { return Ok(Bytes::new()) };
    let Some(second) = stream.try_next().await? else { return Ok(first) };
    let mut bytes = BytesMut::from(first);
    bytes.extend_from_slice(&second);
    while let Some(chunk) = stream.try_next().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

/// Passes a stream on and leaves its sum in `end` once it ended well.
fn tallied(body: ByteStream, end: Arc<Mutex<Option<Tally>>>) -> ByteStream {
    stream::try_unfold((body, Tally::default(), end), |(mut body, mut tally, end)| async move {
        let Some(chunk) = body.try_next().await? else {
            *end.lock().unwrap_or_else(PoisonError::into_inner) = Some(tally);
            return Ok(None);
        };
        tally.add(&chunk).await;
        Ok(Some((chunk, (body, tally, end))))
    })
    .boxed()
}

/// Passes a stream on as long as it can be the blob's.
fn verified(body: ByteStream, blob: Blob) -> ByteStream {
    stream::try_unfold((body, Tally::default(), blob), |(mut body, mut tally, blob)| async move {
        let Some(chunk) = body.try_next().await? else {
            return match tally.len == blob.len {
                // An empty blob has no last chunk with which it would have been checked.
                true if blob.len == 0 => check(&tally, &blob).map(|()| None),
                true => Ok(None),
                false => Err(damaged(
                    &blob.key,
                    format!("it ends after {} of {} bytes", tally.len, blob.len),
                )),
            };
        };
        tally.add(&chunk).await;
        if tally.len > blob.len {
            return Err(damaged(&blob.key, format!("it is longer than {} bytes", blob.len)));
        }
        if tally.len == blob.len && !chunk.is_empty() {
            check(&tally, &blob)?;
        }
        Ok(Some((chunk, (body, tally, blob))))
    })
    .boxed()
}

fn check(tally: &Tally, blob: &Blob) -> Result<()> {
    if tally.sha256().eq_ignore_ascii_case(&blob.sha256) {
        return Ok(());
    }
    Err(damaged(&blob.key, "its SHA-256 is not that of its handle".to_owned()))
}

fn damaged(key: &BlobKey, why: String) -> Error {
    Error::Corrupt { what: format!("blob {key}").into(), why: why.into() }
}
