//! What the tables themselves refuse: numbers that would overflow, arrays of another shape, states that are none. Else one job could let a statement for
//! many fail.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{Place, claim, job, worker};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use windlass_core::Store;

/// Types, what they take, and what they don't.
const DOMAINS: [(&str, &[&str], &[&str]); 6] = [
    ("natural", &["NULL", "0", "2147483647"], &["-1"]),
    ("counter", &["NULL", "0", "2000000000"], &["-1", "2000000001"]),
    ("epoch", &["NULL", "0", "4294967295"], &["-1", "4294967296"]),
    ("span", &["NULL", "0", "4611686018427387904"], &["-1", "4611686018427387905"]),
    ("moment", &["NULL", "0", "9223372036854775807"], &["-1"]),
    (
        "tags",
        &["NULL", "'{}'", "'{a}'", "'{a,b}'"],
        &["'{{a},{b}}'", "'[2:3]={a,b}'", "'[0:0]={a}'", "'{a,NULL}'", "'{NULL}'"],
    ),
];

/// Columns of jobs and of finished ones, and their types.
const COLUMNS: [(&str, &str); 12] = [
    ("due_at", "moment"),
    ("epoch", "epoch"),
    ("attempt", "counter"),
    ("max_attempts", "natural"),
    ("snoozes", "counter"),
    ("crashes", "counter"),
    ("started_at", "moment"),
    ("timeout", "span"),
    ("created_at", "moment"),
    ("notes", "counter"),
    ("changes", "counter"),
    ("tags", "tags"),
];

/// The SQLSTATE with which a statement fails.
async fn refusal(host: &mut PgConnection, sql: String) -> Option<String> {
    let error = sqlx::raw_sql(AssertSqlSafe(sql)).execute(host).await.err()?;
    Some(error.as_database_error().unwrap().code().unwrap().into_owned())
}

const REFUSED: Option<&str> = Some("23514");

#[tokio::test]
async fn each_type_refuses_what_is_out_of_its_bounds() {
    let place = Place::new().await;
    place.open().await;
    let mut host = place.host().await;
    for (domain, good, bad) in DOMAINS {
        for (value, expected) in
            good.iter().map(|value| (value, None)).chain(bad.iter().map(|value| (value, REFUSED)))
        {
            let sql = format!("SELECT ({value})::windlass.{domain}");
            assert_eq!(refusal(&mut host, sql.clone()).await.as_deref(), expected, "{sql}");
        }
    }
}

#[tokio::test]
async fn each_column_has_its_type() {
    let place = Place::new().await;
    place.open().await;
    for table in ["jobs", "finished"] {
        let own = (table == "finished").then_some(("finished_at", "moment"));
        for (column, domain) in COLUMNS.into_iter().chain(own) {
            let sql = format!(
                "SELECT domain_schema || '.' || domain_name FROM information_schema.columns
                    WHERE table_schema = 'windlass' AND table_name = '{table}' AND column_name = '{column}'"
            );
            assert_eq!(place.value(&sql).await, format!("windlass.{domain}"), "{table}.{column}");
        }
    }
}

#[tokio::test]
async fn a_job_has_a_state_that_fits() {
    let place = Place::new().await;
    let backend = place.open().await;
    let w = worker(&backend).await;
    backend.insert(&[job(), job()]).await.unwrap();
    assert_eq!(claim(&backend, w, 1).await.len(), 1);
    let mut host = PgConnection::connect(&place.url()).await.unwrap();
    for (set, state, expected) in [
        ("state = -1", 2, REFUSED),
        ("state = 5", 2, REFUSED),
        ("state = 3", 2, REFUSED),
        ("state = 3, worker = gen_random_uuid()", 2, REFUSED),
        ("state = 3, claim_id = gen_random_uuid()", 2, REFUSED),
        ("worker = NULL", 3, REFUSED),
        ("claim_id = NULL", 3, REFUSED),
        ("state = 0", 2, None),
        ("state = 4", 3, None),
    ] {
        let sql = format!("UPDATE windlass.jobs SET {set} WHERE state = {state}");
        assert_eq!(refusal(&mut host, sql.clone()).await.as_deref(), expected, "{sql}");
    }
    for (state, expected) in [(4, REFUSED), (8, REFUSED), (5, None), (7, None)] {
        let sql = format!(
            "INSERT INTO windlass.finished SELECT r.* FROM (SELECT (jsonb_populate_record(NULL::windlass.finished, to_jsonb(j)
                || '{{\"state\": {state}, \"finished_at\": 1}}' || jsonb_build_object('id', gen_random_uuid()))).* FROM windlass.jobs AS j LIMIT 1) AS r"
        );
        assert_eq!(refusal(&mut host, sql.clone()).await.as_deref(), expected, "{sql}");
    }
}
