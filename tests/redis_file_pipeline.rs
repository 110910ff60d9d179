//! The file pipeline on Redis: the example program with `--database redis://…` and nothing else changed.
#![allow(clippy::unwrap_used)]

mod pipeline_cases;

use windlass::State;
use windlass_test_servers::RedisServer;

#[tokio::test]
async fn killed_in_mid_run_and_started_again_it_finishes_the_rest_and_doubles_nothing() {
    let server = RedisServer::shared().await.unwrap();
    let url = server.url(&format!("pipeline-{}", windlass::JobId::new()));
    let (here, password) = (url.clone(), server.password());
    tokio::task::spawn_blocking(move || pipeline_cases::killed_twice_it_finishes(&here, password))
        .await
        .unwrap();
    let client = windlass::connect(&url).await.unwrap();
    assert_eq!(client.stats().await.unwrap().in_state(State::Completed), 150);
}
