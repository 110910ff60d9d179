//! How far an attempt has come, who writes its end, and its notes that wait. All of it is under one lock: who acts on a part has seen the whole.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;

use tokio::task::AbortHandle;

use super::lock;
use crate::sync::{Mutex, Notify};
use crate::{LogLevel, Note};

/// Where an attempt stands on its way to be settled.
#[derive(Debug)]
pub(crate) enum Phase {
    Running(Option<AbortHandle>),
    /// The handler has ended; the settlement's own answer tells the rest.
    Settling,
    Lost,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Calls of `complete_in` under way.
    completing: u32,
    /// One of them was applied to the host's transaction.
    completed: bool,
    waiting: VecDeque<Note>,
    /// How many found no room among those that wait.
    dropped: usize,
    /// Copies of those that are being recorded.
    sent: Vec<Note>,
}

impl State {
    fn is_the_hosts(&self) -> bool {
        self.completed || self.completing > 0
    }

    fn waits(&self) -> bool {
        !self.waiting.is_empty() || self.dropped > 0
    }

    fn line_of_dropped(&self, room: usize) -> Option<Note> {
        (self.dropped > 0).then(|| {
            let message = format!("more than {room} lines or events at once: some were dropped");
            Note::Log { level: LogLevel::Warn, message }
        })
    }

    fn take(&mut self, room: usize) -> Vec<Note> {
        let line = self.line_of_dropped(room);
        self.dropped = 0;
        self.waiting.drain(..).chain(line).collect()
    }

    fn put_back(&mut self, notes: Vec<Note>, room: usize) {
        let newer = self.waiting.iter().any(|n| matches!(n, Note::Progress(_)));
        for note in notes.into_iter().rev() {
            if !(newer && matches!(note, Note::Progress(_))) {
                self.waiting.push_front(note);
            }
        }
        self.dropped += self.waiting.len().saturating_sub(room);
        self.waiting.truncate(room);
    }
}

/// The course of one attempt.
#[derive(Debug)]
pub(crate) struct Course {
    state: Mutex<State>,
    /// So many notes may wait at once.
    room: usize,
    /// Notes wait to be recorded.
    wake: Arc<Notify>,
    /// None are being recorded any more.
    landed: Notify,
}

impl Course {
    pub(crate) fn new(wake: Arc<Notify>, room: usize) -> Self {
        let state = State {
            phase: Phase::Running(None),
            completing: 0,
            completed: false,
            waiting: VecDeque::new(),
            dropped: 0,
            sent: Vec::new(),
        };
        Self { state: Mutex::new(state), room, wake, landed: Notify::new() }
    }

    /// Lets others abort the handler.
    pub(crate) fn set_abort(&self, abort: AbortHandle) {
        match &mut lock(&self.state).phase {
            Phase::Lost => abort.abort(),
            Phase::Running(slot) => *slot = Some(abort),
            Phase::Settling => {}
        }
    }

    /// The lease is lost, whatever goes on. Answers where the attempt stood.
    pub(crate) fn lose(&self) -> Phase {
        std::mem::replace(&mut lock(&self.state).phase, Phase::Lost)
    }

    /// The store doesn't know the lease as running any more. That is a loss, unless the end is under way, or was written by the host's own
    /// transaction: then the answer is `None`.
    pub(crate) fn lose_if_running(&self) -> Option<Phase> {
        let mut state = lock(&self.state);
        let is_loss = matches!(state.phase, Phase::Running(_)) && !state.is_the_hosts();
        is_loss.then(|| std::mem::replace(&mut state.phase, Phase::Lost))
    }

    /// The handler has ended. False when the lease was lost before.
    pub(crate) fn begin_settling(&self) -> bool {
        let mut state = lock(&self.state);
        if matches!(state.phase, Phase::Lost) {
            return false;
        }
        state.phase = Phase::Settling;
        true
    }

    /// The job is about to be completed on the host's connection. Notes that are not being recorded yet are left to that.
    pub(crate) fn begin_complete_in(&self) -> Completing<'_> {
        lock(&self.state).completing += 1;
        Completing(self)
    }

    /// Whether a completion was applied to the host's transaction; the store tells whether that was committed.
    pub(crate) fn is_completed_in(&self) -> bool {
        lock(&self.state).completed
    }

    /// Adds a note. Progress takes the place of progress that still waits.
    pub(crate) fn push(&self, note: Note) {
        {
            let mut state = lock(&self.state);
            if matches!(note, Note::Progress(_)) {
                state.waiting.retain(|n| !matches!(n, Note::Progress(_)));
            }
            if state.waiting.len() >= self.room {
                state.dropped += 1;
                return;
            }
            state.waiting.push_back(note);
        }
        self.wake.notify_one();
    }

    /// Takes what waits, to be recorded. `None` where nothing does, some are being recorded, or the host's transaction is to write them.
    pub(crate) fn send(&self) -> Option<(Sending<'_>, Vec<Note>)> {
        let mut state = lock(&self.state);
        if state.is_the_hosts() || !state.sent.is_empty() || !state.waits() {
            return None;
        }
        let notes = state.take(self.room);
        state.sent.clone_from(&notes);
        Some((Sending { course: self, arrived: false }, notes))
    }

    /// Waits until none are being recorded.
    pub(crate) async fn landed(&self) {
        while self.is_sending() {
            let mut landed = pin!(self.landed.notified());
            // Enlists before it looks again, so that nothing falls in between.
            landed.as_mut().enable();
            if self.is_sending() {
                landed.await;
            }
        }
    }

    fn is_sending(&self) -> bool {
        !lock(&self.state).sent.is_empty()
    }

    /// Takes what waits, for the settlement.
    pub(crate) fn take(&self) -> Vec<Note> {
        lock(&self.state).take(self.room)
    }
}

