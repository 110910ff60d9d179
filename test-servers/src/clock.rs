//! A server whose clock a test can move: by libfaketime, which is loaded before all else and reads the time from a file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Context, Error, Result};
use crate::home::Home;

/// The name of the file in the server's folder.
const FILE: &str = "clock";

/// What leaves the monotonic clock alone, in newer and in older versions.
const MONOTONIC: [&str; 2] = ["FAKETIME_DONT_FAKE_MONOTONIC", "DONT_FAKE_MONOTONIC"];

/// Finds the library.
fn library() -> Result<PathBuf> {
    let name = "faketime/libfaketimeMT.so.1";
    let folders = std::fs::read_dir("/usr/lib").context(|| "/usr/lib".to_owned())?;
    let mut found = folders.flatten().map(|folder| folder.path().join(name));
    found
        .find(|path| path.exists())
        .ok_or_else(|| Error::new(format!("there is no `{name}`: apt-get install faketime")))
}

/// Writes the file into a server's folder; answers the environment variables that the server needs.
pub(crate) fn prepare(home: &Home) -> Result<Vec<(String, String)>> {
    let library = library()?;
    let file = home.write(FILE, "+0\n")?;
    let text = |path: &Path| path.display().to_string();
    Ok([
        // A server with an allocator of its own, as Debian's Redis has, would ask that for memory and be asked for the time by it, and
        // never start. The C library's, if it is loaded before, asks for no time.
        ("LD_PRELOAD", format!("{} libc.so.6", text(&library))),
        ("FAKETIME_TIMESTAMP_FILE", text(&file)),
        // Seconds until the file is looked at again.
        ("FAKETIME_CACHE_DURATION", "1".to_owned()),
        (MONOTONIC[0], "1".to_owned()),
        (MONOTONIC[1], "1".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec())
}

/// The environment variables of a process whose clock is to be ahead of the machine's. Its monotonic clock stays as it is.
pub fn clock_ahead(ahead: Duration) -> Result<Vec<(String, String)>> {
    let mut env = vec![
        ("LD_PRELOAD".to_owned(), library()?.display().to_string()),
        ("FAKETIME".to_owned(), format!("+{}", ahead.as_secs())),
    ];
    env.extend(MONOTONIC.map(|name| (name.to_owned(), "1".to_owned())));
    Ok(env)
}

/// Sets how far a server's clock is ahead of the machine's. It takes up to a second.
pub(crate) fn set(folder: &Path, ahead: Duration) -> Result<()> {
    let path = folder.join(FILE);
    if !path.exists() {
        return Err(Error::new("this server was started with the machine's clock"));
    }
    std::fs::write(&path, format!("+{}\n", ahead.as_secs()))
        .context(|| format!("`{}`", path.display()))
}
