//! Progress, log lines and the host's events.

use jiff::Timestamp;

use super::state::Inner;
use crate::limits::{at_most, cut};
use crate::{Error, EventBody, JobId, Limits, Note, Record, Recorded, Result};

impl Inner {
    pub(super) fn record(&mut self, record: &Record, now: Timestamp) -> Recorded {
        let id = record.key.job;
        if !self.jobs.get(&id).is_some_and(|row| row.runs_under(&record.key)) {
            return Recorded::Lost;
        }
        match self.fit_notes(id, &record.notes) {
            Ok(notes) => {
                self.add_notes(id, notes, now);
                Recorded::Applied
            }
            Err(error) => Recorded::Refused { reason: error.to_string() },
        }
    }

    pub(super) fn append(&mut self, id: JobId, notes: &[Note], now: Timestamp) -> Result<()> {
        if notes.iter().any(|note| matches!(note, Note::Progress(_))) {
            return Err(Error::invalid("event", "progress can only be reported by the handler"));
        }
        if !self.jobs.contains_key(&id) {
            return Err(Error::NotFound { what: format!("job {id}").into() });
        }
        let notes = self.fit_notes(id, notes)?;
        self.add_notes(id, notes, now);
        Ok(())
    }

    /// Cuts what may be cut and refuses the rest of what is too much.
    pub(super) fn fit_notes(&self, id: JobId, notes: &[Note]) -> Result<Vec<Note>> {
        let kept = self.jobs.get(&id).map_or(0, |row| row.history.notes());
        let max = self.limits.events_per_job as usize;
        let count = notes.len().saturating_add(kept as usize);
        if !notes.is_empty() {
            at_most("events of a job", count, max, "report less often")?;
        }
        notes.iter().map(|note| fit(note, &self.limits)).collect()
    }

    /// Adds notes that [`fit_notes`](Self::fit_notes) let pass.
    pub(super) fn add_notes(&mut self, id: JobId, notes: Vec<Note>, now: Timestamp) {
        for note in notes {
            if let (Note::Progress(progress), Some(row)) = (&note, self.jobs.get_mut(&id)) {
                row.job.progress = Some(progress.clone());
            }
            self.log(id, EventBody::Note(note), now);
        }
    }
}

fn fit(note: &Note, limits: &Limits) -> Result<Note> {
    let mut note = note.clone();
    match &mut note {
        Note::Progress(progress) => {
            progress.message =
                progress.message.take().map(|message| cut(&message, limits.event_bytes));
        }
        Note::Log { message, .. } => *message = cut(message, limits.event_bytes),
        Note::Host { .. } => limits.check_note(&note)?,
    }
    Ok(note)
}
