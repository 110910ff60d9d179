//! Which job refers to which blob, and which blobs are to be deleted.
//!
//! A doomed blob that some job refers to is passed over until it no longer does, see `prune`.

use windlass_core::{BlobKey, JobId, Result};

use crate::batch::{Rows, ids};
use crate::txn::Txn;

/// Which job refers to which blobs.
pub(crate) struct References(Rows);

impl References {
    pub(crate) fn new() -> Self {
        Self(Rows::new())
    }

    pub(crate) fn add(&mut self, job: JobId, keys: &[BlobKey]) {
        for key in keys {
            self.0.row().id(job.as_bytes()).text(key.as_str());
        }
    }
}

/// Notes that jobs refer to blobs, which are then kept as long as the jobs.
pub(crate) async fn refer(txn: &mut Txn<'_>, references: References) -> Result<()> {
    let References(rows) = references;
    if rows.is_empty() {
        return Ok(());
    }
    let json = rows.done().0;
    txn.execute(sqlx::query(include_str!("../sql/blobs_refer.sql")).bind(json.clone())).await?;
    txn.execute(sqlx::query(include_str!("../sql/blobs_undoom.sql")).bind(json)).await?;
    Ok(())
}

/// Notes that jobs no longer refer to blobs.
pub(crate) async fn release(txn: &mut Txn<'_>, jobs: &[JobId]) -> Result<()> {
    let list = ids(jobs.iter().map(JobId::as_bytes));
    let query = sqlx::query(include_str!("../sql/blobs_release.sql"));
    txn.execute(query.bind(list).bind(txn.now)).await?;
    Ok(())
}
