//! What the errors of `object_store` mean here.

use std::error::Error as _;
use std::io;

use object_store::Error as StoreError;

use super::BlobKey;
use crate::Error;
use crate::error::BoxError;

/// The storage's name in errors.
const NAME: &str = "object storage";

/// An error of an operation on one blob.
pub(super) fn of_blob(key: &BlobKey, during: &'static str, error: StoreError) -> Error {
    if is_absence(&error) {
        return Error::NotFound { what: format!("blob {key}").into() };
    }
    of_call(during, error)
}

/// An error of an operation.
pub(super) fn of_call(during: &'static str, error: StoreError) -> Error {
    match error {
        StoreError::NotSupported { .. } | StoreError::NotImplemented { .. } => {
            Error::Unsupported { what: during.into(), by: NAME.into() }
        }
        // Failures of the network and of disks come as `Generic`.
        StoreError::Generic { .. } | StoreError::JoinError { .. } if !is_lasting(&error) => {
            unavailable(during, error)
        }
        other => Error::Backend { backend: NAME, during, source: other.into() },
    }
}

pub(super) fn unavailable(during: &'static str, source: impl Into<BoxError>) -> Error {
    Error::Unavailable { backend: NAME, during, source: source.into() }
}

/// Whether an error of a read or a deletion says that there is no such blob. In a folder that is also so
/// when `a` of `a/b` is a file, when `a` is itself a folder, and when no file can have such a name.
pub(super) fn is_absence(error: &StoreError) -> bool {
    use io::ErrorKind::{InvalidFilename, IsADirectory, NotADirectory, NotFound};
    matches!(error, StoreError::NotFound { .. })
        || matches!(io_kind(error), Some(NotFound | IsADirectory | NotADirectory | InvalidFilename))
}

/// Whether an error of the file system will be the same the next time.
fn is_lasting(error: &StoreError) -> bool {
    use io::ErrorKind::{
        InvalidFilename, IsADirectory, NotADirectory, PermissionDenied, ReadOnlyFilesystem,
    };
    matches!(
        io_kind(error),
        Some(
            InvalidFilename | IsADirectory | NotADirectory | PermissionDenied | ReadOnlyFilesystem
        )
    )
}

fn io_kind(error: &StoreError) -> Option<io::ErrorKind> {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        cause = inner.source();
    }
    None
}
