//! Records of running jobs, and host events of any job.

use std::collections::HashMap;

use windlass_core::{Error, EventBody, JobId, LeaseKey, Note, Record, Recorded, Result};

use super::notes::{self, Added};
use super::stored::{Stored, lock_any, lock_owned};
use crate::sql::query;
use crate::txn::Txn;

/// Adds records; each is applied whole, or not at all and the answer says so.
pub(crate) async fn record(txn: &mut Txn<'_>, records: &[Record]) -> Result<Vec<Recorded>> {
    let keys: Vec<LeaseKey> = records.iter().map(|record| record.key).collect();
    let mut running: HashMap<LeaseKey, Stored> = HashMap::new();
    for job in lock_owned(txn, &keys, true).await? {
        if let Some(key) = job.key() {
            running.insert(key, job);
        }
    }
    let mut added = Added::default();
    let mut answers = Vec::with_capacity(records.len());
    for record in records {
        answers.push(match running.get_mut(&record.key) {
            None => Recorded::Lost,
            Some(job) => match fit(txn, job, &record.notes) {
                Ok(fit) => {
                    added.add(record.key, job, fit);
                    Recorded::Applied
                }
                Err(refusal) => Recorded::Refused { reason: refusal.to_string() },
            },
        });
    }
    added.write(txn).await?;
    Ok(answers)
}

/// A job's notes, within its limits.
fn fit(txn: &Txn<'_>, job: &mut Stored, notes: &[Note]) -> Result<Vec<Note>> {
    job.check_names()?;
    let fit = notes::fit(txn.limits, notes)?;
    notes::check_room(txn.limits, job, &fit)?;
    job.notes = job.notes.saturating_add(i32::try_from(fit.len()).unwrap_or(i32::MAX));
    Ok(fit)
}

/// Adds host events to a job in any state.
pub(crate) async fn append(txn: &mut Txn<'_>, id: JobId, notes: &[Note]) -> Result<()> {
    if notes.iter().any(|note| matches!(note, Note::Progress(_))) {
        return Err(Error::invalid("event", "progress is reported by the job's handler only"));
    }
    let Some(mut job) = lock_any(txn, &[id]).await?.into_iter().next() else {
        return Err(Error::NotFound { what: format!("job {id}").into() });
    };
    let fit = fit(txn, &mut job, notes)?;
    let (seqs, _) = txn.draw(fit.len(), 0).await?;
    let count = i32::try_from(fit.len()).unwrap_or(i32::MAX);
    for (seq, note) in seqs.into_iter().zip(fit) {
        txn.emit_single(seq, id, &job.kind, &job.queue, EventBody::Note(note))?;
    }
    txn.fetch(query(&txn.sql.notes_any).bind(*id.as_uuid()).bind(count)).await?;
    Ok(())
}
