//! [`RedisStorage`]: blobs in the server of the jobs.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use windlass_core::kit::upload::{self, Chunks, Last, PATIENCE, dead};
use windlass_core::kit::{micros, timestamp, unreadable};
use windlass_core::storage::{BlobBody, ByteStream, PresignMethod};
use windlass_core::{BlobKey, BlobMeta, Error, Result, Storage};

use crate::RedisBackend;
use crate::backend::Inner;
use crate::script::Args;
use crate::wire;

/// Keys deleted by one script.
const DELETED_AT_ONCE: usize = 500;
/// Keys listed by one script.
const LISTED_AT_ONCE: usize = 1_000;
/// Chunks removed by one script. The server frees their memory aside.
const SWEPT_AT_ONCE: usize = 256;

/// Blobs in the Redis server of the jobs, in chunks of 1 MiB. They are in its memory: keep what is large or many in an object store.
///
/// An upload becomes visible with its last chunk. When a blob is replaced or deleted while it is read, the read ends in
/// [`Error::NotFound`], never in another blob's bytes. An upload to which nothing was added for an hour is dead; what uploads, deleted and replaced
/// blobs leave is removed by later puts, deletions and prunings.
#[derive(Debug, Clone)]
pub struct RedisStorage {
    inner: Arc<Inner>,
}

/// A blob as it is stored: upload, length, time, chunks.
type Stored = (String, u64, i64, u64);

impl RedisStorage {
    /// The storage of a backend.
    #[must_use]
    pub fn new(backend: &RedisBackend) -> Self {
        Self { inner: backend.inner.clone() }
    }

    async fn add(&self, upload: &str, number: u32, bytes: &[u8]) -> Result<()> {
        let args = Args::new().bytes(upload).int(number).bytes(bytes).int(micros(PATIENCE));
        let written = self.inner.call("put", &self.inner.scripts.blob_chunk, args).await?;
        if wire::int(&written)? == 1 { Ok(()) } else { Err(dead()) }
    }

    async fn find(
        &self,
        during: &'static str,
        key: &BlobKey,
    ) -> Result<Option<(String, BlobMeta)>> {
        let mut command = redis::cmd("HGET");
        command.arg(self.inner.key(":blobs", b"")).arg(key.as_str());
        let found = wire::maybe_bytes(self.inner.command(during, command).await?)?;
        found.map(|stored| read(key.clone(), &stored)).transpose()
    }

    /// The chunks of an upload, until they make up the whole length.
    fn chunks(&self, id: String, meta: &BlobMeta) -> ByteStream {
        let begin = (self.clone(), id, meta.clone(), 0_u64, meta.len);
        stream::try_unfold(begin, move |(storage, id, meta, number, rest)| async move {
            if rest == 0 {
                return Ok(None);
            }
            let chunk = storage.chunk(&id, number).await?;
            match chunk.filter(|chunk| !chunk.is_empty() && chunk.len() as u64 <= rest) {
                Some(chunk) => {
                    let rest = rest - chunk.len() as u64;
                    Ok(Some((chunk, (storage, id, meta, number + 1, rest))))
                }
                None => Err(storage.interrupted(&id, &meta).await),
            }
        })
        .boxed()
    }

    async fn chunk(&self, id: &str, number: u64) -> Result<Option<Bytes>> {
        let mut command = redis::cmd("GET");
        command.arg(self.inner.key(":c:", format!("{id}:{number}").as_bytes()));
        let chunk = wire::maybe_bytes(self.inner.command("get", command).await?)?;
        Ok(chunk.map(Bytes::from))
    }

    /// Why a chunk is not there: the blob is gone, or it is still there and damaged.
    async fn interrupted(&self, id: &str, meta: &BlobMeta) -> Error {
        let key = &meta.key;
        match self.find("get", key).await {
            Ok(Some((now, _))) if now == id => Error::Corrupt {
                what: format!("blob {key}").into(),
                why: "a chunk of it is missing or has another length".into(),
            },
            Ok(_) => Error::NotFound {
                what: format!("blob {key} (replaced or deleted while it was read)").into(),
            },
            Err(error) => error,
        }
    }

    async fn list_some(&self, low: &[u8], high: &[u8], limit: usize) -> Result<Vec<BlobMeta>> {
        let args = Args::new().bytes(low).bytes(high).int(limit);
        let found = self.inner.read("list", &self.inner.scripts.blob_list, args).await?;
        let mut fields = wire::list(found)?.into_iter();
        let mut blobs = Vec::with_capacity(fields.len() / 2);
        while let (Some(key), Some(stored)) = (fields.next(), fields.next()) {
            let key = BlobKey::new(wire::text(key)?).map_err(|e| unreadable("blob key", e))?;
            blobs.push(read(key, &wire::bytes(stored)?)?.1);
        }
        Ok(blobs)
    }
}

