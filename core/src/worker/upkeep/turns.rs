//! Whose turn it is: a piece of work that several workers share, each round of which one of them does.

use std::pin::pin;
use std::time::Duration;

use super::lock;
use crate::sync::{Instant, Mutex, Notify, sleep_until};

/// Between two rounds, whatever was asked for: what is due and can't be done must not make a loop.
const LEAST: Duration = Duration::from_millis(1);

/// How often the time that a round may take is doubled.
const OVERTAKEN: u32 = 4;

/// When the next round is due, and who is at one.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// When the next round is due; `None` until one was asked for.
    next: Option<Instant>,
    /// Who is at one, by number, and until when the others leave it alone.
    taken: Option<(u64, Instant)>,
    /// What was asked for while somebody was at one.
    asked: Option<Instant>,
    /// When the last round ended.
    last: Option<Instant>,
    /// How often it was taken over since a round ended in time.
    overtaken: u32,
    number: u64,
}

impl State {
    /// Now, where the turn is there to be taken; else when that may be, as far as is known.
    fn open(&self) -> Result<Instant, Option<Instant>> {
        let now = Instant::now();
        if let Some((_, until)) = self.taken.filter(|(_, until)| *until > now) {
            return Err(Some(until));
        }
        if self.next.is_none_or(|next| next > now) {
            return Err(self.next);
        }
        Ok(now)
    }

    fn take(&mut self, patience: Duration) -> Result<u64, Option<Instant>> {
        let now = self.open()?;
        self.number += 1;
        // Rounds that are slow are not to be done by ever more at once: the next one has twice the time.
        self.overtaken = self.taken.map_or(0, |_| (self.overtaken + 1).min(OVERTAKEN));
        self.taken = Some((self.number, now + patience * (1 << self.overtaken)));
        self.asked = None;
        Ok(self.number)
    }
}

impl Turns {
    /// Waits until a round is due and nobody is at it. The turn passes to another when it is dropped undone, and when it takes longer than
    /// `patience`: who has it may be held up. May be dropped and called again.
    pub(crate) async fn take(&self, patience: Duration) -> Turn<'_> {
        loop {
            let mut changed = pin!(self.changed.notified());
            // Enlists before the look, so that nothing falls in between.
            changed.as_mut().enable();
            // Not in the `match`: the lock is not to be held there.
            let taken = lock(&self.state).take(patience);
            match taken {
                Ok(number) => return Turn { turns: self, number },
                Err(None) => changed.await,
                Err(Some(at)) => tokio::select! {
                    biased;
                    () = sleep_until(at) => {}
                    () = changed => {}
                },
            }
        }
    }

    /// Whether a round is due, and nobody at it.
    pub(crate) fn is_due(&self) -> bool {
        lock(&self.state).open().is_ok()
    }

    /// Takes the turn if it is due now.
    pub(crate) fn try_take(&self, patience: Duration) -> Option<Turn<'_>> {
        let number = lock(&self.state).take(patience).ok()?;
        Some(Turn { turns: self, number })
    }

    /// The next round is due then or before. While somebody is at one, that is the one after it.
    pub(crate) fn by(&self, at: Instant) {
        self.ask(|_| at);
    }

    /// The next round is due as soon as the last one is so long ago.
    pub(crate) fn after_rest(&self, rest: Duration) {
        self.ask(|state| match (state.taken, state.last) {
            (Some(_), _) => Instant::now() + rest,
            (None, Some(last)) => last + rest,
            (None, None) => Instant::now(),
        });
    }

    fn ask(&self, at: impl FnOnce(&State) -> Instant) {
        let mut state = lock(&self.state);
        let at = at(&state);
        let place = if state.taken.is_some() { &mut state.asked } else { &mut state.next };
        if place.is_some_and(|known| known <= at) {
            return;
        }
        *place = Some(at);
        drop(state);
        self.changed.notify_waiters();
    }

    /// The work of the next round was done by the way: it is due no sooner than then.
    pub(crate) fn put_off(&self, at: Instant) {
        let mut state = lock(&self.state);
        if state.taken.is_none() {
            state.next = state.next.map(|next| next.max(at));
        }
    }

    fn end(&self, number: u64, next: Option<Instant>) {
        let mut state = lock(&self.state);
        if state.taken.is_none_or(|(taken, _)| taken != number) {
            // It took too long, and another has taken it over.
            return;
        }
        (state.taken, state.overtaken) = (None, 0);
        let asked = state.asked.take();
        if let Some(next) = next {
            let now = Instant::now();
            state.last = Some(now);
            state.next = Some(asked.map_or(next, |asked| asked.min(next)).max(now + LEAST));
        }
        drop(state);
        self.changed.notify_waiters();
    }
}

/// The turn: a round is this one's to do. Dropped undone, it is another's at once.
#[derive(Debug)]
#[must_use = "a turn that is dropped is another's"]
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    number: u64,
}

