//! Progress, log lines and host events on their way into a store.

use crate::limits::cut;
use crate::{Error, Limits, Note, Result};

/// Cuts what may be cut to the limits, and refuses what can't be cut.
///
/// # Errors
/// [`Error::LimitExceeded`] for a host event that is too large.
pub fn fit(limits: &Limits, notes: &[Note]) -> Result<Vec<Note>> {
    notes.iter().map(|note| one(limits, note)).collect()
}

fn one(limits: &Limits, note: &Note) -> Result<Note> {
    let mut note = note.clone();
    match &mut note {
        Note::Progress(progress) => {
            if let Some(message) = &mut progress.message {
                *message = cut(message, limits.event_bytes);
            }
        }
        Note::Log { message, .. } => *message = cut(message, limits.event_bytes),
        Note::Host { .. } => limits.check_note(&note)?,
    }
    Ok(note)
}

/// The refusal of notes beyond what a job may have: it would have `count`.
#[must_use]
pub fn too_many(limits: &Limits, count: u64) -> Error {
    Error::LimitExceeded {
        what: "progress, log and host events of a job".into(),
        actual: count,
        limit: limits.events_per_job.into(),
        hint: "report less often".into(),
    }
}
