//! When to read the tick. Whoever commits has written the log before. The system tells of that where it can; elsewhere the log's
//! length and time are looked at, which costs far less than a read.

#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
#[cfg(target_os = "linux")]
mod told;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use self::told::{Heard, Told};
use crate::txn::Tick;

/// The tick is read this often in any case.
const NET: Duration = Duration::from_secs(1);
/// For so long after a change of the log that was looked at the tick is read at each look. Also more than a file system's clock
/// takes for a step.
const FRESH: Duration = Duration::from_millis(50);
/// How long after the system's word the tick is read first: the log is synced before the commit is there.
#[cfg(target_os = "linux")]
const SOON: Duration = Duration::from_millis(1);

/// How the log is seen from outside. Its time is compared with itself, never with a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: u64,
    length: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl Stamp {
    /// `None` where nothing can be told from it: there is no log, or its time comes in whole seconds. The file is not opened, since
    /// to close it again is no business of ours.
    #[cfg(unix)]
    fn of(log: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let data = std::fs::metadata(log).ok()?;
        let stamp = Self {
            file: data.ino(),
            length: data.size(),
            seconds: data.mtime(),
            nanoseconds: data.mtime_nsec(),
        };
        Some(stamp).filter(|stamp| stamp.nanoseconds != 0)
    }

    /// Elsewhere the time of a file that is open for writing may lag behind.
    #[cfg(not(unix))]
    fn of(_: &Path) -> Option<Self> {
        None
    }
}

/// The system's words, and whether they can be believed: not every file system gives them.
#[cfg(target_os = "linux")]
#[derive(Debug)]
struct Words {
    told: Told,
    /// A write was told of since the last check.
    heard: bool,
    /// The log has changed once, and nothing was said: the word may only have been under way.
    doubted: bool,
}

/// What the looks have found.
#[derive(Debug)]
pub(crate) struct Watch {
    log: Option<PathBuf>,
    #[cfg(target_os = "linux")]
    words: Option<Words>,
    stamp: Option<Stamp>,
    /// When the log was first seen as it is, or last told to be written.
    changed: Instant,
    /// When the tick was read.
    read: Instant,
    tick: Tick,
    /// The tick has moved since the log has changed.
    moved: bool,
    /// How often it was read since then and had not.
    tries: u32,
    /// The last look failed.
    failed: bool,
}

impl Watch {
    /// In a runtime. Without the log's name the tick is read at each look.
    pub(crate) fn new(log: Option<PathBuf>) -> Self {
        #[cfg(target_os = "linux")]
        let words = log.as_deref().and_then(Words::of);
        Self {
            #[cfg(target_os = "linux")]
            words,
            ..Self::by_looks(log)
        }
    }

    /// One that is told nothing.
    pub(crate) fn by_looks(log: Option<PathBuf>) -> Self {
        let now = Instant::now();
        Self {
            log,
            #[cfg(target_os = "linux")]
            words: None,
            stamp: None,
            changed: now,
            read: now,
            tick: Tick::default(),
            moved: false,
            tries: 0,
            failed: false,
        }
    }

    /// Waits until it is time to look: after `interval`, or where the system tells of writes soon after it has, but no sooner than
    /// `shortest` after the look before. It may be dropped and called again at any time.
    pub(crate) async fn rest(&mut self, shortest: Duration, interval: Duration) {
        #[cfg(target_os = "linux")]
        while let Some(words) = self.words.as_ref().filter(|_| !self.failed) {
            let next = tokio::time::sleep_until(self.next(shortest).into());
            if self.is_unread() {
                return next.await;
            }
            let heard = tokio::select! {
                biased;
                heard = words.told.next() => heard,
                () = next => return,
            };
            self.hear(heard, Instant::now());
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (shortest, self.failed);
        tokio::time::sleep(interval).await;
    }

    /// Whether to read the tick now.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        let stamp = self.log.as_deref().and_then(Stamp::of);
        #[cfg(target_os = "linux")]
        if self.is_told(stamp, now) {
            return true;
        }
        self.judge(stamp, now)
    }

