//! The library's own schema and its versions, in a table of its own so that the host's migrations never collide.

use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Row as _};
use windlass_core::Result;

use crate::backend::explain::explain;
use crate::options::{PostgresOptions, config};
use crate::sql::{class, query, render, safe};

/// The versions, oldest first. A published one is never edited; a change is a new one.
const VERSIONS: [&str; 1] = [concat!(
    include_str!("sql/schema_1.sql"),
    include_str!("sql/schema_1_blobs.sql"),
    include_str!("sql/schema_1_outbox.sql"),
    include_str!("sql/schema_1_producers.sql"),
)];
/// The oldest server whose SQL the schema is written in.
const OLDEST_SERVER: i32 = 140_000;
/// The high half of the key of the lock under which the schema is changed.
const MIGRATION: i64 = 0x7769_6e64;

/// What is there.
struct Found {
    server: i32,
    encoding: String,
    /// 0 when there is no schema yet.
    version: i32,
}

/// Brings the schema up to date, or checks that it is. Changes nothing, and needs no privilege to, when it is.
pub(crate) async fn prepare(conn: &mut PgConnection, options: &PostgresOptions) -> Result<()> {
    prepare_to(conn, options, &VERSIONS).await
}

/// [`prepare`] by a library that knows these versions.
async fn prepare_to(
    conn: &mut PgConnection,
    options: &PostgresOptions,
    versions: &[&str],
) -> Result<()> {
    let schema = &options.schema;
    let found = look(conn, options).await?;
    check_server(&found)?;
    if check(schema, found.version, versions)? {
        return Ok(());
    }
    if !options.migrate {
        return Err(config(format!(
            "the schema `{schema}` is {}: let a role that may create it open the backend once, or run what \
             `PostgresBackend::migrations_sql` gives",
            if found.version == 0 { "missing" } else { "of an older version" }
        )));
    }
    let script = safe(script_to(schema, versions));
    sqlx::raw_sql(script).execute(&mut *conn).await.map_err(|error| explain(options, error))?;
    // Another process, of a newer version, may have been first.
    let found = look(conn, options).await?;
    match check(schema, found.version, versions)? {
        true => Ok(()),
        false => Err(config(format!("the schema `{schema}` could not be brought up to date"))),
    }
}

/// In a transaction, since behind a pooler only that keeps to one connection.
async fn look(conn: &mut PgConnection, options: &PostgresOptions) -> Result<Found> {
    let failed = |error| explain(options, error);
    let mut transaction = conn.begin().await.map_err(failed)?;
    let table = format!("\"{}\".migrations", options.schema);
    let row = sqlx::query(
        "SELECT current_setting('server_version_num')::integer, current_setting('server_encoding'), to_regclass($1) IS NOT NULL",
    )
    .persistent(false)
    .bind(table)
    .fetch_one(&mut *transaction)
    .await
    .map_err(failed)?;
    let (server, encoding) = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
    let mut version = 0;
    if row.try_get(2).map_err(failed)? {
        let statement = safe(render(include_str!("sql/migrated_version.sql"), &options.schema));
        let row = query(&statement).persistent(false).fetch_one(&mut *transaction).await;
        version = row.and_then(|row| row.try_get(0)).map_err(failed)?;
    }
    transaction.rollback().await.map_err(failed)?;
    Ok(Found { server, encoding, version })
}

fn check_server(found: &Found) -> Result<()> {
    if found.server < OLDEST_SERVER {
        return Err(config(format!(
            "the server is PostgreSQL {}, and 14 is the oldest that can be used: upgrade it",
            found.server / 10_000
        )));
    }
    if found.encoding != "UTF8" {
        return Err(config(format!(
            "the database's encoding is {}, which can't hold every text: create one with `ENCODING 'UTF8'`",
            found.encoding
        )));
    }
    Ok(())
}

/// Whether the schema is up to date.
fn check(schema: &str, found: i32, versions: &[&str]) -> Result<bool> {
    let known = i32::try_from(versions.len()).unwrap_or(i32::MAX);
    if found > known {
        return Err(config(format!(
            "the schema `{schema}` has version {found}, this library knows versions up to {known}: \
             upgrade this application, or name another schema"
        )));
    }
    Ok(found == known)
}

/// Everything that makes the schema or brings it up to date, as one script. Running it again does no harm, nor does running it in several
/// sessions at once.
pub(crate) fn script(schema: &str) -> String {
    script_to(schema, &VERSIONS)
}

/// [`script`] of a library that knows these versions.
fn script_to(schema: &str, versions: &[&str]) -> String {
    let table = render(include_str!("sql/migrations.sql"), schema).replace("$schema$", schema);
    // The lock comes first: even `CREATE SCHEMA IF NOT EXISTS` fails when two sessions run it at once. And only at this isolation does what follows see
    // what others did while it was waited for.
    let key = MIGRATION << 32 | i64::from(class(schema));
    let mut script = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED;\nSELECT pg_advisory_xact_lock({key});\n{table}"
    );
    for (version, sql) in (1..).zip(versions) {
        let sql = render(sql, schema);
        let block = format!(
            "DO $outer$ BEGIN\nIF NOT EXISTS (SELECT FROM \"{schema}\".migrations WHERE version = {version}) THEN\n\
             EXECUTE $version${sql}$version$;\n\
             INSERT INTO \"{schema}\".migrations (version) VALUES ({version});\n\
             END IF;\nEND $outer$;\n"
        );
        script.push_str(&block);
    }
    script.push_str("COMMIT;\n");
    script
}

#[cfg(test)]
mod tests;
