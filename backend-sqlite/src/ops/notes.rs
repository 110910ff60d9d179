//! Progress, log lines and host events.

use std::collections::HashMap;

use windlass_core::limits::cut;
use windlass_core::{Error, EventBody, JobId, Limits, Note, Result};

use crate::batch::{Rows, size};
use crate::ops::stored::{Guard, Stored};
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
    let after = job.notes.saturating_add(size(notes.len()));
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

/// What notes change in their jobs' rows.
#[derive(Default)]
pub(crate) struct Added(HashMap<JobId, Change>);

struct Change {
    guard: Guard,
    count: i64,
    progress: Option<String>,
}

impl Added {
    /// Adds a job's notes to the feed.
    pub(crate) fn add(&mut self, txn: &mut Txn<'_>, job: &Stored, notes: Vec<Note>) -> Result<()> {
        if notes.is_empty() {
            return Ok(());
        }
        let new = || Change { guard: job.guard(), count: 0, progress: None };
        let change = self.0.entry(job.id).or_insert_with(new);
        change.count += size(notes.len());
        for note in notes {
            if let Note::Progress(reported) = &note {
                change.progress = serde_json::to_string(reported).ok();
            }
            txn.emit_single(job.id, &job.kind, &job.queue, EventBody::Note(note))?;
        }
        Ok(())
    }

    /// Writes the rows of jobs that are not final (`notes.sql`) or final (`notes_finished.sql`).
    pub(crate) async fn write(self, txn: &mut Txn<'_>, sql: &'static str) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut rows = Rows::new();
        for change in self.0.values() {
            rows.guarded(&change.guard).int(change.count).maybe_text(change.progress.as_deref());
        }
        txn.write(rows.guarded_query(sql));
        Ok(())
    }
}
