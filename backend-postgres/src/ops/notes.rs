//! Progress, log lines and host events.

use std::collections::HashMap;

use windlass_core::limits::cut;
use windlass_core::{Error, EventBody, LeaseKey, Limits, Note, Result};

use super::stored::Stored;
use crate::sql::query;
use crate::txn::Txn;

/// Cuts messages to the limit and refuses what can't be cut.
pub(crate) fn fit(limits: &Limits, notes: &[Note]) -> Result<Vec<Note>> {
    notes
        .iter()
        .map(|note| {
            let mut note = note.clone();
            match &mut note {
                Note::Progress(progress) => {
                    if let Some(message) = &mut progress.message {
                        *message = cut(message, limits.event_bytes);
                    }
                }
                Note::Log { message, .. } => *message = cut(message, limits.event_bytes),
                _ => limits.check_note(&note)?,
            }
            Ok(note)
        })
        .collect()
}

/// Refuses notes beyond what a job may have.
pub(crate) fn check_room(limits: &Limits, job: &Stored, notes: &[Note]) -> Result<()> {
    let after = i64::from(job.notes).saturating_add(crate::sql::size(notes.len()));
    if notes.is_empty() || after <= i64::from(limits.events_per_job) {
        return Ok(());
    }
    Err(Error::LimitExceeded {
        what: "progress, log and host events of a job".into(),
        actual: u64::try_from(after).unwrap_or(u64::MAX),
        limit: limits.events_per_job.into(),
        hint: "report less often".into(),
    })
}

/// Notes on their way into the feed and their jobs' rows, in order.
#[derive(Default)]
pub(crate) struct Added {
    notes: Vec<(LeaseKey, String, String, Note)>,
}

impl Added {
    pub(crate) fn add(&mut self, key: LeaseKey, job: &Stored, notes: Vec<Note>) {
        let one = |note| (key, job.kind.clone(), job.queue.clone(), note);
        self.notes.extend(notes.into_iter().map(one));
    }

    /// Writes them: each under its owner's fence.
    pub(crate) async fn write(self, txn: &mut Txn<'_>) -> Result<()> {
        if self.notes.is_empty() {
            return Ok(());
        }
        let (seqs, _) = txn.draw(self.notes.len(), 0).await?;
        let mut rows: HashMap<LeaseKey, (i32, Option<String>)> = HashMap::new();
        for (seq, (key, kind, queue, note)) in seqs.into_iter().zip(self.notes) {
            let (count, progress) = rows.entry(key).or_default();
            *count += 1;
            if let Note::Progress(reported) = &note {
                *progress = serde_json::to_string(reported).ok();
            }
            txn.emit_single(seq, key.job, &kind, &queue, EventBody::Note(note))?;
        }
        let given = rows.len();
        let (ids, epochs, claims) = super::stored::fences(rows.keys());
        let (counts, progress): (Vec<i32>, Vec<Option<String>>) = rows.into_values().unzip();
        let statement = query(&txn.sql.notes).bind(ids).bind(epochs).bind(claims);
        let changed = txn.execute(statement.bind(counts).bind(progress)).await?;
        txn.check_rows("jobs with notes", changed, given)
    }
}
