//! Every statement is prepared against a fresh schema, and its plan is looked at: no statement may walk through jobs,
//! finished jobs or the feed without an index, however little SQLite knows of the data (there are no statistics).
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{host, open, place};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _, SqlSafeStr as _};
use windlass_core::Backend as _;

/// The SQL files but for the schema, by name.
fn statements() -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/sql");
    let mut found: Vec<(String, String)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .filter(|(name, _)| !name.starts_with("schema_"))
        .collect();
    found.sort();
    assert!(found.len() > 40, "only {} statements found", found.len());
    found
}

#[tokio::test]
async fn every_statement_is_prepared_against_a_fresh_schema() {
    let (_folder, path) = place();
    open(&path).await.close().await.unwrap();
    let mut conn = host(&path).await;
    for (name, sql) in statements() {
        let prepared = conn.prepare(AssertSqlSafe(sql).into_sql_str()).await;
        assert!(prepared.is_ok(), "{name}: {}", prepared.unwrap_err());
    }
}

/// Listings walk in the order of ids and stop at the end of their page, see below; the tail is the last row.
const WALKS_BY_ID: [&str; 4] = ["change_filter", "list_newest", "list_oldest", "tail"];

#[tokio::test]
async fn f30_no_statement_walks_through_jobs_without_an_index() {
    let (_folder, path) = place();
    open(&path).await.close().await.unwrap();
    let mut conn = host(&path).await;
    let statistics: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE name = 'sqlite_stat1'")
            .fetch_one(&mut conn)
            .await
            .unwrap();
    assert_eq!(statistics, 0, "plans must be good without statistics");
    for (name, sql) in statements() {
        for statement in single(&sql) {
            let plan = plan(&mut conn, &statement).await;
            for line in &plan {
                let tables =
                    ["windlass_jobs", "windlass_finished", "windlass_events", "j", "f", "n"];
                let walks = tables.iter().any(|t| {
                    line.strip_prefix("SCAN ")
                        .is_some_and(|rest| rest == *t || rest.starts_with(&format!("{t} ")))
                });
                let by_index = line.contains("USING INDEX windlass_")
                    || line.contains("USING COVERING INDEX windlass_");
                let by_id = WALKS_BY_ID.contains(&name.as_str());
                assert!(!walks || by_index || by_id, "{name}: {}", plan.join("\n"));
            }
        }
    }
}

/// What the hot statements must use, whatever SQLite thinks of the data.
#[tokio::test]
async fn f31_the_hot_statements_use_their_indexes() {
    let (_folder, path) = place();
    open(&path).await.close().await.unwrap();
    let mut conn = host(&path).await;
    let ready = "INDEX windlass_jobs_ready (queue=? AND lane=? AND kind=?";
    for (name, parts) in [
        ("claim_heads", &[ready][..]),
        ("claim", &["SEARCH windlass_jobs USING PRIMARY KEY (id=?)"]),
        (
            "claim_pick",
            &[
                ready,
                "(queue=? AND lane=? AND kind=? AND rank=?)",
                "SEARCH windlass_jobs USING PRIMARY KEY (id=?)",
            ],
        ),
        ("claim_pick_kind", &[ready]),
        ("claim_pick_readable", &[ready, "SEARCH windlass_jobs USING PRIMARY KEY (id=?)"]),
        ("claim_args", &["SEARCH j USING PRIMARY KEY (id=?)"]),
        ("claim_resend", &["INDEX windlass_jobs_running (worker=?)"]),
        ("settle", &["SEARCH j USING PRIMARY KEY (id=?)"]),
        ("settle_already", &["SEARCH f USING PRIMARY KEY (id=?)"]),
        ("settle_complete", &["SEARCH j USING PRIMARY KEY (id=?)"]),
        ("settle_complete_delete", &["SEARCH windlass_jobs USING PRIMARY KEY (id=?)"]),
        ("apply_waiting", &["SEARCH j USING PRIMARY KEY (id=?)"]),
        ("apply_final", &["SEARCH j USING PRIMARY KEY (id=?)"]),
        (
            "jobs_delete",
            &["SEARCH j USING PRIMARY KEY (id=?)", "SEARCH windlass_jobs USING PRIMARY KEY (id=?)"],
        ),
        (
            "finished_delete",
            &[
                "SEARCH f USING PRIMARY KEY (id=?)",
                "SEARCH windlass_finished USING PRIMARY KEY (id=?)",
            ],
        ),
        ("notes", &["SEARCH j USING PRIMARY KEY (id=?)"]),
        ("maintain_due", &["INDEX windlass_jobs_due ((due_at,id)>(?,?) AND due_at<?)"]),
        ("maintain_lost", &["INDEX windlass_jobs_running (worker=?"]),
        ("maintain_overdue", &["INDEX windlass_jobs_running (worker=? AND deadline_at<?)"]),
        ("worker_owned", &["INDEX windlass_jobs_running (worker=?)"]),
        ("history", &["INDEX windlass_events_job (job=? AND seq>?)"]),
        ("prune_jobs", &["INDEX windlass_finished_age (state=? AND finished_at<?)"]),
        ("prune_events", &["INDEX windlass_events_batch (at<?)"]),
        (
            "list_newest",
            &[
                "SEARCH windlass_jobs USING PRIMARY KEY (id<?)",
                "SEARCH windlass_finished USING PRIMARY KEY (id<?)",
            ],
        ),
        (
            "list_oldest",
            &[
                "SEARCH windlass_jobs USING PRIMARY KEY (id>?)",
                "SEARCH windlass_finished USING PRIMARY KEY (id>?)",
            ],
        ),
        (
            "change_filter",
            &[
                "SEARCH windlass_jobs USING PRIMARY KEY (id>?)",
                "SEARCH windlass_finished USING PRIMARY KEY (id>?)",
            ],
        ),
    ] {
        let sql = &statements().into_iter().find(|(found, _)| found == name).unwrap().1;
        let mut lines = Vec::new();
        for statement in single(sql) {
            lines.extend(plan(&mut conn, &statement).await);
        }
        let plan = lines.join("\n");
        for part in parts {
            assert!(plan.contains(part), "{name} lacks {part}:\n{plan}");
        }
        let sorts = plan.contains("TEMP B-TREE FOR ORDER BY");
        let may_sort = [
            "maintain_lost",
            "maintain_overdue",
            "prune_jobs",
            "list_newest",
            "list_oldest",
            "change_filter",
        ]
        .contains(&name);
        assert!(!sorts || may_sort, "{name} sorts:\n{plan}");
    }
    conn.close().await.unwrap();
}

/// The single statements of a file.
fn single(sql: &str) -> Vec<String> {
    let code: Vec<&str> = sql.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    let parts = code.join("\n");
    let parts = parts.split(';').map(|part| part.trim().to_owned());
    parts.filter(|part| !part.is_empty() && !part.starts_with("BEGIN")).collect()
}

async fn plan(conn: &mut sqlx::SqliteConnection, sql: &str) -> Vec<String> {
    let explain = format!("EXPLAIN QUERY PLAN {sql}");
    let rows = sqlx::query(AssertSqlSafe(explain)).fetch_all(conn).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(3)).collect()
}
