//! [`ObjectStorage`]: blobs in a folder, or in an object store such as S3, GCS or Azure.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path as FsPath;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetResultPayload, ObjectMeta, ObjectStore, ObjectStoreExt};

use super::object_error as failure;
use super::object_upload;
use super::{BlobBody, BlobKey, BlobMeta, ByteStream, PresignMethod, Storage, file};
use crate::{Error, Result};

/// Makes presigned URLs. The stores of `object_store` that can do so (S3, GCS, Azure) have a `Signer` for
/// it, behind their features; an implementation of this trait is a call of its `signed_url`.
#[async_trait]
pub trait Presigner: Debug + Send + Sync + 'static {
    /// Makes a URL for the object at `path`, the store's own path with the storage's prefix.
    async fn presign(
        &self,
        path: &Path,
        method: PresignMethod,
        expires_in: Duration,
    ) -> Result<String>;
}

/// Blobs in any store of the `object_store` crate. A key is the object's path, below an optional prefix.
///
/// Large blobs travel in parts of 8 MiB, up to four at once. A store that limits an object to 10,000 parts (S3)
/// so takes blobs up to 78 GiB. An upload that a crash cut off is never visible, but a cloud store keeps (and
/// bills) its parts until a lifecycle rule for incomplete uploads removes them.
#[derive(Debug, Clone)]
pub struct ObjectStorage {
    store: Arc<dyn ObjectStore>,
    prefix: Option<BlobKey>,
    presigner: Option<Arc<dyn Presigner>>,
    ordered: bool,
}

impl ObjectStorage {
    /// Blobs in a store, from its root.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, prefix: None, presigner: None, ordered: false }
    }

    /// Blobs as files in a folder, which is made if it isn't there. What `put` answered is on disk.
    ///
    /// Each key is the path of its file. So on this storage no key can be the folder of another (`a` and `a/b`), no
    /// segment can be longer than a file name (255 bytes on most systems), and keys that differ in case only
    /// need a file system that tells them apart. An upload that a crash cut off leaves a file `<key>#<number>`,
    /// which no listing shows and which may be removed.
    ///
    /// # Errors
    /// [`Error::Config`] when the folder can't be made or used.
    pub async fn local(folder: impl AsRef<FsPath>) -> Result<Self> {
        let folder = folder.as_ref().to_owned();
        let shown = folder.display().to_string();
        let opened = file::unblock(move || {
            std::fs::create_dir_all(&folder)?;
            LocalFileSystem::new_with_prefix(&folder).map_err(std::io::Error::other)
        });
        let store = opened.await.map_err(|e| {
            Error::Config(
                format!("the blob folder {shown} can't be used: {e}; name a folder that this process may write to")
                    .into(),
            )
        })?;
        Ok(Self::new(Arc::new(store.with_fsync(true))))
    }

    /// Keeps all blobs below `prefix`, so that several uses can share a store.
    #[must_use]
    pub fn with_prefix(mut self, prefix: BlobKey) -> Self {
        self.prefix = Some(prefix);
        self
    }

    /// Makes [`Storage::presign`] work.
    #[must_use]
    pub fn with_presigner(mut self, presigner: Arc<dyn Presigner>) -> Self {
        self.presigner = Some(presigner);
        self
    }

    /// States that the store itself lists in the byte order of keys, as S3, GCS and Azure do. A page is then read
    /// without going through all that follows it.
    #[must_use]
    pub fn lists_in_order(mut self) -> Self {
        self.ordered = true;
        self
    }

    /// The object's path as text; also for what is not a whole key.
    fn full(&self, key: &str) -> String {
        match &self.prefix {
            Some(prefix) => format!("{prefix}/{key}"),
            None => key.to_owned(),
        }
    }

    fn path(&self, key: &BlobKey) -> Result<Path> {
        Path::parse(self.full(key.as_str())).map_err(|e| Error::invalid("blob key", e.to_string()))
    }

    /// What is known about an object; `None` when its path is not a blob's.
    fn meta(&self, object: &ObjectMeta) -> Option<BlobMeta> {
        let path = object.location.as_ref();
        let key = match &self.prefix {
            Some(prefix) => path.strip_prefix(prefix.as_str())?.strip_prefix('/')?,
            None => path,
        };
        let nanos = object.last_modified.timestamp_subsec_nanos();
        let modified_at = Timestamp::new(
            object.last_modified.timestamp(),
            i32::try_from(nanos).unwrap_or_default(),
        );
        Some(BlobMeta {
            key: BlobKey::new(key).ok()?,
            len: object.size,
            modified_at: modified_at.unwrap_or(Timestamp::UNIX_EPOCH),
        })
    }

    /// What is known about a blob that was just found under `key`.
    fn meta_of(&self, key: &BlobKey, object: &ObjectMeta) -> Result<BlobMeta> {
        self.meta(object).ok_or_else(|| Error::Corrupt {
            what: format!("blob {key}").into(),
            why: "the store answers for another path".into(),
        })
    }

    /// The objects that a listing has to look at: those in the last whole folder of `prefix`, after `after`.
    fn objects(
        &self,
        prefix: &str,
        after: Option<&BlobKey>,
    ) -> Result<stream::BoxStream<'static, object_store::Result<ObjectMeta>>> {
        let parse = |text: String| {
            Path::parse(text).map_err(|e| Error::invalid("prefix of blob keys", e.to_string()))
        };
        let folder = match prefix.rsplit_once('/') {
            Some((folder, _)) => Some(parse(self.full(folder))?),
            None => self.prefix.as_ref().map(|p| parse(p.to_string())).transpose()?,
        };
        // The store's offset is exclusive, and a whole path. Nothing that starts with the prefix stands
        // at or before the prefix without its last character.
        let before = prefix.get(..prefix.len().saturating_sub(1)).unwrap_or_default();
        let offset = match after.map(BlobKey::as_str) {
            Some(after) if after > before => after,
            _ if BlobKey::new(before).is_ok() => before,
            _ => "",
        };
        Ok(match offset {
            "" => self.store.list(folder.as_ref()),
            _ => self.store.list_with_offset(folder.as_ref(), &parse(self.full(offset))?),
        })
    }
}

