//! What opening says about the server, its settings and its users.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
#[path = "../../core/tests/worker_support/log.rs"]
#[allow(unreachable_pub, reason = "the tests of the core share it")]
mod log;

use redis::IntoConnectionInfo;
use windlass_core::{Backend, Error, Kind, NewJob, Payload, QueueName, Store};
use windlass_redis::{Durability, RedisBackend, RedisOptions};
use windlass_test_servers::RedisServer;

/// The error of opening, which is about the configuration and shows no password.
async fn refused(url: &str, password: &str) -> String {
    let error = RedisBackend::connect(url).await.unwrap_err();
    assert!(matches!(error, Error::Config(_)), "{error:?}");
    let told = format!("{error} {error:?}");
    assert!(!told.contains(password), "F52: {told}");
    told
}

#[tokio::test]
async fn f46_a_server_that_may_evict_jobs_is_refused() {
    let server =
        RedisServer::builder().setting("maxmemory-policy", "allkeys-lfu").start().await.unwrap();
    let told = refused(&server.url("a"), server.password()).await;
    assert!(told.contains("`maxmemory-policy allkeys-lfu`"), "{told}");
    let accepted = format!("{}&durability=none", server.url("a"));
    RedisBackend::connect(&accepted).await.unwrap().ping().await.unwrap();
}

#[tokio::test]
async fn what_the_host_demands_is_compared_with_the_settings() {
    let builder = RedisServer::builder();
    let server = builder.setting("appendfsync", "everysec").start().await.unwrap();
    let with = |durability| {
        let options = RedisOptions::from_url(&server.url("a")).unwrap();
        RedisBackend::open(options.durability(durability))
    };
    with(Durability::Seconds).await.unwrap();
    with(Durability::AsConfigured).await.unwrap();
    let error = with(Durability::Always).await.unwrap_err().to_string();
    assert!(error.contains("`appendfsync everysec`"), "{error}");
    server.command(&["CONFIG", "SET", "appendfsync", "always"]).await.unwrap();
    with(Durability::Always).await.unwrap();
    server.command(&["CONFIG", "SET", "no-appendfsync-on-rewrite", "yes"]).await.unwrap();
    let error = with(Durability::Always).await.unwrap_err().to_string();
    assert!(error.contains("`no-appendfsync-on-rewrite yes`"), "{error}");
    server.command(&["CONFIG", "SET", "appendonly", "no"]).await.unwrap();
    let error = with(Durability::Seconds).await.unwrap_err().to_string();
    assert!(error.contains("`appendonly no`"), "{error}");
}

/// What nobody demanded is logged once, with the setting, the namespace and the server.
#[tokio::test]
async fn less_than_could_be_is_warned_of_by_name() {
    let builder = RedisServer::builder();
    let server = builder.setting("appendfsync", "everysec").start().await.unwrap();
    let (log, _guard) = log::Log::capture();
    let (url, about) =
        (server.url("jobs"), format!("the namespace `jobs` on 127.0.0.1:{}", server.port()));
    RedisBackend::connect(&format!("{url}&durability=seconds")).await.unwrap();
    assert_eq!(log.count(&about), 0);
    RedisBackend::connect(&url).await.unwrap();
    assert_eq!((log.count(&about), log.count("`appendfsync everysec`")), (1, 1));
    assert_eq!(log.count(server.password()), 0, "F52");
}

#[tokio::test]
async fn f52_a_wrong_password_is_told_without_it() {
    let server = RedisServer::builder().start().await.unwrap();
    let wrong = server.url("a").replace(server.password(), "hunter2");
    let told = refused(&wrong, "hunter2").await;
    assert!(told.contains("does not let the user `default` in"), "{told}");
    let none = server.url("a").replace(&format!(":{}@", server.password()), "");
    let told = refused(&none, server.password()).await;
    assert!(told.contains("does not let the user"), "{told}");
}

/// The rights that the crate's page names are enough, and no less is.
#[tokio::test]
async fn a_user_with_the_rights_of_the_documentation_can_do_everything() {
    let rights = common::rights::rights("acl").join(" ");
    let builder = RedisServer::builder().user("app", &format!("on >secret {rights}"));
    let server = builder.user("poor", "on >secret ~other* +@all").start().await.unwrap();
    let url = |user: &str| {
        server.url("acl").replace(&format!(":{}@", server.password()), &format!("{user}:secret@"))
    };
    let backend = RedisBackend::connect(&url("app")).await.unwrap();
    let (kind, queue) = (Kind::new("k").unwrap(), QueueName::new("q").unwrap());
    let job = NewJob::new(kind, queue.clone(), Payload::json("args").unwrap());
    let hour = std::time::Duration::from_secs(3_600);
    let waiting = tokio::spawn({
        let (backend, queue) = (backend.clone(), queue.clone());
        async move { windlass_core::Queue::wait(&backend, &[queue], hour).await }
    });
    // The hint of an insert may come before the channel is heard.
    while !waiting.is_finished() {
        let new = NewJob::new(job.kind.clone(), queue.clone(), job.args.clone());
        backend.insert(&[new]).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(waiting.await.unwrap().unwrap(), windlass_core::Wake::Hint);
    let told = refused(&url("poor"), "secret").await;
    assert!(told.contains("the user `poor` lacks a right"), "{told}");
}

#[tokio::test]
async fn a_namespace_of_another_layout_or_type_is_refused() {
    let server = RedisServer::builder().start().await.unwrap();
    server.command(&["HSET", "{newer}", "layout", "99"]).await.unwrap();
    server.command(&["SET", "{other}", "something else"]).await.unwrap();
    let told = refused(&server.url("newer"), server.password()).await;
    assert!(told.contains("a layout that this version"), "{told}");
    let told = refused(&server.url("other"), server.password()).await;
    assert!(told.contains("the key of the namespace `other` holds something else"), "{told}");
}

#[tokio::test]
async fn a_server_that_is_away_is_a_transient_error() {
    let server = RedisServer::builder().start().await.unwrap();
    server.kill_9().await.unwrap();
    let error = RedisBackend::connect(&server.url("a")).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert!(!format!("{error:?}").contains(server.password()), "F52");
}

/// Whatever the host's options ask of the driver, answers come in the form that the library reads.
#[tokio::test]
async fn the_version_of_the_protocol_is_the_librarys_to_choose() {
    let server = RedisServer::builder().start().await.unwrap();
    let info = server.base_url().into_connection_info().unwrap();
    let settings = info.redis_settings().clone().set_protocol(redis::ProtocolVersion::RESP3);
    let options = RedisOptions::new(info.set_redis_settings(settings));
    let backend = RedisBackend::open(options.durability(Durability::Always)).await.unwrap();
    let queue = QueueName::new("q").unwrap();
    let paused = windlass_core::QueueChange::default().paused(true);
    backend.configure_queue(&queue, &paused).await.unwrap();
    assert_eq!(backend.queue_settings(&[]).await.unwrap().len(), 1);
}
