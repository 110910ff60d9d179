//! The schema: made once, by whoever comes first, and never by somebody who finds it made.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::process::{Command, Output, Stdio};

use common::{Place, job};
use windlass_core::{Error, Queue, Store};
use windlass_postgres::{PostgresBackend, PostgresOptions, Role};

async fn refused(options: PostgresOptions) -> String {
    let error = PostgresBackend::open(options).await.unwrap_err();
    assert!(matches!(error, Error::Config(_)), "{error:?}");
    error.to_string()
}

async fn many_at_once(place: &Place) {
    let all = (0..8).map(|_| {
        let options = place.options();
        tokio::spawn(async move {
            let backend = PostgresBackend::open(options).await.unwrap();
            backend.insert(&[job()]).await.unwrap()
        })
    });
    for one in all.collect::<Vec<_>>() {
        one.await.unwrap();
    }
    assert_eq!(place.value("SELECT count(*) FROM windlass.migrations").await, "1");
}

#[tokio::test]
async fn many_that_open_at_once_make_the_schema_once() {
    many_at_once(&Place::new().await).await;
}

/// At a stricter isolation a transaction would not see what was done while it waited for the lock.
#[tokio::test]
async fn the_databases_default_isolation_makes_no_difference() {
    let place = Place::new().await;
    let set = "SET default_transaction_isolation = 'serializable'";
    place.execute(&format!("ALTER DATABASE {} {set}", place.database)).await;
    many_at_once(&place).await;
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let place = Place::new().await;
    place.open().await;
    place.execute("INSERT INTO windlass.migrations (version) VALUES (9999)").await;
    for options in [place.options(), place.options().migrate(false)] {
        let error = refused(options).await;
        assert!(error.contains("has version 9999") && error.contains("upgrade"), "{error}");
    }
}

#[tokio::test]
async fn a_missing_schema_is_said_to_be_missing() {
    let place = Place::new().await;
    let error = refused(place.options().migrate(false)).await;
    assert!(error.contains("`windlass` is missing") && error.contains("migrations_sql"), "{error}");
    assert_eq!(place.value("SELECT to_regnamespace('windlass')").await, "");
}

#[tokio::test]
async fn schemas_of_several_names_live_side_by_side() {
    let place = Place::new().await;
    for name in ["one", "two"] {
        let options = place.options().schema(name).unwrap();
        let backend = PostgresBackend::open(options).await.unwrap();
        backend.insert(&[job()]).await.unwrap();
        assert_eq!(place.value(&format!("SELECT count(*) FROM {name}.jobs")).await, "1");
    }
}

#[tokio::test]
async fn nothing_is_created_by_a_role_that_finds_all_in_place() {
    let place = Place::new().await;
    let role = place.role().await;
    place.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC").await;
    let error = refused(place.options_as(&role)).await;
    assert!(error.contains("lacks a privilege"), "{error}");
    place.open().await;
    place.execute(&PostgresBackend::grants_sql("windlass", Role::Worker, &role).unwrap()).await;
    let backend = PostgresBackend::open(place.options_as(&role)).await.unwrap();
    backend.insert(&[job()]).await.unwrap();
}

/// Who may not create schemas can be given one.
#[tokio::test]
async fn a_schema_that_was_made_for_the_role_is_filled() {
    let place = Place::new().await;
    let role = place.role().await;
    place.execute(&format!("CREATE SCHEMA jobs AUTHORIZATION \"{role}\"")).await;
    let options = place.options_as(&role).schema("jobs").unwrap();
    PostgresBackend::open(options).await.unwrap().insert(&[job()]).await.unwrap();
}

/// Runs the host's own migrations as sqlx does.
async fn migrate(conn: &mut sqlx::PgConnection, scripts: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    for (n, script) in (1..).zip(scripts) {
        std::fs::write(folder.path().join(format!("{n}_step.sql")), script).unwrap();
    }
    sqlx::migrate::Migrator::new(folder.path()).await.unwrap().run(conn).await.unwrap();
}

