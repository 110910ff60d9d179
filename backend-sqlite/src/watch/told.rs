//! The system's word that the log is written (inotify).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

/// Room for some dozens of words; those that are alike and wait become one.
const ROOM: usize = 1_024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    Nothing,
    /// The log was written.
    Writes,
    /// There will be no more words: the file is gone, or the system fails.
    Gone,
}

/// Words that wait are those since they were taken last.
#[derive(Debug)]
pub(super) struct Told(AsyncFd<OwnedFd>);

impl Told {
    /// In a runtime, on whose driver it lives. Fails where there is no such file, and where the user has too many of these already.
    pub(super) fn of(log: &Path) -> io::Result<Self> {
        let words = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let gone = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
        inotify::add_watch(&words, log, WatchFlags::MODIFY | gone)?;
        #[allow(
            deprecated,
            reason = "it is sound for what owns its descriptor, and what replaces it is unsafe for all"
        )]
        let words = AsyncFd::new(words)?;
        Ok(Self(words))
    }

    /// Takes the words that wait.
    pub(super) fn take(&self) -> Heard {
        let mut room = [MaybeUninit::uninit(); ROOM];
        let mut reader = inotify::Reader::new(self.0.get_ref(), &mut room);
        let mut heard = Heard::Nothing;
        loop {
            match reader.next() {
                // Words may have been dropped, so that all may have happened.
                Ok(event)
                    if event.events().intersects(ReadFlags::MODIFY | ReadFlags::QUEUE_OVERFLOW) =>
                {
                    heard = Heard::Writes;
                }
                Ok(_) => return Heard::Gone,
                Err(Errno::AGAIN) => return heard,
                Err(Errno::INTR) => {}
                Err(_) => return Heard::Gone,
            }
        }
    }

    /// Waits for words, and takes them. Nothing is taken if it is dropped.
    pub(super) async fn next(&self) -> Heard {
        loop {
            let Ok(mut ready) = self.0.readable().await else { return Heard::Gone };
            match self.take() {
                Heard::Nothing => ready.clear_ready(),
                heard => return heard,
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::io::Write as _;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn each_write_is_told_once_it_is_done() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let told = Told::of(file.path()).unwrap();
        for _ in 0..3 {
            assert_eq!(told.take(), Heard::Nothing);
            file.write_all(b"x").unwrap();
            assert_eq!(told.take(), Heard::Writes);
            file.write_all(b"x").unwrap();
            file.write_all(b"y").unwrap();
            assert_eq!(told.next().await, Heard::Writes);
        }
        std::fs::read(file.path()).unwrap();
        let next = tokio::time::timeout(Duration::from_millis(50), told.next());
        assert!(next.await.is_err(), "who reads writes nothing");
    }

    #[tokio::test]
    async fn a_file_that_goes_is_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let told = Told::of(file.path()).unwrap();
        file.close().unwrap();
        assert_eq!(told.next().await, Heard::Gone);
        let folder = tempfile::tempdir().unwrap();
        assert!(Told::of(&folder.path().join("none")).is_err());
    }
}
