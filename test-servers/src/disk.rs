//! A small disk that a test can fill.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::statvfs;

use crate::error::{Context, Error, Result, blocking};
use crate::home::{Home, run};

/// How often it is tried to fill a disk that is being written to.
const TRIES: u32 = 20;

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

/// A disk with no room left. It has its room again when this is dropped.
#[derive(Debug)]
pub struct Filler {
    folder: PathBuf,
    bytes: u64,
}

impl Drop for Filler {
    fn drop(&mut self) {
        // It may be gone with its server.
        let _ = resize(&self.folder, self.bytes);
    }
}

/// Takes all room on the file system that is mounted on a folder: in an instant, as it only becomes smaller.
pub(crate) async fn fill(folder: &Path) -> Result<Filler> {
    let folder = folder.to_owned();
    blocking(move || {
        let (bytes, _) = sizes(&folder)?;
        let mut last = Error::new("it was not tried");
        // What is in use may grow meanwhile, and then it can't become so small.
        for _ in 0..TRIES {
            match resize(&folder, sizes(&folder)?.1) {
                Ok(()) => return Ok(Filler { folder, bytes }),
                Err(e) => last = e,
            }
        }
        Err(last)
    })
    .await
}

/// How large a file system is, and how much of that is in use, in bytes.
fn sizes(folder: &Path) -> Result<(u64, u64)> {
    let found = statvfs(folder).context(|| format!("`{}`", folder.display()))?;
    Ok((found.f_blocks * found.f_frsize, (found.f_blocks - found.f_bfree) * found.f_frsize))
}

fn resize(folder: &Path, bytes: u64) -> Result<()> {
    let options = format!("remount,size={bytes}");
    run(Command::new("mount").args(["-o", &options]).arg(folder))
}
