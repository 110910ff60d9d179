//! Records of running jobs, and host events of any job.

use windlass_core::{Error, JobId, LeaseKey, Note, Record, Recorded, Result};

use crate::batch::{ids, size};
use crate::ops::notes::{self, Added};
use crate::ops::settle;
use crate::ops::stored::Stored;
use crate::txn::Txn;

/// Adds records; each is applied whole, or not at all and the answer says so.
pub(crate) async fn record(txn: &mut Txn<'_>, records: &[Record]) -> Result<Vec<Recorded>> {
    let keys: Vec<LeaseKey> = records.iter().map(|record| record.key).collect();
    let mut running = settle::running(txn, &keys).await?;
    let mut added = Added::default();
    let mut answers = Vec::with_capacity(records.len());
    for record in records {
        answers.push(match running.get_mut(&record.key) {
            None => Recorded::Lost,
            Some(job) => match add(txn, &mut added, job, &record.notes) {
                Ok(()) => Recorded::Applied,
                Err(refusal) => Recorded::Refused { reason: refusal.to_string() },
            },
        });
    }
    added.write(txn, include_str!("../sql/notes.sql")).await?;
    Ok(answers)
}

/// Adds a job's notes, within its limits.
fn add(txn: &mut Txn<'_>, added: &mut Added, job: &mut Stored, notes: &[Note]) -> Result<()> {
    let fit = notes::fit(txn.limits, notes)?;
    notes::check_room(txn.limits, job, &fit)?;
    job.notes += size(fit.len());
    added.add(txn, job, fit)
}

/// Adds host events to a job in any state.
pub(crate) async fn append(txn: &mut Txn<'_>, id: JobId, notes: &[Note]) -> Result<()> {
    if notes.iter().any(|note| matches!(note, Note::Progress(_))) {
        return Err(Error::invalid("event", "progress is reported by the job's handler only"));
    }
    let query = sqlx::query(include_str!("../sql/stored_any.sql")).bind(ids([id.as_bytes()]));
    let rows = txn.fetch(query).await?;
    let Some(row) = rows.first() else {
        return Err(Error::NotFound { what: format!("job {id}").into() });
    };
    let mut job = Stored::read(row)?;
    let mut added = Added::default();
    add(txn, &mut added, &mut job, notes)?;
    let sql = if job.facts.state.is_final() {
        include_str!("../sql/notes_finished.sql")
    } else {
        include_str!("../sql/notes.sql")
    };
    added.write(txn, sql).await
}
