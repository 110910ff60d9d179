//! The steps of uploads and deletions, each one short transaction: an upload neither holds the write lock
//! for long nor sits in memory.

use async_trait::async_trait;
use windlass_core::{BlobKey, Result};

use crate::batch::{Query, texts};
use crate::txn::Txn;
use crate::writer::Operation;
use windlass_core::kit::micros;
use windlass_core::kit::upload::{Last, PATIENCE, dead};

/// The size of a chunk: what an upload holds in memory, and what one transaction writes of it.
pub(super) const CHUNK: usize = 1 << 20;
/// How many chunks a blob may have.
pub(super) const MOST_CHUNKS: u32 = 1 << NUMBER_BITS;
/// Bits of a chunk's place that are its number.
const NUMBER_BITS: u32 = 20;
/// Chunks removed in one transaction.
const REMOVED_AT_ONCE: i64 = 8;
/// A transaction takes in no more than a few chunks besides other calls.
const CHUNK_WEIGHT: usize = 1_024;

/// Where a chunk stands.
pub(super) fn place(id: i64, number: u32) -> i64 {
    (id << NUMBER_BITS) | i64::from(number)
}

/// Writes the next chunk of an upload, the first one under a new id. Answers the id.
pub(super) struct WriteChunk {
    pub(super) upload: Option<i64>,
    pub(super) number: u32,
    pub(super) bytes: Vec<u8>,
}

#[async_trait]
impl Operation for WriteChunk {
    type Output = i64;
    const NAME: &'static str = "put";

    async fn run(&self, txn: &mut Txn<'_>) -> Result<i64> {
        let due = txn.now.saturating_add(micros(PATIENCE));
        let id = match self.upload {
            None => begin(txn, due).await?,
            Some(id) => {
                let put_off = sqlx::query(include_str!("../sql/blob_put_off.sql"));
                alive(txn.execute(put_off.bind(id).bind(due)).await?)?;
                id
            }
        };
        txn.execute(insert_chunk(id, self.number, &self.bytes)).await?;
        Ok(id)
    }

    fn weight(&self) -> usize {
        CHUNK_WEIGHT
    }
}

/// Writes the last chunk and puts the upload under its key. Answers whether it replaced a blob, whose chunks
/// are to be removed.
pub(super) struct Publish {
    pub(super) key: BlobKey,
    pub(super) last: Last<i64>,
}

#[async_trait]
impl Operation for Publish {
    type Output = bool;
    const NAME: &'static str = "put";

    async fn run(&self, txn: &mut Txn<'_>) -> Result<bool> {
        let last = &self.last;
        let id = match last.upload {
            None => begin(txn, 1).await?,
            Some(id) => id,
        };
        alive(txn.execute(sqlx::query(include_str!("../sql/blob_unlist.sql")).bind(id)).await?)?;
        if !last.bytes.is_empty() {
            txn.execute(insert_chunk(id, last.number, &last.bytes)).await?;
        }
        let key = || self.key.as_str().to_owned();
        let replaced = sqlx::query(include_str!("../sql/blob_replaced.sql")).bind(key());
        let replaced = txn.execute(replaced).await? > 0;
        let publish = sqlx::query(include_str!("../sql/blob_publish.sql"));
        let (len, now) = (last.len.cast_signed(), txn.now);
        txn.execute(publish.bind(key()).bind(id).bind(len).bind(now)).await?;
        Ok(replaced)
    }

    fn weight(&self) -> usize {
        self.last.bytes.len().div_ceil(CHUNK / CHUNK_WEIGHT).max(1)
    }
}

/// Gives up an upload: its chunks may be removed. One that is visible by now stays.
pub(super) struct GiveUp(pub(super) i64);

#[async_trait]
impl Operation for GiveUp {
    type Output = ();
    const NAME: &'static str = "put";

    async fn run(&self, txn: &mut Txn<'_>) -> Result<()> {
        give_up(txn, self.0).await
    }
}

/// Takes blobs away; their chunks are to be removed.
pub(super) struct Delete(pub(super) Vec<BlobKey>);

#[async_trait]
impl Operation for Delete {
    type Output = ();
    const NAME: &'static str = "delete";

    async fn run(&self, txn: &mut Txn<'_>) -> Result<()> {
        let keys = texts(self.0.iter().map(BlobKey::as_str));
        let deleted = sqlx::query(include_str!("../sql/blob_deleted.sql"));
        txn.execute(deleted.bind(keys.clone())).await?;
        txn.execute(sqlx::query(include_str!("../sql/blob_delete.sql")).bind(keys)).await.map(drop)
    }

    fn weight(&self) -> usize {
        self.0.len()
    }
}

/// Removes some chunks that are nobody's. Answers whether there may be more.
pub(super) struct Sweep;

#[async_trait]
impl Operation for Sweep {
    type Output = bool;
    const NAME: &'static str = "delete";

    async fn run(&self, txn: &mut Txn<'_>) -> Result<bool> {
        let due = sqlx::query(include_str!("../sql/blob_due.sql")).bind(txn.now);
        let Some(row) = txn.fetch(due).await?.into_iter().next() else { return Ok(false) };
        let id: i64 = txn.get(&row, 0)?;
        give_up(txn, id).await?;
        let removal = sqlx::query(include_str!("../sql/blob_sweep.sql"))
            .bind(place(id, 0))
            .bind(place(id, MOST_CHUNKS - 1))
            .bind(REMOVED_AT_ONCE);
        if txn.execute(removal).await? < REMOVED_AT_ONCE.unsigned_abs() {
            txn.execute(sqlx::query(include_str!("../sql/blob_removed.sql")).bind(id)).await?;
        }
        Ok(true)
    }

    fn weight(&self) -> usize {
        CHUNK_WEIGHT
    }
}

async fn begin(txn: &mut Txn<'_>, due: i64) -> Result<i64> {
    let begun = sqlx::query(include_str!("../sql/blob_begin.sql")).bind(due);
    let rows = txn.execute_fetch(begun).await?;
    let row = rows.first().ok_or_else(dead)?;
    txn.get(row, 0)
}

fn insert_chunk(id: i64, number: u32, bytes: &[u8]) -> Query {
    let insert = sqlx::query(include_str!("../sql/blob_chunk.sql"));
    insert.bind(place(id, number)).bind(bytes.to_vec())
}

async fn give_up(txn: &mut Txn<'_>, id: i64) -> Result<()> {
    txn.execute(sqlx::query(include_str!("../sql/blob_doom.sql")).bind(id)).await.map(drop)
}

/// An upload that is no longer listed was taken for dead.
fn alive(rows: u64) -> Result<()> {
    if rows == 1 { Ok(()) } else { Err(dead()) }
}
