//! The folder that one run of the program works in, and I/O errors that say what they are about.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use windlass::JobId;

use crate::Result;

/// Adds a path to an I/O error, which by itself names none.
pub trait AtPath<T> {
    fn at(self, path: &Path) -> io::Result<T>;
}

impl<T> AtPath<T> for io::Result<T> {
    fn at(self, path: &Path) -> io::Result<T> {
        self.map_err(|e| io::Error::new(e.kind(), format!("`{}`: {e}", path.display())))
    }
}

/// A folder that nobody else works in.
pub struct Folder {
    path: PathBuf,
    /// Held until the process ends, however it ends.
    _lock: File,
}

impl Folder {
    pub fn open(path: &Path) -> Result<Self> {
        fs::create_dir_all(path).at(path)?;
        let path = path.canonicalize().at(path)?;
        let file = path.join("lock");
        let lock = File::options().create(true).append(true).open(&file).at(&file)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(format!(
                    "another file_pipeline works in `{}`: wait for it, or name another folder",
                    path.display()
                )
                .into());
            }
            Err(TryLockError::Error(e)) => return Err(e).at(&file)?,
        }
        let folder = Self { path, _lock: lock };
        for made in [folder.artifacts(), folder.work()] {
            fs::create_dir_all(&made).at(&made)?;
        }
        Ok(folder)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn artifacts(&self) -> PathBuf {
        self.path.join("artifacts")
    }

    /// What is here is unfinished, and goes when a run ends.
    pub fn work(&self) -> PathBuf {
        self.path.join("work")
    }

    /// Writes a file whole or not at all.
    pub fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let (new, path) = (self.work().join(unique(name)), self.path.join(name));
        write_synced(&new, bytes)?;
        fs::rename(&new, &path).at(&path)
    }

    /// Removes what attempts of killed processes left; call it when no job runs.
    pub fn clean(&self) -> io::Result<()> {
        remove(&self.work())
    }
}

/// A name for something temporary that nobody else uses.
pub fn unique(name: impl std::fmt::Display) -> String {
    format!("{name}.{}", JobId::new())
}

/// Writes a file and waits until it is on disk.
pub fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path).at(path)?;
    io::Write::write_all(&mut file, bytes).and_then(|()| file.sync_all()).at(path)
}

/// Removes a folder with all that is in it, if it is there.
pub fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e).at(folder),
        _ => Ok(()),
    }
}
