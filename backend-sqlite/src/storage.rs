//! [`SqliteStorage`]: blobs in the database of the jobs.

mod steps;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use windlass_core::storage::{BlobBody, ByteStream, PresignMethod};
use windlass_core::{BlobKey, BlobMeta, Error, Result, Storage};

use self::steps::{CHUNK, Delete, GiveUp, MOST_CHUNKS, Publish, Sweep, WriteChunk, place};
use crate::SqliteBackend;
use crate::error;
use crate::readers::Readers;
use crate::writer::Writer;
use windlass_core::kit::timestamp;
use windlass_core::kit::upload::{self, Chunks, Last};

/// Keys deleted in one transaction.
const DELETED_AT_ONCE: usize = 1_000;

/// Blobs in the SQLite file of the jobs, in chunks of 1 MiB.
///
/// An upload writes each chunk in a short transaction of its own and becomes visible with the last one. A read
/// holds no transaction: when its blob is replaced or deleted meanwhile, it ends in
/// [`Error::NotFound`], never in another blob's bytes. An upload to which nothing was added for an hour is
/// dead; what uploads, deleted and replaced blobs leave is removed by later puts and deletions.
#[derive(Debug, Clone)]
pub struct SqliteStorage {
    writer: Writer,
    readers: Arc<Readers>,
}

impl SqliteStorage {
    /// The storage of a backend.
    #[must_use]
    pub fn new(backend: &SqliteBackend) -> Self {
        Self { writer: backend.writer.clone(), readers: backend.readers.clone() }
    }

    async fn find(&self, during: &'static str, key: &BlobKey) -> Result<Option<(i64, BlobMeta)>> {
        let query = sqlx::query(include_str!("sql/blob_head.sql")).bind(key.as_str().to_owned());
        let rows = self.readers.fetch(during, query).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let id = row.try_get(3).map_err(error::map(during))?;
        Ok(Some((id, meta(row, during)?)))
    }

    /// The chunks under an id, until they make up the whole length.
    fn chunks(&self, id: i64, meta: &BlobMeta) -> ByteStream {
        let begin = (self.clone(), meta.clone(), 0_u32, meta.len);
        stream::try_unfold(begin, move |(storage, meta, number, rest)| async move {
            if rest == 0 {
                return Ok(None);
            }
            let chunk = storage.chunk(id, number).await?;
            match chunk.filter(|chunk| !chunk.is_empty() && chunk.len() as u64 <= rest) {
                Some(chunk) => {
                    let rest = rest - chunk.len() as u64;
                    Ok(Some((chunk, (storage, meta, number.saturating_add(1), rest))))
                }
                None => Err(storage.interrupted(id, &meta).await),
            }
        })
        .boxed()
    }

    async fn chunk(&self, id: i64, number: u32) -> Result<Option<Bytes>> {
        let query = sqlx::query(include_str!("sql/blob_read.sql")).bind(place(id, number));
        let rows = self.readers.fetch("get", query).await?;
        let chunk = rows.first().map(|row| row.try_get::<Vec<u8>, _>(0)).transpose();
        Ok(chunk.map_err(error::map("get"))?.map(Bytes::from))
    }

    /// Why a chunk is not there: the blob is gone, or it is still there and damaged.
    async fn interrupted(&self, id: i64, meta: &BlobMeta) -> Error {
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
}

fn absent(key: &BlobKey) -> Error {
    Error::NotFound { what: format!("blob {key}").into() }
}

/// A row of key, length and time.
fn meta(row: &SqliteRow, during: &'static str) -> Result<BlobMeta> {
    let failed = error::map(during);
    let key: String = row.try_get(0).map_err(&failed)?;
    let len: i64 = row.try_get(1).map_err(&failed)?;
    let modified_at = timestamp(row.try_get(2).map_err(&failed)?);
    let key = BlobKey::new(key).map_err(|e| windlass_core::kit::unreadable("blob key", e))?;
    Ok(BlobMeta { key, len: len.unsigned_abs(), modified_at })
}

#[async_trait]
impl Chunks for SqliteStorage {
    type Upload = i64;
    const CHUNK: usize = CHUNK;
    const MOST_CHUNKS: u32 = MOST_CHUNKS;

    async fn write(&self, upload: Option<&i64>, number: u32, bytes: Vec<u8>) -> Result<i64> {
        self.writer.call(WriteChunk { upload: upload.copied(), number, bytes }).await
    }

    async fn publish(&self, key: &BlobKey, last: Last<i64>) -> Result<bool> {
        self.writer.call(Publish { key: key.clone(), last }).await
    }

    async fn give_up(&self, upload: &i64) -> Result<()> {
        self.writer.call(GiveUp(*upload)).await
    }

    /// Looks first, so that it takes no lock when there is nothing.
    async fn sweep_some(&self) -> Result<bool> {
        let due = sqlx::query(include_str!("sql/blob_any_due.sql"));
        if self.readers.fetch("delete", due).await?.is_empty() {
            return Ok(false);
        }
        self.writer.call(Sweep).await
    }
}

#[async_trait]
impl Storage for SqliteStorage {
    async fn put(&self, key: &BlobKey, body: ByteStream) -> Result<u64> {
        upload::put(self, key, body).await
    }

    async fn get(&self, key: &BlobKey) -> Result<BlobBody> {
        let found = self.find("get", key).await?;
        let (id, meta) = found.ok_or_else(|| absent(key))?;
        let stream = self.chunks(id, &meta);
        Ok(BlobBody { meta, stream })
    }

    async fn head(&self, key: &BlobKey) -> Result<Option<BlobMeta>> {
        Ok(self.find("head", key).await?.map(|(_, meta)| meta))
    }

    async fn delete(&self, keys: &[BlobKey]) -> Result<()> {
        for some in keys.chunks(DELETED_AT_ONCE) {
            self.writer.call(Delete(some.to_vec())).await?;
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
        let end = format!("{prefix}\u{7f}");
        let query = sqlx::query(include_str!("sql/blob_list.sql"))
            .bind(prefix.to_owned())
            .bind(end)
            .bind(after.map_or_else(String::new, BlobKey::to_string))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = self.readers.fetch("list", query).await?;
        rows.iter().map(|row| meta(row, "list")).collect()
    }

    async fn presign(&self, _: &BlobKey, _: PresignMethod, _: Duration) -> Result<String> {
        Err(Error::Unsupported { what: "presign".into(), by: "sqlite storage".into() })
    }
}
