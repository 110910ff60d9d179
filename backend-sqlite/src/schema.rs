//! The library's own schema and its versions, in a table of its own so that the host's migrations never collide.

use sqlx::SqliteConnection;
use windlass_core::Result;

use crate::open::explain;
use crate::options::{SqliteOptions, config};

/// The versions, oldest first. A published one is never edited; a change is a new one.
const VERSIONS: [&str; 1] = [include_str!("sql/schema_1.sql")];

/// Brings the schema up to date, in one transaction.
pub(crate) async fn migrate(conn: &mut SqliteConnection, options: &SqliteOptions) -> Result<()> {
    let result = run(conn, options).await;
    if result.is_err() {
        // The first error is the one to tell.
        let _ = sqlx::raw_sql("ROLLBACK").execute(conn).await;
    }
    result
}

async fn run(conn: &mut SqliteConnection, options: &SqliteOptions) -> Result<()> {
    let failed = |e| explain(&options.path, e);
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut *conn).await.map_err(failed)?;
    sqlx::raw_sql(include_str!("sql/migrations.sql")).execute(&mut *conn).await.map_err(failed)?;
    let found: i64 =
        sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM windlass_migrations")
            .fetch_one(&mut *conn)
            .await
            .map_err(failed)?;
    let known = i64::try_from(VERSIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(config(format!(
            "the schema in `{}` has version {found}, this library knows versions up to {known}: \
             upgrade this application, or name another file",
            options.path.display()
        )));
    }
    for (version, sql) in (1_i64..).zip(VERSIONS).skip_while(|(version, _)| *version <= found) {
        sqlx::raw_sql(sql).execute(&mut *conn).await.map_err(failed)?;
        sqlx::query("INSERT INTO windlass_migrations (version) VALUES (?1)")
            .bind(version)
            .execute(&mut *conn)
            .await
            .map_err(failed)?;
    }
    sqlx::raw_sql("COMMIT").execute(conn).await.map_err(failed)?;
    Ok(())
}
