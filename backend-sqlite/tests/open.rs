//! Opening: settings that are read back, errors that name the thing and the way out, a schema that collides with nobody's.

mod common;

use common::{claim, completed, host, job, open, place, worker};
use windlass_core::{Backend, Error, Queue, Store};
use windlass_sqlite::{SqliteBackend, SqliteOptions};

async fn refused(options: SqliteOptions) -> String {
    let error = SqliteBackend::open(options).await.unwrap_err();
    assert!(matches!(error, Error::Config(_)), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn a_missing_folder_is_named() {
    let (folder, _) = place();
    let error = refused(SqliteOptions::new(folder.path().join("no/such/jobs.db"))).await;
    assert!(error.contains("no/such` does not exist: create it"), "{error}");
}

#[tokio::test]
async fn a_folder_given_as_the_file_is_named() {
    let (folder, _) = place();
    let error = refused(SqliteOptions::new(folder.path())).await;
    assert!(error.contains("is a folder: name a file in it"), "{error}");
}

#[tokio::test]
async fn a_file_that_must_exist_is_not_created() {
    let (_folder, path) = place();
    let error = refused(SqliteOptions::new(&path).create(false)).await;
    assert!(error.contains("jobs.db` does not exist"), "{error}");
    assert!(!path.exists());
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named_and_left_alone() {
    let (_folder, path) = place();
    let text = "these are the words of a letter, not the pages of a database. ".repeat(99);
    std::fs::write(&path, &text).unwrap();
    let error = refused(SqliteOptions::new(&path)).await;
    assert!(error.contains("jobs.db` is not a SQLite database"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn a_malformed_database_is_named() {
    let (_folder, path) = place();
    open(&path).await.close().await.unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    // The header stays; the schema's first page becomes noise.
    bytes[100..4_000].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
    let error = refused(SqliteOptions::new(&path)).await;
    assert!(error.contains("jobs.db` is malformed"), "{error}");
    assert!(error.contains(".recover"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_read_only_file_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, path) = place();
    open(&path).await.close().await.unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o444)).unwrap();
    let error = refused(SqliteOptions::new(&path)).await;
    assert!(error.contains("jobs.db") || error.contains("folder"), "{error}");
    assert!(error.contains("write"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_read_only_folder_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, path) = place();
    open(&path).await.close().await.unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o555)).unwrap();
    let error = refused(SqliteOptions::new(&path)).await;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(error.contains("read-only"), "{error}");
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let (_folder, path) = place();
    open(&path).await.close().await.unwrap();
    let newer = sqlx::query("INSERT INTO windlass_migrations (version) VALUES (9999)");
    newer.execute(&mut host(&path).await).await.unwrap();
    let error = refused(SqliteOptions::new(&path)).await;
    assert!(error.contains("has version 9999") && error.contains("upgrade"), "{error}");
}

#[tokio::test]
async fn a_schema_is_made_once_by_many_that_open_at_the_same_time() {
    let (_folder, path) = place();
    let all = (0..8).map(|_| {
        let path = path.clone();
        tokio::spawn(async move { open(&path).await.insert(&[job()]).await.unwrap() })
    });
    for one in all.collect::<Vec<_>>() {
        one.await.unwrap();
    }
    let versions: i64 = sqlx::query_scalar("SELECT count(*) FROM windlass_migrations")
        .fetch_one(&mut host(&path).await)
        .await
        .unwrap();
    assert_eq!(versions, 1);
}

/// The host's own tables and migrations, under the usual names, live beside the library's.
#[tokio::test]
async fn f42_the_hosts_migrations_and_ours_do_not_collide() {
    let (_folder, path) = place();
    let mut conn = host(&path).await;
    for sql in [
        "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL)",
        "INSERT INTO _sqlx_migrations VALUES (1, 'of the host')",
        "CREATE TABLE migrations (id INTEGER PRIMARY KEY)",
        "CREATE TABLE jobs (id INTEGER PRIMARY KEY, state TEXT)",
        "INSERT INTO jobs VALUES (1, 'of the host')",
        "PRAGMA user_version = 77",
    ] {
        sqlx::query(sql).execute(&mut conn).await.unwrap();
    }
    let backend = open(&path).await;
    backend.insert(&[job()]).await.unwrap();
    backend.close().await.unwrap();
    let strangers: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_schema WHERE name NOT LIKE 'windlass\\_%' ESCAPE '\\' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    assert_eq!(strangers, ["_sqlx_migrations", "jobs", "migrations"]);
    let kept: (i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM _sqlx_migrations), (SELECT count(*) FROM jobs WHERE state = 'of the host')",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    assert_eq!(kept, (1, 1));
    let version: i64 =
        sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut conn).await.unwrap();
    assert_eq!(version, 77, "the host's schema version is its own");
}

/// The file says what took: the journal mode is a property of the file.
#[tokio::test]
async fn f44_the_database_is_in_wal_mode() {
    let (_folder, path) = place();
    let backend = open(&path).await;
    let mode: String =
        sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut host(&path).await).await.unwrap();
    assert_eq!(mode, "wal");
    backend.close().await.unwrap();
}

/// A setting that SQLite does not take is an error, not a silent loss.
#[tokio::test]
async fn f44_a_journal_mode_that_does_not_take_is_an_error() {
    let (_folder, path) = place();
    let mut conn = host(&path).await;
    sqlx::query("CREATE TABLE host (x)").execute(&mut conn).await.unwrap();
    // A reader in a transaction keeps the journal mode from changing.
    sqlx::query("BEGIN").execute(&mut conn).await.unwrap();
    sqlx::query("SELECT * FROM host").fetch_all(&mut conn).await.unwrap();
    let options = SqliteOptions::new(&path).busy_timeout(std::time::Duration::from_millis(50));
    let error = SqliteBackend::open(options).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. } | Error::Config(_)), "{error:?}");
}

#[tokio::test]
async fn a_closed_backend_says_so() {
    let (_folder, path) = place();
    let backend = open(&path).await;
    backend.close().await.unwrap();
    backend.close().await.unwrap();
    for error in [
        backend.insert(&[job()]).await.unwrap_err(),
        backend.get(job().id).await.unwrap_err(),
        backend.maintain(9).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Closed("sqlite")), "{error:?}");
    }
}

#[tokio::test]
async fn everything_is_there_after_opening_again() {
    let (_folder, path) = place();
    let backend = open(&path).await;
    let jobs = [job(), job(), job()];
    backend.insert(&jobs).await.unwrap();
    let w = worker(&backend).await;
    let lease = claim(&backend, w, 1).await.remove(0);
    backend.settle(&[completed(&lease)]).await.unwrap();
    let before = [0, 1, 2].map(|n| jobs[n].id);
    let mut records = Vec::new();
    for id in before {
        records.push(backend.get(id).await.unwrap().unwrap());
    }
    backend.close().await.unwrap();
    let backend = open(&path).await;
    for record in records {
        assert_eq!(backend.get(record.id).await.unwrap().unwrap(), record);
    }
    assert_eq!(claim(&backend, w, 9).await.len(), 2);
}
