//! Where the bytes are that are too big for a row: the trait [`Storage`], its keys, and [`Blob`].

mod blob;
mod digest;
mod file;
mod io;
mod key;
mod memory;
#[cfg(feature = "object-store")]
mod object;
#[cfg(feature = "object-store")]
mod object_error;
#[cfg(feature = "object-store")]
mod object_upload;
mod offload;
#[cfg(any(feature = "s3", test, fuzzing))]
pub(crate) mod place;
mod refs;
#[cfg(feature = "s3")]
mod s3;

pub use blob::Blob;
pub use io::{open_blob, put_blob, put_bytes, put_file, read_blob};
pub use key::BlobKey;
pub use memory::MemoryStorage;
#[cfg(feature = "object-store")]
pub use object::{ObjectStorage, Presigner};
pub use offload::{load, offload};
pub use refs::blobs_in;
#[cfg(feature = "s3")]
pub use s3::S3Options;

use std::fmt::{self, Debug};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use jiff::Timestamp;

use crate::Result;

/// Bytes on their way, in chunks of any size. An `Err` ends the stream.
pub type ByteStream = BoxStream<'static, Result<Bytes>>;

/// Named blobs of bytes.
///
/// Blobs are written whole or not at all: nobody ever reads half a blob under its key. What is here is the
/// least that an implementor must give; checksums and conveniences are the functions of this module
/// and the methods of [`Client`](crate::Client).
///
/// **Repeating.** Every call but a `put`, whose stream is used up, may be repeated with the same arguments, whatever became of
/// it before; a `put` may be repeated with a fresh stream of the same bytes. An error of the storage that may pass by itself is one for
/// which [`Error::is_transient`](crate::Error::is_transient) holds: callers then try again. Every other error counts as lasting.
#[async_trait]
pub trait Storage: Debug + Send + Sync + 'static {
    /// Stores a blob, replacing one of the same key, and answers its length. When the stream fails, or the
    /// future is dropped before the stream has ended, the key is as it was before. Dropped later, while the
    /// blob is made visible, the key may have the old or the new blob.
    ///
    /// # Errors
    /// The stream's own error, as it came. [`Error::Unavailable`](crate::Error::Unavailable) when the storage is away: the key then has the
    /// old or the new blob. [`Error::Backend`](crate::Error::Backend) for what repeating doesn't mend (a full disk, missing rights).
    async fn put(&self, key: &BlobKey, body: ByteStream) -> Result<u64>;

    /// Opens a blob.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound) for an unknown key.
    async fn get(&self, key: &BlobKey) -> Result<BlobBody>;

    /// Reads what is known about a blob without its bytes; `None` for an unknown key.
    ///
    /// # Errors
    /// When the storage can't be read. An unknown key is none.
    async fn head(&self, key: &BlobKey) -> Result<Option<BlobMeta>>;

    /// Deletes blobs, any number of them. Unknown keys are no error, so the call may be repeated. Each key is deleted whole or
    /// not at all, but the call is not one step: after an error, or when its future is dropped, any of the keys may be gone.
    ///
    /// # Errors
    /// When the storage can't be written, or refused one of the keys.
    async fn delete(&self, keys: &[BlobKey]) -> Result<()>;

    /// Lists blobs whose key starts with `prefix` (any text), in the byte order of their keys, after one key, at most `limit`.
    /// A limit of 0 gives none. Blobs written or deleted meanwhile may be there or not.
    ///
    /// # Errors
    /// When the storage can't be read.
    async fn list(
        &self,
        prefix: &str,
        after: Option<&BlobKey>,
        limit: usize,
    ) -> Result<Vec<BlobMeta>>;

    /// Makes a URL under which anyone can use the blob for a while, without credentials.
    ///
    /// # Errors
    /// [`Error::Unsupported`](crate::Error::Unsupported) where there is no such thing (memory, databases, folders).
    async fn presign(
        &self,
        key: &BlobKey,
        method: PresignMethod,
        expires_in: Duration,
    ) -> Result<String>;
}

/// What a presigned URL is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PresignMethod {
    /// Reading with HTTP GET.
    Get,
    /// Writing with HTTP PUT.
    Put,
}

/// An open blob.
pub struct BlobBody {
    /// What is known about it.
    pub meta: BlobMeta,
    /// Its bytes.
    pub stream: ByteStream,
}

impl Debug for BlobBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobBody").field("meta", &self.meta).finish_non_exhaustive()
    }
}

/// What a storage knows about a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobMeta {
    /// Its key.
    pub key: BlobKey,
    /// Its length in bytes.
    pub len: u64,
    /// When it was written.
    pub modified_at: Timestamp,
}
