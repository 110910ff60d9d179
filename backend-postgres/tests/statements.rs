//! Every statement is prepared against a fresh schema, and every file is one that the library uses.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::{Place, statement};
use sqlx::{AssertSqlSafe, Executor as _, SqlSafeStr as _};

/// Those that make the schema run before there is one.
fn makes_the_schema(name: &str) -> bool {
    name.starts_with("schema_") || name == "migrations"
}

fn source() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))
}

/// The names of the SQL files.
fn files() -> Vec<String> {
    let name = |file: std::fs::DirEntry| {
        let path = file.path();
        assert!(path.extension().is_some_and(|e| e == "sql"), "{} is no SQL", path.display());
        path.file_stem().unwrap().to_str().unwrap().to_owned()
    };
    let mut found: Vec<String> =
        std::fs::read_dir(source().join("sql")).unwrap().map(|file| name(file.unwrap())).collect();
    found.sort();
    assert!(found.len() > 60, "only {} files found", found.len());
    found
}

#[tokio::test]
async fn every_statement_is_prepared_against_a_fresh_schema() {
    let place = Place::new().await;
    place.open().await;
    let mut host = place.host().await;
    for name in files().iter().filter(|name| !makes_the_schema(name)) {
        let prepared = host.prepare(AssertSqlSafe(statement(name)).into_sql_str()).await;
        assert!(prepared.is_ok(), "{name}: {}", prepared.unwrap_err());
    }
}

/// All of the library's source but its tests.
fn code(folder: &Path) -> String {
    let mut text = String::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() {
            text.push_str(&code(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            let source = std::fs::read_to_string(&path).unwrap();
            text.push_str(source.split("#[cfg(test)]\nmod tests").next().unwrap());
        }
    }
    text
}

#[test]
fn every_file_is_used() {
    let code = code(source());
    let words: std::collections::BTreeSet<&str> =
        code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.').collect();
    for name in files() {
        let listed = words.iter().any(|word| word.ends_with(&format!("sql.{name}")));
        let included = code.contains(&format!("sql/{name}.sql\""));
        assert!(listed || included, "{name}.sql is used nowhere");
    }
}
