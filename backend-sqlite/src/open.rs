//! Opens connections: what must hold before the first, and what must hold on each.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, SqliteConnection};
use windlass_core::{Error, Result};

use crate::error::{self, BUSY, CANTOPEN, CORRUPT, NOTADB, READONLY};
use crate::options::{SqliteOptions, check_nul, config};

/// SQLite before this version can damage a database in WAL mode when a checkpoint meets a reset of the log.
const OLDEST: (u32, u32, u32) = (3, 51, 3);
/// The log is cut back to this size when it is reset.
const JOURNAL_SIZE_LIMIT: &str = "67108864";
/// Pages in the log before a commit moves them into the database file.
const CHECKPOINT_PAGES: &str = "2000";

fn base(options: &SqliteOptions) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(&options.path)
        .busy_timeout(options.busy_timeout)
        .foreign_keys(false)
        .statement_cache_capacity(256)
        .row_buffer_size(512)
        .thread_name(|id| format!("windlass-sqlite-{id}"))
        .disable_statement_logging()
}

/// Opens a connection that writes, and checks that its settings took.
pub(crate) async fn writer(options: &SqliteOptions) -> Result<SqliteConnection> {
    let connect = base(options)
        .create_if_missing(options.create)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("journal_size_limit", JOURNAL_SIZE_LIMIT)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .pragma("cell_size_check", "ON");
    // SQLite does not wait for its locks while it changes the journal mode: of many that open a new file at once, some find it
    // locked, whatever the busy timeout is.
    let (deadline, mut tries) = (Instant::now() + options.busy_timeout, 0);
    let mut conn = loop {
        match connect.connect().await {
            Ok(conn) => break conn,
            Err(error) if error::code(&error) == Some(BUSY) && Instant::now() < deadline => {
                tries += 1;
                tokio::time::sleep(pause(tries)).await;
            }
            Err(error) => return Err(explain(&options.path, error)),
        }
    };
    read_back(&mut conn, &options.path).await?;
    Ok(conn)
}

/// Opens a connection that only reads.
pub(crate) async fn reader(options: &SqliteOptions) -> sqlx::Result<SqliteConnection> {
    base(options).create_if_missing(false).pragma("query_only", "ON").connect().await
}

/// Where SQLite has put the log of the connection's database; `None` when it does not say.
pub(crate) async fn log(conn: &mut SqliteConnection) -> Option<PathBuf> {
    let name = sqlx::query_scalar("SELECT file FROM pragma_database_list WHERE name = 'main'");
    let name: String = name.persistent(false).fetch_one(conn).await.ok()?;
    Some(PathBuf::from(name + "-wal")).filter(|log| log.is_absolute())
}

/// Reads settings back: a pragma that SQLite doesn't take is silently ignored.
async fn read_back(conn: &mut SqliteConnection, path: &Path) -> Result<()> {
    let version: String = scalar(conn, path, "SELECT sqlite_version()").await?;
    let number = |n: usize| version.split('.').nth(n).and_then(|p| p.parse().ok()).unwrap_or(0);
    if (number(0), number(1), number(2)) < OLDEST {
        let (a, b, c) = OLDEST;
        return Err(config(format!(
            "SQLite {version} is linked, which can damage databases in WAL mode: link {a}.{b}.{c} or later"
        )));
    }
    let journal: String = scalar(conn, path, "PRAGMA journal_mode").await?;
    if journal != "wal" {
        return Err(config(format!(
            "`{}` is in journal mode `{journal}` and does not take `wal`: put it on a local disk that allows shared memory, \
             and give this process write access to its folder",
            path.display()
        )));
    }
    let synchronous: i64 = scalar(conn, path, "PRAGMA synchronous").await?;
    let locking: String = scalar(conn, path, "PRAGMA locking_mode").await?;
    if synchronous != 2 || locking != "normal" {
        return Err(config(format!(
            "`{}` did not take the settings synchronous=FULL and locking_mode=NORMAL",
            path.display()
        )));
    }
    let read_only: i64 = scalar(conn, path, "PRAGMA query_only").await?;
    if read_only != 0 {
        return Err(config(format!("`{}` can only be read", path.display())));
    }
    Ok(())
}

async fn scalar<T>(conn: &mut SqliteConnection, path: &Path, sql: &'static str) -> Result<T>
where
    T: for<'r> sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite> + Send + Unpin,
{
    sqlx::query_scalar(sql).fetch_one(conn).await.map_err(|e| explain(path, e))
}

/// An error while opening, with the file's name.
pub(crate) fn explain(path: &Path, error: sqlx::Error) -> Error {
    let name = path.display();
    match error::code(&error) {
        Some(NOTADB) => config(format!(
            "`{name}` is not a SQLite database (or it is encrypted): name another file, or move this one away"
        )),
        Some(CORRUPT) => config(format!(
            "the database `{name}` is malformed: keep a copy, then restore a backup or run `.recover` of the sqlite3 shell"
        )),
        Some(READONLY) => config(format!(
            "the database `{name}` or its folder is read-only: give this process write access to both"
        )),
        Some(CANTOPEN) => config(format!(
            "the database `{name}` can't be opened: check that its folder exists and that this process may write there"
        )),
        _ => error::in_file(error::translate("open", error), path),
    }
}

/// Looks at the path before SQLite does, since SQLite says of everything just that it can't be opened.
pub(crate) async fn preflight(options: &SqliteOptions) -> Result<()> {
    let (path, create) = (options.path.clone(), options.create);
    let check = tokio::task::spawn_blocking(move || check_path(&path, create));
    check.await.map_err(|_| Error::Closed("the runtime"))?
}

fn check_path(path: &Path, create: bool) -> Result<()> {
    check_nul(path)?;
    let name = path.display();
    if path.is_dir() {
        return Err(config(format!(
            "`{name}` is a folder: name a file in it, such as `{name}/jobs.db`"
        )));
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return Err(config(format!(
            "the folder `{}` does not exist: create it first",
            folder.display()
        )));
    }
    // The file itself must not be opened here: closing it again would drop the locks that other connections of this
    // process hold on it, which is how POSIX locks work.
    if !create && !path.exists() {
        return Err(config(format!(
            "the database `{name}` does not exist: create it, or use `mode=rwc`"
        )));
    }
    let read_only = |p: &Path| std::fs::metadata(p).is_ok_and(|m| m.permissions().readonly());
    if read_only(folder) || read_only(path) {
        return Err(config(format!(
            "the folder `{}` or the file in it is read-only: SQLite needs to write both",
            folder.display()
        )));
    }
    if let Some(kind) = network_file_system(folder) {
        tracing::warn!(
            path = %name, file_system = %kind,
            "the database is on a network file system, whose locks SQLite can't rely on: use a local disk"
        );
    }
    Ok(())
}

/// The type of the file system that holds the folder, if it is one over a network. Only Linux tells.
fn network_file_system(folder: &Path) -> Option<String> {
    const OVER_NETWORK: [&str; 9] =
        ["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "fuse.sshfs"];
    let folder = folder.canonicalize().ok()?;
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    let mount = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            Some((fields.next()?, fields.next()?))
        })
        .filter(|(point, _)| folder.starts_with(point))
        .max_by_key(|(point, _)| point.len())?;
    OVER_NETWORK.contains(&mount.1).then(|| mount.1.to_owned())
}

/// How long to wait between tries for a lock.
pub(crate) fn pause(tries: u32) -> Duration {
    Duration::from_micros(500 * u64::from(tries.clamp(1, 10)))
}
