//! The storages of the core under the conformance suite.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use windlass_core::conformance::StorageHarness;
use windlass_core::{MemoryStorage, Storage};

mod memory {
    use super::*;

    struct Memory(MemoryStorage);

    impl StorageHarness for Memory {
        async fn open() -> Self {
            Self(MemoryStorage::new())
        }

        fn storage(&self) -> Arc<dyn Storage> {
            Arc::new(self.0.clone())
        }
    }

    windlass_core::conformance_storage!(Memory);
}

#[cfg(feature = "object-store")]
mod folder {
    use super::*;
    use windlass_core::storage::ObjectStorage;

    struct Folder {
        storage: ObjectStorage,
        _dir: tempfile::TempDir,
    }

    impl StorageHarness for Folder {
        async fn open() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let storage = ObjectStorage::local(dir.path().join("made/by it")).await.unwrap();
            Self { storage, _dir: dir }
        }

        fn storage(&self) -> Arc<dyn Storage> {
            Arc::new(self.storage.clone())
        }
    }

    windlass_core::conformance_storage!(Folder);
}

/// An ordered store with a prefix and presigned URLs, as a cloud store would be used.
#[cfg(feature = "object-store")]
mod object_store_with_prefix {
    use super::*;
    use std::time::Duration;

    use object_store::memory::InMemory;
    use object_store::path::Path;
    use windlass_core::storage::{ObjectStorage, PresignMethod, Presigner};
    use windlass_core::{BlobKey, Result};

    #[derive(Debug)]
    struct Urls;

    #[async_trait::async_trait]
    impl Presigner for Urls {
        async fn presign(&self, path: &Path, _: PresignMethod, _: Duration) -> Result<String> {
            assert_eq!(path.as_ref(), "an/app/a");
            Ok(format!("https://store.example/{path}"))
        }
    }

    struct Prefixed(ObjectStorage);

    impl StorageHarness for Prefixed {
        async fn open() -> Self {
            let storage = ObjectStorage::new(Arc::new(InMemory::new()))
                .lists_in_order()
                .with_prefix(BlobKey::new("an/app").unwrap())
                .with_presigner(Arc::new(Urls));
            Self(storage)
        }

        fn storage(&self) -> Arc<dyn Storage> {
            Arc::new(self.0.clone())
        }

        fn presigns() -> bool {
            true
        }
    }

    windlass_core::conformance_storage!(Prefixed);
}
