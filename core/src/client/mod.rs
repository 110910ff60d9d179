//! What a host application holds: [`Client`].

mod blobs;
mod control;
mod draft;
mod enqueue;
mod follow;
mod handle;
mod handler;
mod inspect;
mod options;
mod prune;
mod retry;
mod transactional;
mod unique;

pub(crate) use blobs::name_blobs;
pub use blobs::{BLOB_TTL, BlobSource, PutBlob};
pub use draft::{Draft, IntoDraft};
pub use enqueue::Enqueue;
pub use follow::{Followed, Since};
pub use handle::{Handle, NoResult, ResultOf};
pub use prune::PrunedAll;

use std::fmt::Debug;
use std::sync::Arc;

use draft::Options;

use crate::worker::Upkeep;
use crate::{Backend, Capabilities, Error, Limits, Result, Storage};

/// A handle on the job store; cheap to clone. Enqueues, reads, changes and follows jobs.
///
/// The workers of one client, that is of its clones, do their upkeep together, so a process needs no more than one client on a store.
///
/// `Client` alone is `Client<dyn Backend>`, whatever the backend is. A `Client<B>` of a known backend can do what that
/// backend can do beyond the contract (enqueue in the host's transaction); [`erase`](Client::erase) leads from one to the other.
#[derive(Debug)]
pub struct Client<B: Backend + ?Sized = dyn Backend> {
    backend: Arc<B>,
    storage: Arc<dyn Storage>,
    /// What the workers of its clones do for each other.
    upkeep: Arc<Upkeep>,
}

impl<B: Backend + ?Sized> Clone for Client<B> {
    fn clone(&self) -> Self {
        Self {
            backend: self.backend.clone(),
            storage: self.storage.clone(),
            upkeep: self.upkeep.clone(),
        }
    }
}

impl<B: Backend + ?Sized> Client<B> {
    /// A client on a backend; blobs go to the backend's own storage.
    #[must_use]
    pub fn new(backend: Arc<B>) -> Self {
        let storage = backend.storage();
        Self { backend, storage, upkeep: Arc::default() }
    }

    /// Keeps blobs in another storage. Every client and worker on the same jobs must use the same one.
    #[must_use]
    pub fn with_storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.storage = storage;
        // Pruning deletes blobs there: none of it is the business of workers that use another.
        self.upkeep = Arc::default();
        self
    }

    /// The backend, for calls that have no convenience here.
    #[must_use]
    pub fn backend(&self) -> &Arc<B> {
        &self.backend
    }

    /// Where blobs are kept.
    #[must_use]
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    pub(crate) fn upkeep(&self) -> &Upkeep {
        &self.upkeep
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        self.backend.limits()
    }

    /// What the backend can do beyond the contract.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }

    /// Answers when the backend can be reached and written. For health checks.
    ///
    /// # Errors
    /// When it can't.
    pub async fn ping(&self) -> Result<()> {
        self.backend.ping().await
    }

    /// Finishes what is under way and closes the backend, for every client and worker on it. To be called before a process ends: on Postgres other
    /// processes may not have been told of its last jobs yet, and would find them by their next poll only.
    ///
    /// # Errors
    /// When the backend fails on the way.
    pub async fn close(&self) -> Result<()> {
        self.backend.close().await
    }
}

impl<B: Backend> Client<B> {
    /// The same client without the backend's type.
    #[must_use]
    pub fn erase(&self) -> Client {
        Client {
            backend: self.backend.clone(),
            storage: self.storage.clone(),
            upkeep: self.upkeep.clone(),
        }
    }
}

/// A backend gave fewer answers than it was asked for.
fn silent(during: &'static str) -> Error {
    Error::Backend { backend: "backend", during, source: "it gave no answer".into() }
}
