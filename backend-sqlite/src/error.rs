//! The driver's errors in the library's terms.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::Row as _;
use sqlx::error::DatabaseError;
use sqlx::sqlite::SqliteRow;
use windlass_core::kit::damaged;
use windlass_core::{Error, Result};

/// The backend's name in errors and logs.
pub(crate) const NAME: &str = "sqlite";

// Primary result codes, see https://www.sqlite.org/rescode.html.
pub(crate) const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const NOMEM: i32 = 7;
pub(crate) const READONLY: i32 = 8;
const INTERRUPT: i32 = 9;
pub(crate) const IOERR: i32 = 10;
pub(crate) const CORRUPT: i32 = 11;
const FULL: i32 = 13;
pub(crate) const CANTOPEN: i32 = 14;
const PROTOCOL: i32 = 15;
pub(crate) const NOTADB: i32 = 26;

/// The primary result code of a driver error, when SQLite gave one.
pub(crate) fn code(error: &sqlx::Error) -> Option<i32> {
    Some(extended(error)? & 0xff)
}

/// SQLite's extended code for a transaction that has read, and now can't write as others have written since.
const BUSY_SNAPSHOT: i32 = 517;

/// The code of a driver error with its extension.
fn extended(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}

/// What SQLite says before the message of `sql/written.sql`, which can raise an error in no better way.
const MISMATCH: &str = "bad JSON path: '";

/// How many rows a statement wrote that was to write others: the message of `sql/written.sql`.
fn mismatch(error: &sqlx::Error) -> Option<&str> {
    let message = error.as_database_error()?.message().strip_prefix(MISMATCH)?;
    message.strip_suffix('\'').filter(|message| message.starts_with("wrote "))
}

/// Whether the connection may be unusable after this error and should be opened anew.
pub(crate) fn breaks_connection(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(_) => {
            matches!(code(error), Some(IOERR | CORRUPT | NOTADB | CANTOPEN | PROTOCOL | NOMEM))
        }
        sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed | sqlx::Error::PoolClosed => true,
        _ => false,
    }
}

/// Translates a driver error that came up while `during` was under way.
pub(crate) fn map(during: &'static str) -> impl Fn(sqlx::Error) -> Error {
    move |error| translate(during, error)
}

/// Translates a driver error that came up while `during` was under way.
pub(crate) fn translate(during: &'static str, error: impl Into<Arc<sqlx::Error>>) -> Error {
    let error = error.into();
    let hint = match code(&error) {
        _ if extended(&error) == Some(BUSY_SNAPSHOT) => {
            "the transaction had read before others wrote, and so can't write: roll it back, and begin it with `BEGIN IMMEDIATE`"
        }
        Some(BUSY | LOCKED) => {
            "another process kept the database locked for longer than the busy timeout: shorten its transactions, or raise `SqliteOptions::busy_timeout`"
        }
        Some(FULL) => {
            "the disk is full, or the database has reached its largest size: free space on the disk"
        }
        Some(IOERR) => {
            "the disk or file system failed under the database file: look at the system's log, and free space if it is full"
        }
        Some(READONLY) => {
            "the database file or its folder is read-only: give this process write access"
        }
        Some(CANTOPEN) => {
            "the database file can't be opened: check that its folder exists and is writable"
        }
        Some(PROTOCOL) => {
            "the locks of the write-ahead log are in dispute, as on network file systems: move the file to a local disk"
        }
        Some(NOMEM) => "memory is short: give this process more",
        Some(INTERRUPT) => "the statement was interrupted",
        Some(CORRUPT) => {
            "the database file is malformed: stop all processes that use it, keep a copy, see what `PRAGMA integrity_check` says, and restore a backup or run `.recover` of the sqlite3 shell"
        }
        Some(NOTADB) => {
            "the file is not a SQLite database, or it is encrypted: something has written over it, restore a backup"
        }
        _ if mismatch(&error).is_some() => {
            "a job's row was not as it had been read, so nothing of the call was written"
        }
        _ => "",
    };
    let lasting = match code(&error) {
        Some(CORRUPT | NOTADB) => true,
        Some(BUSY | LOCKED | FULL | IOERR | READONLY | CANTOPEN | PROTOCOL | NOMEM | INTERRUPT) => {
            false
        }
        Some(_) => true,
        None => !matches!(*error, sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed),
    };
    let source = Fault { hint, file: None, error }.into();
    if lasting {
        Error::Backend { backend: NAME, during, source }
    } else {
        Error::Unavailable { backend: NAME, during, source }
    }
}