#[async_trait]
impl Storage for ObjectStorage {
    async fn put(&self, key: &BlobKey, body: ByteStream) -> Result<u64> {
        object_upload::put(&*self.store, &self.path(key)?, body).await
    }

    async fn get(&self, key: &BlobKey) -> Result<BlobBody> {
        let found = self.store.get(&self.path(key)?).await;
        let found = found.map_err(|e| failure::of_blob(key, "get", e))?;
        let meta = self.meta_of(key, &found.meta)?;
        let key = key.clone();
        let stream = match found.payload {
            // The crate reads files in small pieces, each of which costs a change of threads.
            GetResultPayload::File(opened, _) => {
                file::stream(opened, |e| failure::unavailable("get", e))
            }
            GetResultPayload::Stream(stream) => {
                stream.map_err(move |e| failure::of_blob(&key, "get", e)).boxed()
            }
        };
        Ok(BlobBody { meta, stream })
    }

    async fn head(&self, key: &BlobKey) -> Result<Option<BlobMeta>> {
        match self.store.head(&self.path(key)?).await {
            Ok(object) => self.meta_of(key, &object).map(Some),
            Err(e) if failure::is_absence(&e) => Ok(None),
            Err(e) => Err(failure::of_blob(key, "head", e)),
        }
    }

    async fn delete(&self, keys: &[BlobKey]) -> Result<()> {
        let paths = keys.iter().map(|key| self.path(key)).collect::<Result<Vec<_>>>()?;
        let mut deleted = self.store.delete_stream(stream::iter(paths).map(Ok).boxed());
        let mut failed = None;
        while let Some(outcome) = deleted.next().await {
            match outcome {
                Err(e) if !failure::is_absence(&e) => failed = Some(e),
                _ => {}
            }
        }
        failed.map_or(Ok(()), |e| Err(failure::of_call("delete", e)))
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&BlobKey>,
        limit: usize,
    ) -> Result<Vec<BlobMeta>> {
        if limit == 0 || !could_start_a_key(prefix) {
            return Ok(Vec::new());
        }
        // Stores may list in any order: what is kept is the page's worth that comes first.
        let mut page = BTreeMap::new();
        let mut objects = self.objects(prefix, after)?;
        while let Some(object) = objects.next().await {
            let object = match object {
                // Deleted while the listing went on, or a folder that isn't there.
                Err(e) if failure::is_absence(&e) => continue,
                other => other.map_err(|e| failure::of_call("list", e))?,
            };
            let Some(meta) = self.meta(&object) else { continue };
            let starts = meta.key.as_str().starts_with(prefix);
            if self.ordered && !starts && meta.key.as_str() > prefix {
                break;
            }
            if !starts || after.is_some_and(|after| meta.key <= *after) {
                continue;
            }
            page.insert(meta.key.clone(), meta);
            if page.len() > limit {
                page.pop_last();
            }
            if self.ordered && page.len() == limit {
                break;
            }
        }
        Ok(page.into_values().collect())
    }

    async fn presign(
        &self,
        key: &BlobKey,
        method: PresignMethod,
        expires_in: Duration,
    ) -> Result<String> {
        match &self.presigner {
            Some(presigner) => presigner.presign(&self.path(key)?, method, expires_in).await,
            None => Err(Error::Unsupported {
                what: "presign".into(),
                by: "an object storage without a presigner".into(),
            }),
        }
    }
}

/// Whether some key starts with this text: keys are paths, and a store may refuse to look for what is none.
fn could_start_a_key(prefix: &str) -> bool {
    prefix.is_empty() || BlobKey::new(format!("{prefix}a")).is_ok() || BlobKey::new(prefix).is_ok()
}
