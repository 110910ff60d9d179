//! [`PostgresStorage`]: blobs in the database of the jobs.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use windlass_core::kit::upload::{self, Chunks, Last, PATIENCE, dead};
use windlass_core::kit::{micros, timestamp};
use windlass_core::storage::{BlobBody, ByteStream, PresignMethod};
use windlass_core::{BlobKey, BlobMeta, Error, Result, Storage};

use crate::PostgresBackend;
use crate::error::map;
use crate::session::Session;
use crate::sql::{Query, Statements, query, size};

/// Keys deleted by one statement.
const DELETED_AT_ONCE: usize = 1_000;
/// Chunks removed by one of them.
const REMOVED_AT_ONCE: i64 = 32;

/// Blobs in the database of the jobs, in chunks of 256 KiB.
///
/// An upload writes each chunk by a statement of its own and becomes visible with the last one. Between two chunks neither
/// uploads nor reads hold a connection. When a blob is replaced or deleted while it is read, the read ends in
/// [`Error::NotFound`], never in another blob's bytes. An upload to which nothing was added for an hour is
/// dead; what uploads, deleted and replaced blobs leave is removed by later puts and deletions, and by pruning.
#[derive(Debug, Clone)]
pub struct PostgresStorage {
    session: Session,
    sql: Arc<Statements>,
}

impl PostgresStorage {
    /// The storage of a backend.
    #[must_use]
    pub fn new(backend: &PostgresBackend) -> Self {
        Self { session: backend.session.clone(), sql: backend.sql.clone() }
    }

    async fn fetch(&self, during: &'static str, query: Query) -> Result<Vec<PgRow>> {
        self.session.fetch(during, query).await
    }

    async fn find(&self, during: &'static str, key: &BlobKey) -> Result<Option<(i64, BlobMeta)>> {
        let statement = query(&self.sql.blob_head).bind(key.as_str().to_owned());
        let rows = self.fetch(during, statement).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some((row.try_get(3).map_err(map(during))?, meta(row, during)?)))
    }

    /// The chunks under an id, until they make up the whole length.
    fn chunks(&self, id: i64, meta: &BlobMeta) -> ByteStream {
        let begin = (self.clone(), meta.clone(), 0_i32, meta.len);
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

    async fn chunk(&self, id: i64, number: i32) -> Result<Option<Bytes>> {
        let statement = query(&self.sql.blob_read).bind(id).bind(number);
        let rows = self.fetch("get", statement).await?;
        let chunk = rows.first().map(|row| row.try_get::<Vec<u8>, _>(0)).transpose();
        Ok(chunk.map_err(map("get"))?.map(Bytes::from))
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

/// An upload stands among the trash while it goes on, with a time at which it counts as dead. Every statement that adds to it asks for that row and
/// locks it, so a sweep and an upload never pass one another.
#[async_trait]
impl Chunks for PostgresStorage {
    type Upload = i64;
    const CHUNK: usize = 256 << 10;
    const MOST_CHUNKS: u32 = i32::MAX.unsigned_abs();

    async fn write(&self, upload: Option<&i64>, number: u32, bytes: Vec<u8>) -> Result<i64> {
        let pause = micros(PATIENCE);
        let statement = match upload {
            None => query(&self.sql.blob_begin).bind(pause).bind(bytes),
            Some(id) => {
                let number = number.cast_signed();
                query(&self.sql.blob_chunk).bind(*id).bind(number).bind(bytes).bind(pause)
            }
        };
        let rows = self.fetch("put", statement).await?;
        rows.first().ok_or_else(dead)?.try_get(0).map_err(map("put"))
    }

    async fn publish(&self, key: &BlobKey, last: Last<i64>) -> Result<bool> {
        let key = key.as_str().to_owned();
        let statement = match last.upload {
            None => query(&self.sql.blob_put).bind(key).bind(last.bytes),
            Some(id) => query(&self.sql.blob_publish)
                .bind(id)
                .bind(last.number.cast_signed())
                .bind(last.bytes)
                .bind(key)
                .bind(last.len.cast_signed()),
        };
        let rows = self.fetch("put", statement).await?;
        rows.first().ok_or_else(dead)?.try_get(0).map_err(map("put"))
    }

    async fn give_up(&self, upload: &i64) -> Result<()> {
        self.fetch("put", query(&self.sql.blob_give_up).bind(*upload)).await.map(drop)
    }

    async fn sweep_some(&self) -> Result<bool> {
        let some = query(&self.sql.blob_sweep).bind(REMOVED_AT_ONCE);
        Ok(!self.fetch("delete", some).await?.is_empty())
    }
}

/// A row of key, length and time.
fn meta(row: &PgRow, during: &'static str) -> Result<BlobMeta> {
    let key: &str = row.try_get(0).map_err(map(during))?;
    let len: i64 = row.try_get(1).map_err(map(during))?;
    let modified_at = timestamp(row.try_get(2).map_err(map(during))?);
    let key = BlobKey::new(key)
        .map_err(|error| Error::Decode { what: "a blob's key".into(), source: error.into() })?;
    Ok(BlobMeta { key, len: len.unsigned_abs(), modified_at })
}

#[async_trait]
impl Storage for PostgresStorage {
    async fn put(&self, key: &BlobKey, body: ByteStream) -> Result<u64> {
        upload::put(self, key, body).await
    }

    async fn get(&self, key: &BlobKey) -> Result<BlobBody> {
        let found = self.find("get", key).await?;
        let (id, meta) =
            found.ok_or_else(|| Error::NotFound { what: format!("blob {key}").into() })?;
        let stream = self.chunks(id, &meta);
        Ok(BlobBody { meta, stream })
    }

    async fn head(&self, key: &BlobKey) -> Result<Option<BlobMeta>> {
        Ok(self.find("head", key).await?.map(|(_, meta)| meta))
    }

    async fn delete(&self, keys: &[BlobKey]) -> Result<()> {
        for some in keys.chunks(DELETED_AT_ONCE) {
            let some: Vec<String> = some.iter().map(BlobKey::to_string).collect();
            self.fetch("delete", query(&self.sql.blob_delete).bind(some)).await?;
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
        // The server takes no text with a zero byte, and no key has one.
        if prefix.contains('\0') {
            return Ok(Vec::new());
        }
        // No character of a key is greater than this one, so all that starts with the prefix stands before it.
        let end = format!("{prefix}\u{7f}");
        let statement = query(&self.sql.blob_list)
            .bind(prefix.to_owned())
            .bind(end)
            .bind(after.map_or_else(String::new, BlobKey::to_string))
            .bind(size(limit));
        let rows = self.fetch("list", statement).await?;
        rows.iter().map(|row| meta(row, "list")).collect()
    }

    async fn presign(&self, _: &BlobKey, _: PresignMethod, _: Duration) -> Result<String> {
        Err(Error::Unsupported { what: "presign".into(), by: "postgres storage".into() })
    }
}
