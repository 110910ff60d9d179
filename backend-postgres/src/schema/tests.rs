use sqlx::ConnectOptions as _;
use windlass_test_servers::{Postgres, PostgresServer};

use super::*;

/// A version to come, which fails when it is run twice.
const NEXT: &str = "ALTER TABLE windlass.queues ADD COLUMN made_up bigint NOT NULL DEFAULT 7;
    CREATE TABLE windlass.made_up (n bigint)";
const TWO: [&str; 2] = [VERSIONS[0], NEXT];

#[test]
fn a_server_that_is_too_old_is_refused() {
    let found = |server| Found { server, encoding: "UTF8".to_owned(), version: 0 };
    check_server(&found(140_000)).unwrap();
    let error = check_server(&found(130_014)).unwrap_err().to_string();
    assert!(error.contains("PostgreSQL 13") && error.contains("upgrade"), "{error}");
}

struct Place {
    server: &'static Postgres,
    database: String,
    options: PostgresOptions,
}

impl Place {
    async fn new() -> Self {
        let server = PostgresServer::shared().await.unwrap();
        let database = server.create_database().await.unwrap();
        let options = PostgresOptions::from_url(&server.url(&database)).unwrap();
        Self { server, database, options }
    }

    /// A library that knows these versions opens the database.
    async fn open(&self, migrate: bool, versions: &[&str]) -> Result<()> {
        let mut conn = self.options.connect.connect().await.unwrap();
        prepare_to(&mut conn, &self.options.clone().migrate(migrate), versions).await
    }

    async fn refused(&self, migrate: bool, versions: &[&str]) -> String {
        self.open(migrate, versions).await.unwrap_err().to_string()
    }

    async fn value(&self, sql: &str) -> String {
        self.server.value(&self.database, sql).await.unwrap().unwrap_or_default()
    }

    async fn versions(&self) -> String {
        let list =
            "SELECT string_agg(version::text, ' ' ORDER BY version) FROM windlass.migrations";
        self.value(list).await
    }

    async fn open_at_once(&self) {
        let all: Vec<_> = (0..8).map(|_| self.open(true, &TWO)).collect();
        for one in futures_util::future::join_all(all).await {
            one.unwrap();
        }
        assert_eq!(self.versions().await, "1 2");
    }
}

#[tokio::test]
async fn a_database_of_an_older_version_is_brought_up_to_date_once() {
    let place = Place::new().await;
    place.open(true, &VERSIONS).await.unwrap();
    let row = "INSERT INTO windlass.queues (name, paused) VALUES ('kept', true)";
    place.server.execute(&place.database, row).await.unwrap();
    let error = place.refused(false, &TWO).await;
    assert!(error.contains("`windlass` is of an older version"), "{error}");
    assert_eq!(place.versions().await, "1", "who may not migrate changes nothing");
    place.open_at_once().await;
    place.open(true, &TWO).await.unwrap();
    place.open(false, &TWO).await.unwrap();
    let kept = place.value("SELECT paused || ' ' || made_up FROM windlass.queues").await;
    assert_eq!(kept, "true 7");
    for migrate in [true, false] {
        let error = place.refused(migrate, &VERSIONS).await;
        assert!(error.contains("has version 2, this library knows versions up to 1"), "{error}");
    }
}

#[tokio::test]
async fn an_empty_database_gets_all_versions_once() {
    let place = Place::new().await;
    place.open_at_once().await;
}

#[tokio::test]
async fn the_script_brings_an_older_version_up_to_date_and_may_run_again() {
    let place = Place::new().await;
    for (versions, expected) in [(&VERSIONS[..], "1"), (&TWO, "1 2"), (&TWO, "1 2")] {
        let mut conn = place.options.connect.connect().await.unwrap();
        let script = safe(script_to("windlass", versions));
        sqlx::raw_sql(script).execute(&mut conn).await.unwrap();
        assert_eq!(place.versions().await, expected);
    }
    place.open(false, &TWO).await.unwrap();
}

#[tokio::test]
async fn a_step_that_fails_leaves_the_version_before_it() {
    let place = Place::new().await;
    place.open(true, &VERSIONS).await.unwrap();
    let broken = [VERSIONS[0], NEXT, "SELECT 1 / 0"];
    place.open(true, &broken).await.unwrap_err();
    assert_eq!(place.versions().await, "1");
    assert_eq!(place.value("SELECT to_regclass('windlass.made_up')").await, "");
    place.open(true, &TWO).await.unwrap();
}