#[async_trait]
impl Chunks for RedisStorage {
    type Upload = String;
    const CHUNK: usize = 1 << 20;
    const MOST_CHUNKS: u32 = 1 << 20;

    async fn write(&self, upload: Option<&String>, number: u32, bytes: Vec<u8>) -> Result<String> {
        if let Some(id) = upload {
            self.add(id, number, &bytes).await?;
            return Ok(id.clone());
        }
        let args = Args::new().int(micros(PATIENCE));
        let id = self.inner.call("put", &self.inner.scripts.blob_begin, args).await?;
        let id = wire::int(&id)?.to_string();
        self.add(&id, number, &bytes).await?;
        Ok(id)
    }

    async fn publish(&self, key: &BlobKey, last: Last<String>) -> Result<bool> {
        let id = last.upload.as_deref().unwrap_or_default();
        let args = Args::new().bytes(key.as_str()).bytes(id).int(last.number);
        let args = args.bytes(last.bytes).int(last.len);
        let answer = self.inner.call("put", &self.inner.scripts.blob_publish, args).await?;
        let mut answer = wire::list(answer)?.into_iter();
        let mut flag = || answer.next().map(|value| wire::int(&value)).transpose();
        if flag()? != Some(1) {
            return Err(dead());
        }
        Ok(flag()? == Some(1))
    }

    async fn give_up(&self, upload: &String) -> Result<()> {
        let args = Args::new().bytes(upload);
        self.inner.call("put", &self.inner.scripts.blob_give_up, args).await.map(drop)
    }

    async fn sweep_some(&self) -> Result<bool> {
        let args = Args::new().int(SWEPT_AT_ONCE);
        let more = self.inner.call("delete", &self.inner.scripts.blob_sweep, args).await?;
        Ok(wire::int(&more)? == 1)
    }
}

pub(crate) fn read(key: BlobKey, stored: &[u8]) -> Result<(String, BlobMeta)> {
    let odd = |_| unreadable("what is known of a blob", "it has another shape");
    let (id, len, modified, _) = rmp_serde::from_slice::<Stored>(stored).map_err(odd)?;
    Ok((id, BlobMeta { key, len, modified_at: timestamp(modified) }))
}

#[async_trait]
impl Storage for RedisStorage {
    async fn put(&self, key: &BlobKey, body: ByteStream) -> Result<u64> {
        upload::put(self, key, body).await
    }

    async fn get(&self, key: &BlobKey) -> Result<BlobBody> {
        let found = self.find("get", key).await?;
        let absent = || Error::NotFound { what: format!("blob {key}").into() };
        let (id, meta) = found.ok_or_else(absent)?;
        let stream = self.chunks(id, &meta);
        Ok(BlobBody { meta, stream })
    }

    async fn head(&self, key: &BlobKey) -> Result<Option<BlobMeta>> {
        Ok(self.find("head", key).await?.map(|(_, meta)| meta))
    }

    async fn delete(&self, keys: &[BlobKey]) -> Result<()> {
        for some in keys.chunks(DELETED_AT_ONCE) {
            let args = some.iter().fold(Args::new(), |args, key| args.bytes(key.as_str()));
            self.inner.call("delete", &self.inner.scripts.blob_delete, args).await?;
        }
        upload::sweep(self).await;
        Ok(())
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&BlobKey>,
        limit: usize,
    ) -> Result<Vec<BlobMeta>> {
        // No character of a key is greater than this one, so all that starts with the prefix stands before it.
        let high = format!("({prefix}\u{7f}");
        let mut low = format!("[{prefix}");
        if let Some(after) = after.filter(|after| after.as_str() >= prefix) {
            low = format!("({after}");
        }
        let mut blobs: Vec<BlobMeta> = Vec::new();
        while blobs.len() < limit {
            let most = LISTED_AT_ONCE.min(limit - blobs.len());
            let some = self.list_some(low.as_bytes(), high.as_bytes(), most).await?;
            let Some(last) = some.last() else { break };
            low = format!("({}", last.key);
            let all = some.len() < most;
            blobs.extend(some);
            if all {
                break;
            }
        }
        Ok(blobs)
    }

    async fn presign(&self, _: &BlobKey, _: PresignMethod, _: Duration) -> Result<String> {
        Err(Error::Unsupported { what: "presign".into(), by: "redis storage".into() })
    }
}
