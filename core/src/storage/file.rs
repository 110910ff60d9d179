//! Reading a file as a stream, off the threads of the runtime.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};

use super::ByteStream;
use crate::{Error, Result};

/// How much is read at once.
const CHUNK: usize = 256 << 10;

/// Opens a file of the host's for reading.
pub(super) async fn open(path: PathBuf) -> Result<File> {
    let shown = format!("file {}", path.display());
    let opened = unblock(move || {
        let file = File::open(&path)?;
        if file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(file)
    });
    opened.await.map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Error::NotFound { what: shown.into() },
        _ => Error::invalid(shown, format!("it can't be read: {e}")),
    })
}

/// The bytes of an open file from its start to its end. `failed` turns an I/O error into the caller's.
pub(super) fn stream(
    file: File,
    failed: impl Fn(io::Error) -> Error + Send + 'static,
) -> ByteStream {
    stream::try_unfold((file, failed), |(mut file, failed)| async move {
        let read = unblock(move || read_chunk(&mut file).map(|chunk| (file, chunk))).await;
        match read {
            Ok((_, chunk)) if chunk.is_empty() => Ok(None),
            Ok((file, chunk)) => Ok(Some((chunk, (file, failed)))),
            Err(e) => Err(failed(e)),
        }
    })
    .boxed()
}

fn read_chunk(file: &mut File) -> io::Result<Bytes> {
    let mut chunk = BytesMut::zeroed(CHUNK);
    let mut filled = 0;
    while filled < CHUNK {
        match file.read(&mut chunk[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    chunk.truncate(filled);
    Ok(chunk.freeze())
}

/// Runs blocking I/O on the pool for it.
pub(super) async fn unblock<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
