//! Finds the servers' programs.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Where Debian puts each major version of PostgreSQL.
const POSTGRES: &str = "/usr/lib/postgresql";
/// The environment variable that names a folder of PostgreSQL's programs, to be used instead of those that are installed.
const POSTGRES_BIN: &str = "WINDLASS_TEST_POSTGRES_BIN";

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

/// A folder that somebody says holds PostgreSQL's programs.
fn given(folder: &Path) -> Result<PathBuf> {
    for name in ["initdb", "postgres", "pg_ctl"] {
        if !folder.join(name).is_file() {
            return Err(Error::new(format!(
                "`{POSTGRES_BIN}` names `{}`, in which there is no `{name}`: name the folder of PostgreSQL's programs",
                folder.display()
            )));
        }
    }
    Ok(folder.to_owned())
}

/// The folder of PostgreSQL's programs: of that major version, or the one of the environment variable, or of the newest version.
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
    if let Some(folder) = std::env::var_os(POSTGRES_BIN) {
        return given(Path::new(&folder));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_the_programs_is_refused_by_name() {
        let error = given(Path::new("/nowhere")).map_or_else(|e| e.to_string(), |_| String::new());
        assert!(error.contains(POSTGRES_BIN) && error.contains("`/nowhere`"), "{error}");
        assert!(error.contains("no `initdb`"), "{error}");
    }
}
