//! How to open the database.

use std::path::{Path, PathBuf};
use std::time::Duration;

use windlass_core::{Error, Limits, Result};

/// Where the database is and how it is used. The defaults suit an application with one file of its own.
///
/// ```
/// use windlass_sqlite::SqliteOptions;
///
/// let options = SqliteOptions::new("jobs.db").readers(2);
/// assert_eq!(SqliteOptions::from_url("sqlite:jobs.db")?.path(), options.path());
/// # Ok::<(), windlass_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    pub(crate) path: PathBuf,
    pub(crate) create: bool,
    pub(crate) limits: Limits,
    pub(crate) readers: usize,
    pub(crate) busy_timeout: Duration,
    pub(crate) watch_interval: Duration,
}

impl SqliteOptions {
    /// A database file; it is created if it doesn't exist, its folder is not.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            create: true,
            limits: Limits::default(),
            readers: 4,
            busy_timeout: Duration::from_secs(5),
            watch_interval: Duration::from_millis(5),
        }
    }

    /// Reads `sqlite:jobs.db`, `sqlite://jobs.db` or `sqlite:///var/lib/app/jobs.db`, optionally with `?mode=rw` (the
    /// file must exist) or `?mode=rwc` (the default).
    ///
    /// # Errors
    /// [`Error::Config`] when the URL names no file, or asks for something that can't hold jobs.
    pub fn from_url(url: &str) -> Result<Self> {
        let rest = url
            .strip_prefix("sqlite://")
            .or_else(|| url.strip_prefix("sqlite:"))
            .ok_or_else(|| config("the URL must start with `sqlite:`, as in `sqlite:jobs.db`"))?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        if path.is_empty() {
            return Err(config("the URL names no file: use for instance `sqlite:jobs.db`"));
        }
        if path == ":memory:" || path.starts_with("file:") {
            return Err(config(format!(
                "`{path}` can't hold jobs that several connections share: use the memory backend (`windlass::connect(\"memory:\")`), or a file"
            )));
        }
        let path = unescape(path)?;
        check_nul(&path)?;
        let mut options = Self::new(path);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair {
                "mode=rwc" => options.create = true,
                "mode=rw" => options.create = false,
                "mode=memory" => {
                    return Err(config("`mode=memory` can't hold jobs: use the memory backend"));
                }
                _ if pair.split('=').next() == Some("mode") => {
                    return Err(config(
                        "`mode` takes `rw` (the file must exist) or `rwc` (it is created, the default): jobs can't be kept in a file that is only read",
                    ));
                }
                _ => {
                    return Err(config(format!(
                        "unknown parameter `{}` in the URL: known are `mode=rw` and `mode=rwc`; a `?` in the file's name is written `%3F`",
                        pair.split('=').next().unwrap_or(pair)
                    )));
                }
            }
        }
        Ok(options)
    }

    /// The database file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether to create the file if it doesn't exist. Default true.
    #[must_use]
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Limits on what callers pass.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Connections for reading, opened when needed; at least 1. Default 4.
    #[must_use]
    pub fn readers(mut self, readers: usize) -> Self {
        self.readers = readers.max(1);
        self
    }

    /// How long to wait for another process that writes. Default 5 s.
    #[must_use]
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// How often to look for commits of other processes while somebody waits for them; at least 1 ms. On Linux the system tells
    /// when there may be some, and this is the shortest time from one look to that for the next word, a second at most; until the commit
    /// is there looks come after 1, 2, 4 ms and so on up to this. Elsewhere it is up to four times as long when nothing happens for
    /// a while. Default 5 ms.
    #[must_use]
    pub fn watch_interval(mut self, interval: Duration) -> Self {
        self.watch_interval = interval.max(Duration::from_millis(1));
        self
    }
}

/// No system takes such a name, and SQLite would read it up to there.
pub(crate) fn check_nul(path: &Path) -> Result<()> {
    if path.as_os_str().as_encoded_bytes().contains(&0) {
        return Err(config("the database's path has a NUL character in it: name another file"));
    }
    Ok(())
}

/// Decodes `%20` and the like in a URL's path.
fn unescape(path: &str) -> Result<PathBuf> {
    if !path.contains('%') {
        return Ok(path.into());
    }
    let bad = || config("the URL's path has a `%` that is not followed by two hexadecimal digits");
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, tail @ ..] = rest {
        let (byte, tail) = match (first, tail) {
            (b'%', [high, low, tail @ ..]) => {
                let digit = |c: &u8| char::from(*c).to_digit(16).and_then(|d| u8::try_from(d).ok());
                let byte = digit(high).zip(digit(low)).map(|(h, l)| h << 4 | l);
                (byte.ok_or_else(bad)?, tail)
            }
            (b'%', _) => return Err(bad()),
            (byte, tail) => (*byte, tail),
        };
        bytes.push(byte);
        rest = tail;
    }
    let text = String::from_utf8(bytes).map_err(|_| config("the URL's path is not UTF-8"))?;
    Ok(text.into())
}

pub(crate) fn config(why: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::Config(why.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_file() {
        let path = |url: &str| SqliteOptions::from_url(url).unwrap().path;
        assert_eq!(path("sqlite:jobs.db"), Path::new("jobs.db"));
        assert_eq!(path("sqlite://jobs.db"), Path::new("jobs.db"));
        assert_eq!(path("sqlite:///var/x/jobs.db?mode=rwc"), Path::new("/var/x/jobs.db"));
        assert_eq!(path("sqlite:/a%20b.db"), Path::new("/a b.db"));
        assert!(!SqliteOptions::from_url("sqlite:x?mode=rw").unwrap().create);
    }

    #[test]
    fn a_url_that_can_not_hold_jobs_is_refused_with_the_way_out() {
        for (url, part) in [
            ("postgres://x", "start with `sqlite:`"),
            ("sqlite:", "names no file"),
            ("sqlite::memory:", "memory backend"),
            ("sqlite:x?mode=memory", "memory backend"),
            ("sqlite:x?cache=shared", "unknown parameter `cache`"),
            ("sqlite:x%2", "hexadecimal"),
            ("sqlite:x?mode=ro", "`mode` takes `rw` (the file must exist) or `rwc`"),
            ("sqlite:x?mode", "`mode` takes `rw`"),
            ("sqlite:what?.db", "a `?` in the file's name is written `%3F`"),
            ("sqlite:a\0b.db", "NUL"),
            ("sqlite:a%00b.db", "NUL"),
        ] {
            let error = SqliteOptions::from_url(url).unwrap_err().to_string();
            assert!(error.contains(part), "{url}: {error}");
        }
    }
}
