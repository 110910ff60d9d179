//! The memory backend under the conformance suite.

use std::sync::Arc;
use std::time::Duration;

use windlass_core::conformance::{Harness, StorageHarness};
use windlass_core::{Limits, MemoryBackend, MemoryStorage, Storage};

struct Memory(Arc<MemoryBackend>);

impl Harness for Memory {
    type Backend = MemoryBackend;

    async fn open(limits: Limits) -> Self {
        Self(Arc::new(MemoryBackend::with_limits(limits)))
    }

    fn backend(&self) -> Arc<MemoryBackend> {
        self.0.clone()
    }

    async fn second(&self) -> Option<Arc<MemoryBackend>> {
        Some(Arc::new(MemoryBackend::clone(&self.0)))
    }

    async fn advance(&self, span: Duration) {
        self.0.advance(span);
    }
}

windlass_core::conformance!(Memory);

struct Blobs(Arc<MemoryStorage>);

impl StorageHarness for Blobs {
    async fn open() -> Self {
        Self(Arc::default())
    }

    fn storage(&self) -> Arc<dyn Storage> {
        self.0.clone()
    }
}

windlass_core::conformance_storage!(Blobs);
