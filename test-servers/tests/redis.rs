//! Redis servers: what survives a kill, and how they are configured.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use windlass_test_servers::{PATIENT, QUICK, RedisCluster, RedisSentinels, RedisServer};

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

#[tokio::test]
async fn a_replica_follows_and_a_paused_one_does_not() {
    let primary = RedisServer::builder().start().await.unwrap();
    let replica = RedisServer::builder().replica_of(&primary).start().await.unwrap();
    replica.until_info("master_link_status", "up").await.unwrap();
    primary.command(&["SET", "a", "1"]).await.unwrap();
    assert_eq!(primary.command(&["WAIT", "1", "10000"]).await.unwrap(), "1");
    replica.pause().await.unwrap();
    primary.command(&["SET", "a", "2"]).await.unwrap();
    assert_eq!(primary.command(&["WAIT", "1", "100"]).await.unwrap(), "0");
    replica.resume().await.unwrap();
    assert_eq!(primary.command(&["WAIT", "1", "10000"]).await.unwrap(), "1");
    assert_eq!(replica.command(&["GET", "a"]).await.unwrap(), "2");
}

#[tokio::test]
async fn sentinels_promote_the_replica_of_a_killed_primary() {
    let all = RedisSentinels::start(RedisServer::builder(), 1, QUICK).await.unwrap();
    let [primary, replica] = all.servers() else { panic!("{all:?}") };
    assert_eq!(all.primary().await.unwrap(), primary.port());
    primary.kill_9().await.unwrap();
    replica.until_info("role", "master").await.unwrap();
    primary.start().await.unwrap();
    primary.until_info("role", "slave").await.unwrap();
}

#[tokio::test]
async fn a_cluster_shares_the_slots() {
    let cluster = RedisCluster::start(RedisServer::builder(), 0, PATIENT).await.unwrap();
    assert_eq!(cluster.nodes().len(), 3);
    let owner = cluster.owner("jobs").await.unwrap();
    assert_eq!(owner.command(&["SET", "{jobs}", "1"]).await.unwrap(), "OK");
    let other = cluster.nodes().iter().find(|node| node.port() != owner.port()).unwrap();
    assert!(other.command(&["SET", "{jobs}", "1"]).await.is_err());
}
