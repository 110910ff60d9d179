//! Finds the servers' programs.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Where Debian puts each major version of PostgreSQL.
const POSTGRES: &str = "/usr/lib/postgresql";

/// The major versions that are installed, oldest first.
pub(crate) fn postgres_versions() -> Vec<u32> {
    let entries = std::fs::read_dir(POSTGRES).into_iter().flatten().flatten();
    let mut found: Vec<u32> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|major| bin(*major).join("postgres").is_file())
        .collect();
    found.sort_unstable();
    found
}

fn bin(major: u32) -> PathBuf {
    Path::new(POSTGRES).join(major.to_string()).join("bin")
}

/// The folder of PostgreSQL's programs: of that major version, or of the newest.
pub(crate) fn postgres(version: Option<u32>) -> Result<PathBuf> {
    let found = postgres_versions();
    if let Some(major) = version {
        return if found.contains(&major) {
            Ok(bin(major))
        } else {
            Err(Error::new(format!(
                "PostgreSQL {major} is not installed (found: {found:?}): apt-get install postgresql-{major}"
            )))
        };
    }
    if let Some(newest) = found.last() {
        return Ok(bin(*newest));
    }
    // What is on PATH is often a link; its neighbours are beside the file itself.
    let on_path = search("pg_ctl", &[]).and_then(|path| path.canonicalize().ok());
    match on_path.as_deref().and_then(Path::parent) {
        Some(bin) => Ok(bin.to_owned()),
        None => Err(missing("PostgreSQL's server", "postgresql")),
    }
}

/// A program on PATH, or in Debian's folders for servers, which are not on everybody's.
pub(crate) fn program(name: &str, package: &str) -> Result<PathBuf> {
    search(name, &["/usr/sbin", "/usr/bin"]).ok_or_else(|| missing(&format!("`{name}`"), package))
}

fn search(name: &str, also: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(also.iter().map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn missing(what: &str, package: &str) -> Error {
    Error::new(format!("{what} is not installed: apt-get install {package} (scripts/test does it)"))
}
