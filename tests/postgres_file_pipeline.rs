//! The file pipeline on Postgres: the example program with `--database postgres://…` and nothing else changed.
#![allow(clippy::unwrap_used)]

mod pipeline_cases;

use windlass_test_servers::PostgresServer;

#[tokio::test]
async fn killed_in_mid_run_and_started_again_it_finishes_the_rest_and_doubles_nothing() {
    let server = PostgresServer::shared().await.unwrap();
    let database = server.create_database().await.unwrap();
    let (url, password) = (server.url(&database), server.password().to_owned());
    tokio::task::spawn_blocking(move || pipeline_cases::killed_twice_it_finishes(&url, &password))
        .await
        .unwrap();
    let jobs = "SELECT count(*) FROM windlass.finished WHERE state = 5";
    assert_eq!(server.value(&database, jobs).await.unwrap().as_deref(), Some("150"));
}
