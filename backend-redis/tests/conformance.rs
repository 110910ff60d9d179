//! Redis under the conformance suite. There are no host transactions here, so their cases are not either.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;

use windlass_core::conformance::{Harness, StorageHarness};
use windlass_core::{Backend, Limits, Storage, WorkerId};
use windlass_redis::{RedisBackend, RedisOptions};
use windlass_test_servers::RedisServer;

/// A namespace of its own in a server that the whole target shares.
struct Single {
    namespace: String,
    options: RedisOptions,
    backend: Arc<RedisBackend>,
}

/// A name that no other case has.
fn namespace() -> String {
    format!("case-{}", windlass_core::JobId::new())
}

async fn open(limits: Limits) -> Single {
    let namespace = namespace();
    let url = RedisServer::shared().await.unwrap().url(&namespace);
    let options = RedisOptions::from_url(&url).unwrap().limits(limits);
    let backend = Arc::new(RedisBackend::open(options.clone()).await.unwrap());
    Single { namespace, options, backend }
}

impl Harness for Single {
    type Backend = RedisBackend;

    async fn open(limits: Limits) -> Self {
        open(limits).await
    }

    fn backend(&self) -> Arc<RedisBackend> {
        self.backend.clone()
    }

    async fn second(&self) -> Option<Arc<RedisBackend>> {
        Some(Arc::new(RedisBackend::open(self.options.clone()).await.unwrap()))
    }

    async fn expire(&self, worker: WorkerId) {
        let url = RedisServer::shared().await.unwrap().base_url();
        let namespace = format!("{{{}}}", self.namespace);
        common::expire(&mut common::patient(url).await, &namespace, worker).await;
    }
}

impl StorageHarness for Single {
    async fn open() -> Self {
        open(Limits::default()).await
    }

    fn storage(&self) -> Arc<dyn Storage> {
        self.backend.storage()
    }
}

windlass_core::conformance!(Single);

/// Blobs in the server of the jobs.
mod storage {
    use super::*;

    windlass_core::conformance_storage!(Single);
}