/// A call of `complete_in` under way: meanwhile, the end of the lease is no loss, and the notes are the host's transaction's to write.
#[derive(Debug)]
#[must_use]
pub(crate) struct Completing<'a>(&'a Course);

impl Completing<'_> {
    /// Copies of the notes that are not known to be recorded: the originals stay, since the transaction may yet be rolled back.
    pub(crate) fn notes(&self) -> Vec<Note> {
        let state = lock(&self.0.state);
        let line = state.line_of_dropped(self.0.room);
        state.sent.iter().chain(&state.waiting).cloned().chain(line).collect()
    }

    /// The settlement was applied: from now on the worker asks the store what became of the job.
    pub(crate) fn applied(self) {
        lock(&self.0.state).completed = true;
    }
}

impl Drop for Completing<'_> {
    fn drop(&mut self) {
        let waits = {
            let mut state = lock(&self.0.state);
            state.completing -= 1;
            !state.is_the_hosts() && state.waits()
        };
        if waits {
            // They were passed over meanwhile.
            self.0.wake.notify_one();
        }
    }
}

/// Notes that are being recorded: put back when this is dropped, unless they have arrived.
#[derive(Debug)]
#[must_use]
pub(crate) struct Sending<'a> {
    course: &'a Course,
    arrived: bool,
}

impl Sending<'_> {
    /// The store has answered.
    pub(crate) fn arrived(mut self) {
        self.arrived = true;
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        {
            let mut state = lock(&self.course.state);
            let sent = std::mem::take(&mut state.sent);
            if !self.arrived {
                state.put_back(sent, self.course.room);
            }
        }
        self.course.landed.notify_waiters();
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

    fn is_line_of_dropped(note: Option<&Note>) -> bool {
        matches!(note, Some(Note::Log { level: LogLevel::Warn, .. }))
    }

    fn course() -> Course {
        Course::new(Arc::default(), 10)
    }

    #[test]
    fn progress_is_merged_and_lines_are_bounded() {
        let course = course();
        course.push(progress(1));
        course.push(line("a"));
        course.push(progress(2));
        let (sending, sent) = course.send().unwrap();
        assert_eq!(sent, [line("a"), progress(2)]);
        course.push(progress(3));
        drop(sending);
        assert_eq!(course.take(), [line("a"), progress(3)]);
        for _ in 0..15 {
            course.push(line("b"));
        }
        let kept = course.take();
        assert_eq!(kept.len(), 11);
        assert!(is_line_of_dropped(kept.last()));
        assert!(course.take().is_empty());
    }

    #[test]
    fn what_finds_no_room_when_others_are_put_back_is_told_of() {
        let course = course();
        for _ in 0..10 {
            course.push(line("old"));
        }
        let (sending, _) = course.send().unwrap();
        course.push(line("new"));
        drop(sending);
        let kept = course.take();
        assert_eq!(kept[..10], vec![line("old"); 10]);
        assert!(is_line_of_dropped(kept.get(10)), "{kept:?}");
    }

    #[test]
    fn the_host_writes_all_that_is_not_known_to_be_recorded() {
        let course = course();
        course.push(line("sent"));
        let (sending, _) = course.send().unwrap();
        for _ in 0..11 {
            course.push(line("waits"));
        }
        let completing = course.begin_complete_in();
        let notes = completing.notes();
        assert_eq!((notes.len(), &notes[0]), (12, &line("sent")));
        assert!(is_line_of_dropped(notes.last()));
        drop(sending);
        assert!(course.send().is_none(), "nobody else writes them");
        completing.applied();
        assert!(course.send().is_none());
        assert_eq!(course.take()[0], line("sent"), "it may yet be rolled back");
    }

    #[test]
    fn notes_are_recorded_one_after_the_other() {
        let course = course();
        course.push(line("a"));
        let (sending, _) = course.send().unwrap();
        course.push(line("b"));
        assert!(course.send().is_none());
        sending.arrived();
        assert_eq!(course.send().unwrap().1, [line("b")]);
    }
}
