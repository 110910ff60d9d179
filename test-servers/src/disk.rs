//! A small disk that a test can fill.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use crate::error::{Context, Error, Result, blocking};
use crate::home::Home;

/// Portions in which room is taken, each until it finds none: the last is the least that a file takes.
const PORTIONS: [u64; 4] = [64 << 20, 4 << 20, 256 << 10, 4 << 10];

/// A folder on a file system of its own, held in memory. Needs root. It is gone when dropped, and when the test process ends, however it does.
#[derive(Debug)]
pub struct Disk {
    home: Home,
    folder: PathBuf,
}

impl Disk {
    /// Makes a disk of that many bytes.
    pub async fn new(bytes: u64) -> Result<Self> {
        blocking(move || {
            let home = Home::new("disk", "KILL", "nobody", "base-passwd")?;
            let folder = home.make_folder("disk")?;
            home.mount_tmpfs(&folder, bytes)?;
            Ok(Self { home, folder })
        })
        .await
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Takes all room that is left, until the answer is dropped.
    pub async fn fill(&self) -> Result<Filler> {
        fill(&self.folder).await
    }

    /// The folder that its watchdog removes.
    pub fn home(&self) -> &Path {
        self.home.path()
    }
}

/// A file that takes all room on a disk. Its room is free again when it is dropped.
#[derive(Debug)]
pub struct Filler(PathBuf);

impl Drop for Filler {
    fn drop(&mut self) {
        // It may be gone with its disk.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Takes all room on the file system of a folder.
pub(crate) async fn fill(folder: &Path) -> Result<Filler> {
    let filler = Filler(folder.join("filler"));
    blocking(move || {
        let at = || format!("`{}`", filler.0.display());
        let file = File::create(&filler.0).context(at)?;
        let mut taken = 0;
        for portion in PORTIONS {
            loop {
                match fallocate(&file, FallocateFlags::empty(), taken, portion) {
                    Ok(()) => taken += portion,
                    Err(Errno::NOSPC) => break,
                    Err(Errno::INTR) => {}
                    Err(e) => return Err(Error::new(format!("{}: {e}", at()))),
                }
            }
        }
        Ok(filler)
    })
    .await
}
