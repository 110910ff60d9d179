//! Redis servers: what survives a kill, and how they are configured.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use windlass_test_servers::RedisServer;

#[tokio::test]
async fn what_was_answered_survives_a_kill() {
    let server = RedisServer::builder().setting("maxmemory", "50mb").start().await.unwrap();
    server.command(&["SET", "a", "1"]).await.unwrap();
    server.kill_9().await.unwrap();
    server.command(&["GET", "a"]).await.unwrap_err();
    server.start().await.unwrap();
    assert_eq!(server.command(&["GET", "a"]).await.unwrap(), "1");
    let told = server.command(&["CONFIG", "GET", "maxmemory"]).await.unwrap();
    assert!(told.ends_with(&(50 << 20).to_string()), "{told}");
    assert_eq!(server.info("aof_enabled").await.unwrap(), "1");
    assert!(!format!("{server:?}").contains(server.password()));
}

#[tokio::test]
async fn tls_and_users_are_there_when_asked_for() {
    let builder = RedisServer::builder().tls().user("app", "on >secret ~* &* +@all");
    let server = builder.start().await.unwrap();
    assert!(server.ca_certificate().unwrap().exists());
    assert!(server.base_url().starts_with("rediss://"));
    let users = server.command(&["ACL", "LIST"]).await.unwrap();
    assert!(users.contains("user app on"), "{users}");
}
