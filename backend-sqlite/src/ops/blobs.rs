//! Which job refers to which blob, and which blobs are to be deleted.
//!
//! A doomed blob that some job refers to is passed over until it no longer does, see `prune`.

use windlass_core::{BlobKey, JobId};

use crate::batch::{Rows, ids};
use crate::script::statement;
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
pub(crate) fn refer(txn: &mut Txn<'_>, references: References) {
    let References(rows) = references;
    if !rows.is_empty() {
        txn.write(rows.query(include_str!("../sql/blobs_refer.sql")));
    }
}

/// Notes that jobs no longer refer to blobs.
pub(crate) fn release(txn: &mut Txn<'_>, jobs: &[JobId]) {
    let list = ids(jobs.iter().map(JobId::as_bytes));
    txn.write(statement(include_str!("../sql/blobs_release.sql")).bind(list).bind(txn.now));
}