    fn judge(&mut self, stamp: Option<Stamp>, now: Instant) -> bool {
        if stamp != self.stamp {
            self.stamp = stamp;
            self.change(now);
        }
        let (age, rest) = (now - self.changed, now - self.read);
        // The log is written, then synced, and then the commit is there: while the tick has not moved one is on its way, unless
        // it is of the host's tables. And behind the one that moved it there may be another, written so soon after it that
        // the log looks the same. The longer that takes, the less matters a little more.
        let part = if self.moved { 2 } else { 8 };
        stamp.is_none() || age <= FRESH || rest >= NET || rest * part >= age
    }

    fn change(&mut self, now: Instant) {
        self.changed = now;
        self.moved = false;
        self.tries = 0;
    }

    /// Notes what was read.
    pub(crate) fn saw(&mut self, tick: Tick, now: Instant) {
        self.moved |= tick != self.tick;
        self.tries = if self.moved { 0 } else { self.tries + 1 };
        self.tick = tick;
        self.read = now;
        self.failed = false;
    }

    /// Notes that the tick could not be read.
    pub(crate) fn failed(&mut self) {
        self.failed = true;
    }

    /// Notes a commit of this process, which has told all it did: what the system says of it is no news.
    pub(crate) fn committed(&mut self, tick: Tick, now: Instant) {
        #[cfg(target_os = "linux")]
        if let Some(words) = &self.words {
            if words.told.take() == Heard::Gone {
                self.words = None;
                return;
            }
            // That it tells of these says nothing about what it tells of others.
            self.stamp = self.log.as_deref().and_then(Stamp::of);
            self.change(now);
            self.saw(tick, now);
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (tick, now);
    }
}

/// What is told.
#[cfg(target_os = "linux")]
impl Watch {
    /// When to look next if nothing is said until then.
    fn next(&self, shortest: Duration) -> Instant {
        if self.is_unread() {
            return (self.changed + SOON).max(self.read + shortest.min(NET));
        }
        let age = self.read - self.changed;
        let rest = if self.moved {
            // Another commit may have been written before the last word was taken, and be there only after the look. It is
            // heard of within four times what its sync takes.
            shortest.max(3 * age)
        } else {
            // It is being synced, or it is of the host's tables.
            let soon = SOON * 2_u32.saturating_pow(self.tries.min(10));
            soon.min(shortest).max(age / 7)
        };
        self.read + rest.min(NET)
    }

    /// The log was written since the tick was read.
    fn is_unread(&self) -> bool {
        self.changed > self.read
    }

    /// Whether there is no reason to look.
    #[cfg(test)]
    pub(crate) fn is_heard_of(&self) -> bool {
        let words = self.words.as_ref();
        !self.is_unread() && words.is_some_and(|words| words.told.take() == Heard::Nothing)
    }

    fn hear(&mut self, heard: Heard, now: Instant) {
        let Some(words) = &mut self.words else { return };
        match heard {
            Heard::Nothing => {}
            Heard::Writes => {
                words.heard = true;
                self.change(now);
            }
            Heard::Gone => self.words = None,
        }
    }

    /// Whether the system tells of writes. Where the log has changed twice in a row without a word, it doesn't: not every file
    /// system does for what others write.
    fn is_told(&mut self, stamp: Option<Stamp>, now: Instant) -> bool {
        let Some(words) = &self.words else { return false };
        let heard = words.told.take();
        self.hear(heard, now);
        let Some(words) = &mut self.words else { return false };
        let heard = std::mem::take(&mut words.heard);
        let silent = stamp != self.stamp && !heard;
        self.stamp = stamp;
        if silent && words.doubted {
            tracing::debug!(
                "the system does not tell of writes to the log of the database; looking at it instead"
            );
            self.words = None;
            self.change(now);
            return false;
        }
        words.doubted = silent || (words.doubted && !heard);
        true
    }
}

#[cfg(target_os = "linux")]
impl Words {
    fn of(log: &Path) -> Option<Self> {
        let told = Told::of(log)
            .inspect_err(|error| tracing::debug!(%error, "the system tells of no writes to the log of the database"))
            .ok()?;
        // What was written before is not known.
        Some(Self { told, heard: true, doubted: false })
    }
}