/// The host migrates by sqlx before and after the library does, with the library's schema on its path as well, so that its tables stand beside or
/// in front of the library's.
#[tokio::test]
async fn f42_the_hosts_sqlx_migrations_live_in_the_same_database() {
    let scripts = [
        "CREATE TYPE state AS ENUM ('blocked', 'running'); CREATE TABLE jobs (id integer, state state); INSERT INTO jobs VALUES (1, 'running')",
        "CREATE TABLE workers (id integer); CREATE TABLE notes (text text); CREATE VIEW records AS SELECT 1 AS one",
    ];
    for path in ["public", "public,windlass", "windlass,public"] {
        let place = Place::new().await;
        let set = format!("ALTER DATABASE {} SET search_path = {path}", place.database);
        place.execute(&set).await;
        // Where the library's schema is first and there, the host's `jobs` would be the library's: it comes before.
        migrate(&mut place.host().await, &scripts[..1]).await;
        let backend = place.open().await;
        let id = common::worker(&backend).await;
        backend.insert(&[job()]).await.unwrap();
        let mut host = place.host().await;
        if path != "windlass,public" {
            migrate(&mut host, &scripts).await;
            migrate(&mut host, &scripts).await;
        } else {
            // Its list of migrations, and what it makes from here on, stand in the library's schema.
            let more = ["CREATE TABLE notes (text text); CREATE TYPE state AS ENUM ('mine')"];
            migrate(&mut host, &more).await;
            assert_eq!(place.value("SELECT count(*) FROM windlass._sqlx_migrations").await, "1");
        }
        let again = place.open().await;
        let lease = common::claim(&again, id, 9).await.remove(0);
        again.settle(&[common::completed(&lease)]).await.unwrap();
        assert_eq!(place.value("SELECT count(*) FROM public.jobs").await, "1", "{path}");
        assert_eq!(place.value("SELECT count(*) FROM windlass.finished").await, "1", "{path}");
        assert_eq!(place.value("SELECT count(*) FROM windlass.migrations").await, "1", "{path}");
    }
}

/// The host's own tables and migrations, under the usual names, live beside the library's.
#[tokio::test]
async fn f42_the_hosts_migrations_and_ours_do_not_collide() {
    let place = Place::new().await;
    place
        .execute(
            "CREATE TABLE _sqlx_migrations (version bigint); CREATE TABLE migrations (id integer); CREATE TABLE jobs (id integer);
             CREATE FUNCTION now() RETURNS integer LANGUAGE sql RETURN 1",
        )
        .await;
    let backend = place.open().await;
    backend.insert(&[job()]).await.unwrap();
    assert_eq!(place.value("SELECT count(*) FROM public.jobs").await, "0");
    assert_eq!(place.value("SELECT count(*) FROM windlass.jobs").await, "1");
}

fn psql(place: &Place, script: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("windlass.sql");
    std::fs::write(&path, script).unwrap();
    let mut command = Command::new("psql");
    command.args(["--no-psqlrc", "--set=ON_ERROR_STOP=1", "--file"]).arg(path).arg(place.url());
    command.stdin(Stdio::null()).output().expect("psql of Debian's package postgresql-client")
}

#[tokio::test]
async fn the_script_makes_what_opening_makes_and_may_run_again() {
    let place = Place::new().await;
    let script = PostgresBackend::migrations_sql("jobs").unwrap();
    for _ in 0..2 {
        let output = psql(&place, &script);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(place.value("SELECT count(*) FROM jobs.migrations").await, "1");
    let options = place.options().schema("jobs").unwrap().migrate(false);
    PostgresBackend::open(options).await.unwrap().insert(&[job()]).await.unwrap();
    let role = place.role().await;
    let grants = PostgresBackend::grants_sql("jobs", Role::Operator, &role).unwrap();
    let output = psql(&place, &grants);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn names_that_can_not_be_are_refused() {
    for schema in ["", "Jobs", "a b", "a\"b", "pg_jobs", "x; DROP TABLE y"] {
        assert!(matches!(PostgresBackend::migrations_sql(schema), Err(Error::Config(_))));
        let grants = PostgresBackend::grants_sql(schema, Role::Reader, "reader");
        assert!(matches!(grants, Err(Error::Config(_))));
    }
    for role in ["", "a\nb", &"x".repeat(64)] {
        let grants = PostgresBackend::grants_sql("jobs", Role::Reader, role);
        assert!(matches!(grants, Err(Error::Config(_))));
    }
    let grants = PostgresBackend::grants_sql("jobs", Role::Reader, "a\"b; {s}").unwrap();
    assert!(grants.contains(" TO \"a\"\"b; {s}\";"), "{grants}");
}
