//! Which job refers to which blob, and which blobs are to be deleted.
//!
//! A doomed blob that some job refers to is passed over until it no longer does, see `prune`.

use uuid::Uuid;
use windlass_core::{BlobKey, JobId, Result};

use crate::sql::query;
use crate::txn::{Txn, uuids};

/// Which job refers to which blobs.
#[derive(Debug, Default)]
pub(crate) struct References(Vec<Uuid>, Vec<String>);

impl References {
    pub(crate) fn add(&mut self, job: JobId, keys: &[BlobKey]) {
        for key in keys {
            self.0.push(*job.as_uuid());
            self.1.push(key.as_str().to_owned());
        }
    }

    /// Notes that the jobs refer to the blobs, which are then kept as long as the jobs.
    pub(crate) async fn refer(self, txn: &mut Txn<'_>) -> Result<()> {
        if !self.0.is_empty() {
            let statement = query(&txn.sql.blobs_refer).bind(self.0).bind(self.1);
            txn.execute(statement).await?;
        }
        Ok(())
    }
}

/// Notes that jobs no longer refer to blobs.
pub(crate) async fn release(txn: &mut Txn<'_>, jobs: &[JobId]) -> Result<()> {
    let statement = query(&txn.sql.blobs_release).bind(uuids(jobs)).bind(txn.now);
    txn.execute(statement).await?;
    Ok(())
}