/// Adds the name of the database file to an error of SQLite's.
pub(crate) fn in_file(mut error: Error, file: &Path) -> Error {
    if let Error::Backend { source, .. } | Error::Unavailable { source, .. } = &mut error
        && let Some(fault) = source.downcast_mut::<Fault>()
    {
        fault.file = Some(file.to_owned());
    }
    error
}

/// Reads a column of a job's row.
pub(crate) fn column<'r, T>(
    row: &'r SqliteRow,
    number: usize,
    job: impl std::fmt::Display,
    name: &'static str,
) -> Result<T>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(number).map_err(|error| match error {
        sqlx::Error::ColumnDecode { source, .. } => damaged(job, name, source),
        error => damaged(job, name, error),
    })
}

/// Whether a statement that answers JSON met a value that JSON can't hold.
pub(crate) fn is_no_json(error: &sqlx::Error) -> bool {
    let message = error.as_database_error().map(DatabaseError::message);
    message == Some("JSON cannot hold BLOB values")
}

/// The driver error behind an error of this backend.
pub(crate) fn cause(error: &Error) -> Option<&Arc<sqlx::Error>> {
    let (Error::Backend { source, .. } | Error::Unavailable { source, .. }) = error else {
        return None;
    };
    Some(&source.downcast_ref::<Fault>()?.error)
}

/// Whether a transaction was not begun as what it was guessed from had changed: what `insert_guess.sql` and `settle_guess.sql` say.
pub(crate) fn is_wrong_guess(error: &sqlx::Error) -> bool {
    let message = error.as_database_error().map(DatabaseError::message);
    message.is_some_and(|message| message.contains("guessed wrong"))
}

/// A driver error with the way out. SQLite's own messages quote no bound values.
#[derive(Debug)]
struct Fault {
    hint: &'static str,
    /// The database file.
    file: Option<PathBuf>,
    error: Arc<sqlx::Error>,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let driver = self.error.as_database_error().map(DatabaseError::message);
        let driver = mismatch(&self.error).or(driver);
        if let Some(file) = &self.file {
            write!(f, "`{}`: ", file.display())?;
        }
        match (self.hint, driver) {
            ("", Some(driver)) => f.write_str(driver),
            ("", None) => write!(f, "{}", self.error),
            (hint, Some(driver)) => write!(f, "{hint} ({driver})"),
            (hint, None) => write!(f, "{hint} ({})", self.error),
        }
    }
}

impl std::error::Error for Fault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.error)
    }
}

#[cfg(test)]
mod tests {
    use sqlx::Connection as _;

    use super::*;

    #[test]
    fn a_lost_connection_is_transient_and_named() {
        let error = translate("claim", sqlx::Error::WorkerCrashed);
        assert!(error.is_transient());
        assert_eq!(error.to_string(), "sqlite is unavailable during claim");
    }

    /// What SQLite says of a write on a connection that was opened or changed in some way, as the library tells it.
    async fn told(query: &str, before: &'static str) -> (bool, String) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("jobs.db");
        let open = |query: &str| {
            let url = format!("sqlite:{}?{query}", file.display());
            async move { sqlx::SqliteConnection::connect(&url).await.unwrap() }
        };
        let mut first = open("mode=rwc").await;
        let table = "CREATE TABLE secret (text)";
        sqlx::query(table).execute(&mut first).await.unwrap();
        let mut conn = open(query).await;
        sqlx::query(before).execute(&mut conn).await.unwrap();
        let write = "INSERT INTO secret VALUES (hex(zeroblob(100000)))";
        let error = sqlx::query(write).execute(&mut conn).await.unwrap_err();
        let error = in_file(translate("insert", error), &file);
        let text = std::error::Error::source(&error).unwrap().to_string();
        assert!(text.starts_with(&format!("`{}`: ", file.display())), "{text}");
        assert!(!text.contains("secret"), "{text}");
        (error.is_transient(), text)
    }

    #[tokio::test]
    async fn errors_at_run_time_name_the_file_and_the_way_out() {
        let (transient, text) = told("mode=rw", "PRAGMA max_page_count = 2").await;
        assert!(transient && text.contains("free space on the disk"), "{text}");
        let (transient, text) = told("mode=ro", "SELECT 1").await;
        assert!(transient && text.contains("give this process write access"), "{text}");
        let (_, text) = told("mode=rw", "PRAGMA query_only = 1").await;
        assert!(text.contains("read-only"), "{text}");
    }
}
