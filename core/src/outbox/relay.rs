//! The mover: takes entries out of the outbox, inserts them into the target, removes them.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use super::delivery::{self, Round};
use super::{OUTBOX_QUEUE, Outbox, OutboxStore};
use crate::worker::Pause;
use crate::{Backend, Error, QueueName, Result};

/// How a relay works.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayOptions {
    /// Entries per round: one insert into the target. Default 500.
    pub batch: u32,
    /// For how long entries are taken; after a crash they come back when it is over. Default 30 s.
    pub hold: Duration,
    /// The shortest pause between looks without a hint. Default 20 ms.
    pub poll_min: Duration,
    /// The longest. Default 2 s.
    pub poll_max: Duration,
}

impl Default for RelayOptions {
    fn default() -> Self {
        Self {
            batch: 500,
            hold: Duration::from_secs(30),
            poll_min: Duration::from_millis(20),
            poll_max: Duration::from_secs(2),
        }
    }
}

impl RelayOptions {
    /// The shortest hold that makes sense: a round must be able to end in half of it.
    pub const MIN_HOLD: Duration = Duration::from_secs(1);

    fn check(&self) -> Result<()> {
        let wrong = |text: &'static str| Err(Error::Config(text.into()));
        if self.batch == 0 {
            return wrong("the relay's `batch` is 0: take at least 1 entry per round");
        }
        if self.hold < Self::MIN_HOLD {
            return wrong("the relay's `hold` is below 1 s, too short for a round: use 30 s");
        }
        if self.poll_min.is_zero() || self.poll_max < self.poll_min {
            return wrong("the relay's `poll_min` must be above 0 and at most `poll_max`");
        }
        Ok(())
    }
}

/// What a relay has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Relayed {
    /// Entries that are gone from the outbox, since their job is on the target.
    pub moved: u64,
    /// Of these, entries whose job was there already, from a round that was interrupted.
    pub repeated: u64,
    /// Of these, entries for which another job stands that holds the unique key.
    pub duplicates: u64,
    /// Entries that the target refused; they stay in the outbox, see [`Outbox::refused`].
    pub refused: u64,
}

impl Relayed {
    fn add(&mut self, round: &Round) {
        self.moved += round.moved;
        self.repeated += round.repeated;
        self.duplicates += round.duplicates;
        self.refused += round.refused;
    }
}

/// Moves jobs from an outbox to their target. Several may run at once, in one process or many.
///
/// ```
/// # use windlass_core::*;
/// # use windlass_core::outbox::{Outbox, OutboxStore};
/// # async fn run<B: OutboxStore>(outbox: Outbox<B>, ctrl_c: impl Future<Output = ()>) -> Result<()> {
/// let relayed = outbox.relay().run_until(ctrl_c).await?;
/// println!("{} jobs moved", relayed.moved);
/// # Ok(()) }
/// ```
#[must_use = "a relay does nothing until it is run"]
pub struct Relay<B: OutboxStore, T: Backend + ?Sized = dyn Backend> {
    outbox: Outbox<B, T>,
    options: RelayOptions,
}

impl<B: OutboxStore, T: Backend + ?Sized> fmt::Debug for Relay<B, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("options", &self.options).finish_non_exhaustive()
    }
}

impl<B: OutboxStore, T: Backend + ?Sized> Relay<B, T> {
    pub(super) fn new(outbox: Outbox<B, T>) -> Self {
        Self { outbox, options: RelayOptions::default() }
    }

    /// Changes options: `relay.options(|o| o.batch = 100)`.
    pub fn options(mut self, change: impl FnOnce(&mut RelayOptions)) -> Self {
        change(&mut self.options);
        self
    }

    /// Moves what can be moved now, and returns. What the target refuses, or has no room for, stays.
    ///
    /// # Errors
    /// [`Error::Config`] for options that can't work; the first trouble with either side, when entries may be left.
    pub async fn run_once(&self) -> Result<Relayed> {
        self.options.check()?;
        let mut done = Relayed::default();
        while let Some(round) = self.round().await? {
            done.add(&round);
            match round.held_up {
                Some(Error::QueueFull { .. }) | None => {}
                Some(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// Moves entries as they come until `shutdown` ends, then ends the round under way. Trouble with either side is
    /// logged and tried again after a pause, for ever. Dropping the future is safe at any point.
    ///
    /// # Errors
    /// [`Error::Config`] for options that can't work; [`Error::Closed`] when either side was closed.
    pub async fn run_until<F: Future>(&self, shutdown: F) -> Result<Relayed> {
        self.options.check()?;
        let name = [QueueName::new(OUTBOX_QUEUE)?];
        let mut shutdown = std::pin::pin!(shutdown);
        let mut done = Relayed::default();
        let mut idle = Pause::new(self.options.poll_min, self.options.poll_max);
        let mut trouble = Pause::after_error();
        loop {
            let rest = match self.round().await {
                Ok(None) => Rest::Hint(idle.next()),
                Ok(Some(round)) => {
                    done.add(&round);
                    idle.reset();
                    match round.held_up {
                        // The entries of a full queue rest by themselves; others go on.
                        None | Some(Error::QueueFull { .. }) => {
                            trouble.reset();
                            Rest::No
                        }
                        Some(error) => {
                            tracing::warn!(%error, "the outbox's target is away");
                            Rest::Time(trouble.next())
                        }
                    }
                }
                Err(Error::Closed(what)) => return Err(Error::Closed(what)),
                Err(error) => {
                    tracing::warn!(%error, "the outbox is away");
                    Rest::Time(trouble.next())
                }
            };
            tokio::select! {
                biased;
                _ = shutdown.as_mut() => return Ok(done),
                () = self.rest(&name, rest) => {}
            }
        }
    }

    async fn round(&self) -> Result<Option<Round>> {
        delivery::round(&self.outbox, self.options.batch, self.options.hold).await
    }

    async fn rest(&self, name: &[QueueName], rest: Rest) {
        match rest {
            Rest::No => tokio::task::yield_now().await,
            Rest::Time(time) => tokio::time::sleep(time).await,
            Rest::Hint(time) => {
                if self.outbox.store.wait(name, time).await.is_err() {
                    tokio::time::sleep(time).await;
                }
            }
        }
    }
}

/// What a relay does before the next round.
enum Rest {
    /// Nothing.
    No,
    /// Waits for news, at most so long.
    Hint(Duration),
    /// Waits so long.
    Time(Duration),
}
