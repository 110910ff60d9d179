//! What a host application holds: [`Client`].

use std::fmt::Debug;
use std::sync::Arc;

use crate::{Backend, Limits, Storage};

/// A handle on the job store; cheap to clone. Enqueues, reads, changes and follows jobs.
///
/// `Client` alone is `Client<dyn Backend>`, whatever the backend is. A `Client<B>` of a known backend can do what that
/// backend can do beyond the contract (enqueue in the host's transaction); [`erase`](Client::erase) leads from one to the other.
#[derive(Debug)]
pub struct Client<B: Backend + ?Sized = dyn Backend> {
    backend: Arc<B>,
    storage: Arc<dyn Storage>,
}

impl<B: Backend + ?Sized> Clone for Client<B> {
    fn clone(&self) -> Self {
        Self { backend: self.backend.clone(), storage: self.storage.clone() }
    }
}

impl<B: Backend + ?Sized> Client<B> {
    /// A client on a backend; blobs go to the backend's own storage.
    #[must_use]
    pub fn new(backend: Arc<B>) -> Self {
        let storage = backend.storage();
        Self { backend, storage }
    }

    /// Keeps blobs in another storage. Every client and worker on the same jobs must use the same one.
    #[must_use]
    pub fn with_storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.storage = storage;
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

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        self.backend.limits()
    }
}

impl<B: Backend> Client<B> {
    /// The same client without the backend's type.
    #[must_use]
    pub fn erase(&self) -> Client {
        Client { backend: self.backend.clone(), storage: self.storage.clone() }
    }
}
