//! The memory backend under the conformance suite.

use std::sync::Arc;
use std::time::Duration;

use windlass_core::conformance::Harness;
use windlass_core::{Limits, MemoryBackend};

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
