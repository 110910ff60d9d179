//! Progress, log lines and host events: gathered per attempt and recorded a few times a second for all of them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::attempt::Attempt;
use super::backoff::Pause;
use super::shared::Shared;
use super::{error_text, lock};
use crate::{LogLevel, Note, Record, Recorded, Result};

/// Records in one call.
const RECORDS: usize = 500;

/// The notes of one attempt that wait to be recorded.
#[derive(Debug)]
pub(crate) struct Notes {
    /// So many may wait at once.
    room: usize,
    waiting: Mutex<Waiting>,
    wake: Arc<Notify>,
    /// Held while some are on their way, so that a settlement does not overtake them.
    flushing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Waiting {
    notes: VecDeque<Note>,
    dropped: u64,
}

impl Waiting {
    fn take(&mut self, room: usize) -> Vec<Note> {
        let mut notes: Vec<Note> = self.notes.drain(..).collect();
        if std::mem::take(&mut self.dropped) > 0 {
            let message = format!("more than {room} lines or events at once: some were dropped");
            notes.push(Note::Log { level: LogLevel::Warn, message });
        }
        notes
    }
}

impl Notes {
    pub(crate) fn new(wake: Arc<Notify>, room: usize) -> Self {
        Self { room, waiting: Mutex::default(), wake, flushing: tokio::sync::Mutex::default() }
    }

    /// Adds one. Progress takes the place of progress that still waits.
    pub(crate) fn push(&self, note: Note) {
        {
            let mut waiting = lock(&self.waiting);
            if matches!(note, Note::Progress(_)) {
                waiting.notes.retain(|n| !matches!(n, Note::Progress(_)));
            }
            if waiting.notes.len() >= self.room {
                waiting.dropped += 1;
                return;
            }
            waiting.notes.push_back(note);
        }
        self.wake.notify_one();
    }

    /// A copy of what waits, for a settlement that may yet be rolled back.
    pub(crate) fn copy(&self) -> Vec<Note> {
        lock(&self.waiting).notes.iter().cloned().collect()
    }

    /// Takes what waits, after what is on its way has arrived, or `longest` is over: an outcome is worth more than notes.
    pub(crate) async fn take(&self, longest: Duration) -> Vec<Note> {
        let _flushing = timeout(longest, self.flushing.lock()).await;
        lock(&self.waiting).take(self.room)
    }

    fn put_back(&self, notes: Vec<Note>) {
        let mut waiting = lock(&self.waiting);
        let newer = waiting.notes.iter().any(|n| matches!(n, Note::Progress(_)));
        for note in notes.into_iter().rev() {
            if !(newer && matches!(note, Note::Progress(_))) {
                waiting.notes.push_front(note);
            }
        }
        waiting.notes.truncate(self.room);
    }
}

/// Records what gathers, until the worker ends.
pub(crate) async fn run(shared: Arc<Shared>) {
    let flushes = async {
        let mut pause = Pause::after_error();
        loop {
            shared.notes_wake.notified().await;
            sleep(shared.options.notes).await;
            match flush_all(&shared).await {
                Ok(()) => pause.reset(),
                Err(error) => {
                    tracing::warn!(error = %error_text(&error), "can't record progress and log lines yet");
                    shared.notes_wake.notify_one();
                    sleep(pause.next()).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = flushes => {}
        () = shared.halt.cancelled() => {}
    }
}

async fn flush_all(shared: &Shared) -> Result<()> {
    let attempts = shared.registry.attempts();
    for some in attempts.chunks(RECORDS) {
        flush(shared, some).await?;
    }
    Ok(())
}

async fn flush(shared: &Shared, attempts: &[Arc<Attempt>]) -> Result<()> {
    let mut guards = Vec::new();
    let mut records = Vec::new();
    for attempt in attempts {
        // What `complete_in` took along is the host transaction's to write.
        if attempt.is_the_hosts() {
            continue;
        }
        let Ok(guard) = attempt.notes.flushing.try_lock() else { continue };
        let notes = lock(&attempt.notes.waiting).take(attempt.notes.room);
        if !notes.is_empty() {
            records.push(Record::new(attempt.key(), notes));
            guards.push((attempt, guard));
        }
    }
    if records.is_empty() {
        return Ok(());
    }
    match shared.call("record", shared.backend().record(&records)).await {
        Ok(answers) => {
            for ((attempt, _), answer) in guards.iter().zip(answers) {
                answered(shared, attempt, &answer);
            }
            Ok(())
        }
        Err(error) => {
            for ((attempt, _), record) in guards.iter().zip(records) {
                attempt.notes.put_back(record.notes);
            }
            Err(error)
        }
    }
}

fn answered(shared: &Shared, attempt: &Attempt, answer: &Recorded) {
    match answer {
        Recorded::Applied => {}
        Recorded::Lost => shared.registry.lost(&[attempt.key()]),
        Recorded::Refused { reason } => {
            tracing::warn!(job = %attempt.key().job, reason, "progress or log lines were refused");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Progress;

    fn progress(done: u64) -> Note {
        Note::Progress(Progress { done, ..Progress::default() })
    }

    fn line(text: &str) -> Note {
        Note::Log { level: LogLevel::Info, message: text.to_owned() }
    }

    #[tokio::test]
    async fn progress_is_merged_and_lines_are_bounded() {
        let notes = Notes::new(Arc::default(), 10);
        notes.push(progress(1));
        notes.push(line("a"));
        notes.push(progress(2));
        assert_eq!(notes.copy(), [line("a"), progress(2)]);
        let taken = notes.take(Duration::ZERO).await;
        notes.push(progress(3));
        notes.put_back(taken);
        assert_eq!(notes.take(Duration::ZERO).await, [line("a"), progress(3)]);
        for _ in 0..15 {
            notes.push(line("b"));
        }
        let kept = notes.take(Duration::ZERO).await;
        assert_eq!(kept.len(), 11);
        assert!(matches!(kept.last(), Some(Note::Log { level: LogLevel::Warn, .. })));
    }
}