impl Turn<'_> {
    /// It was done; the next round is due then, or before where that was asked for meanwhile.
    pub(crate) fn done(self, next: Instant) {
        self.turns.end(self.number, Some(next));
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // After `done` it is nobody's any more.
        self.turns.end(self.number, None);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const PATIENCE: Duration = Duration::from_secs(30);

    fn due() -> Turns {
        let turns = Turns::default();
        turns.by(Instant::now());
        turns
    }

    #[tokio::test(start_paused = true)]
    async fn one_has_the_turn_and_the_others_wait_for_the_next() {
        let turns = due();
        let turn = turns.take(PATIENCE).await;
        assert!(turns.try_take(PATIENCE).is_none());
        let start = Instant::now();
        turn.done(start + 5 * SECOND);
        let _second = turns.take(PATIENCE).await;
        assert_eq!(start.elapsed(), 5 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_is_dropped_is_anothers_at_once() {
        let turns = due();
        let turn = turns.take(PATIENCE).await;
        let start = Instant::now();
        let (_second, ()) = tokio::join!(biased; turns.take(PATIENCE), async { drop(turn) });
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_takes_too_long_is_taken_over_and_its_end_says_nothing() {
        let turns = due();
        let slow = turns.take(PATIENCE).await;
        let start = Instant::now();
        let second = turns.take(PATIENCE).await;
        assert_eq!(start.elapsed(), PATIENCE);
        slow.done(Instant::now());
        sleep(SECOND).await;
        assert!(turns.try_take(PATIENCE).is_none(), "the second is at it");
        second.done(Instant::now());
        let _third = turns.take(PATIENCE).await;
    }

    /// Each of them takes longer than the first patience: two do the work, and not ever more.
    #[tokio::test(start_paused = true)]
    async fn rounds_that_are_all_slow_end_all_the_same() {
        let (turns, rounds) = (due(), Cell::new(0));
        let start = Instant::now();
        let worker = || async {
            loop {
                let turn = turns.take(2 * SECOND).await;
                rounds.set(rounds.get() + 1);
                sleep(3 * SECOND).await;
                turn.done(Instant::now() + 10 * SECOND);
            }
        };
        let work = async { tokio::join!(worker(), worker(), worker(), worker(), worker()) };
        let _ = tokio::time::timeout(100 * SECOND, work).await;
        assert_eq!(start.elapsed(), 100 * SECOND);
        // Two within each 15 s: the first is overtaken after 2 s, the second ends at 5 s.
        assert!((12..=14).contains(&rounds.get()), "{} rounds", rounds.get());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_asked_for_in_mid_round_comes_after_it() {
        let turns = due();
        let turn = turns.take(PATIENCE).await;
        let start = Instant::now();
        turns.by(start + SECOND);
        turns.by(start + 3 * SECOND);
        turn.done(start + 60 * SECOND);
        let turn = turns.take(PATIENCE).await;
        assert_eq!(start.elapsed(), SECOND);
        turn.done(start + 60 * SECOND);
        let _last = turns.take(PATIENCE).await;
        assert_eq!(start.elapsed(), 60 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_told_when_it_is_due_sooner_or_put_off() {
        let turns = due();
        let start = Instant::now();
        turns.take(PATIENCE).await.done(start + 60 * SECOND);
        let (turn, ()) =
            tokio::join!(biased; turns.take(PATIENCE), async { turns.after_rest(2 * SECOND) });
        assert_eq!(start.elapsed(), 2 * SECOND);
        turn.done(start + 4 * SECOND);
        turns.put_off(start + 9 * SECOND);
        let _turn = turns.take(PATIENCE).await;
        assert_eq!(start.elapsed(), 9 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_round_that_is_taken_over_is_what_was_asked_for_before() {
        let turns = due();
        let _slow = turns.take(PATIENCE).await;
        turns.by(Instant::now() + SECOND);
        let second = turns.take(PATIENCE).await;
        let start = Instant::now();
        second.done(start + 60 * SECOND);
        let _third = turns.take(PATIENCE).await;
        assert_eq!(start.elapsed(), 60 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_due_at_once_makes_no_loop() {
        let turns = due();
        let turn = turns.take(PATIENCE).await;
        let start = Instant::now();
        turns.by(start);
        turn.done(start);
        let _second = turns.take(PATIENCE).await;
        assert_eq!(start.elapsed(), LEAST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rest_that_is_asked_for_in_mid_round_begins_then() {
        let turns = due();
        let turn = turns.take(PATIENCE).await;
        let start = Instant::now();
        turns.after_rest(2 * SECOND);
        turn.done(start + 60 * SECOND);
        let _second = turns.take(PATIENCE).await;
        assert_eq!(start.elapsed(), 2 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_round_that_is_under_way_is_not_put_off_for_who_takes_it_over() {
        let turns = due();
        let turn = turns.take(PATIENCE).await;
        turns.put_off(Instant::now() + 9 * SECOND);
        drop(turn);
        assert!(turns.try_take(PATIENCE).is_some());
    }
}
