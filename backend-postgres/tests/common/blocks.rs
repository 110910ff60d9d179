//! What statements read, counted in blocks by the server itself.

use std::collections::BTreeMap;

use sqlx::{Connection, PgConnection, Row};
use windlass_postgres::{PostgresBackend, PostgresOptions};
use windlass_test_servers::{PostgresBuilder, PostgresServer};

/// A server that counts, and on which nothing is cleaned up meanwhile.
pub(crate) async fn server() -> PostgresServer {
    builder().start().await.unwrap()
}

fn builder() -> PostgresBuilder {
    PostgresServer::builder()
        .setting("shared_preload_libraries", "pg_stat_statements")
        .setting("autovacuum", "off")
        .setting("fsync", "off")
        .setting("max_wal_size", "4GB")
}

/// [`server`] that writes the plan of each statement that runs, those within functions too, to its log, under the name of the application.
pub(crate) async fn explaining_server() -> PostgresServer {
    builder()
        .setting("shared_preload_libraries", "pg_stat_statements,auto_explain")
        .setting("auto_explain.log_min_duration", "0")
        .setting("auto_explain.log_nested_statements", "on")
        .setting("log_line_prefix", "%a: ")
        .start()
        .await
        .unwrap()
}

/// The application that the backend is.
pub(crate) const LIBRARY: &str = "library";

/// The lines of the plans that the library's statements had.
pub(crate) fn plans(server: &PostgresServer) -> Vec<String> {
    let (mut plans, mut of_library) = (Vec::new(), false);
    for line in server.log().unwrap().lines() {
        match line.strip_prefix('\t') {
            Some(plan) if of_library => plans.push(plan.trim_start().to_owned()),
            Some(_) => {}
            None => of_library = line.starts_with(&format!("{LIBRARY}: LOG:  duration:")),
        }
    }
    plans
}

/// What a statement may read of the catalogue when it, or a function that it calls, is the first on its connection: 650 blocks were seen. Which calls those
/// are is up to the pool.
pub(crate) const COLD: i64 = 1_000;

/// The most blocks that a statement of a call read, by call and statement.
pub(crate) type Seen = BTreeMap<(String, String), i64>;

/// A database of its own, with a connection that counts.
pub(crate) struct Counted {
    pub(crate) backend: PostgresBackend,
    pub(crate) admin: PgConnection,
    pub(crate) url: String,
    /// What [`at_most`](Self::at_most) has counted.
    pub(crate) seen: Seen,
}

impl Counted {
    pub(crate) async fn open(server: &PostgresServer) -> Self {
        Self::open_with(server, |options| options).await
    }

    pub(crate) async fn open_with(
        server: &PostgresServer,
        change: impl FnOnce(PostgresOptions) -> PostgresOptions,
    ) -> Self {
        let url = server.url(&server.create_database().await.unwrap());
        let named = format!("{url}?application_name={LIBRARY}");
        let options = change(PostgresOptions::from_url(&named).unwrap());
        let backend = PostgresBackend::open(options).await.unwrap();
        let mut admin = PgConnection::connect(&url).await.unwrap();
        run(&mut admin, "CREATE EXTENSION pg_stat_statements").await;
        Self { backend, admin, url, seen: Seen::new() }
    }

    /// A connection that holds a snapshot of this moment.
    pub(crate) async fn pin(&self) -> PgConnection {
        let mut pin = PgConnection::connect(&self.url).await.unwrap();
        run(&mut pin, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").await;
        pin
    }

    /// Blocks read since the reset, by statement.
    async fn blocks(&mut self) -> BTreeMap<String, i64> {
        let query = "SELECT left(query, 90), (shared_blks_hit + shared_blks_read)::bigint FROM pg_stat_statements
            WHERE query LIKE '%\"windlass\"%' AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())";
        let rows = sqlx::query(query).fetch_all(&mut self.admin).await.unwrap();
        rows.iter().map(|row| (row.get::<String, _>(0), row.get(1))).collect()
    }

    /// What the library's statements read while a call runs.
    pub(crate) async fn count<T>(
        &mut self,
        call: impl Future<Output = T>,
    ) -> (T, BTreeMap<String, i64>) {
        run(&mut self.admin, "SELECT pg_stat_statements_reset()").await;
        let answer = call.await;
        (answer, self.blocks().await)
    }

    /// Runs a call and fails if one of its statements reads more blocks than allowed, and what a first call reads.
    pub(crate) async fn at_most<T>(
        &mut self,
        what: &str,
        allowed: i64,
        call: impl Future<Output = T>,
    ) -> T {
        let (answer, blocks) = self.count(call).await;
        for (statement, blocks) in blocks {
            println!("{what:<24} {blocks:>7} blocks  {}", statement.lines().next().unwrap());
            assert!(
                blocks <= allowed + COLD,
                "{what} reads {blocks} blocks, more than {allowed} and {COLD}: {statement}"
            );
            let most = self.seen.entry((what.to_owned(), statement)).or_default();
            *most = blocks.max(*most);
        }
        answer
    }
}

pub(crate) async fn run(conn: &mut PgConnection, sql: &'static str) {
    sqlx::raw_sql(sql).execute(conn).await.unwrap();
}

/// Waits until the time of all jobs has come that are to run within a minute.
pub(crate) async fn until_due(url: &str) {
    let pool = sqlx::PgPool::connect(url).await.unwrap();
    let query = "SELECT count(*) FROM windlass.jobs AS j, (SELECT windlass.now() AS now) AS c
        WHERE j.state = 1 AND j.due_at > c.now AND j.due_at < c.now + 60000000";
    super::until(async || {
        let left: i64 = sqlx::query_scalar(query).fetch_one(&pool).await.unwrap();
        left == 0
    })
    .await;
}
