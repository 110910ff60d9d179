//! Users with rights (ACL): one that is missing is named. That those in the README are enough is shown by the suite in `topologies.rs`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::job;
use common::rights::rights;
use tokio::sync::OnceCell;
use windlass_core::{Error, Store};
use windlass_redis::{RedisBackend, RedisOptions};
use windlass_test_servers::RedisServer;

fn as_user(server: &RedisServer, name: &str, namespace: &str) -> RedisOptions {
    let at = server.base_url().rsplit('@').next().unwrap().to_owned();
    let url = format!("redis://{name}:secret-word@{at}?namespace={namespace}");
    RedisOptions::from_url(&url).unwrap()
}

async fn server() -> &'static RedisServer {
    static SHARED: OnceCell<RedisServer> = OnceCell::const_new();
    SHARED.get_or_init(async || RedisServer::builder().start().await.unwrap()).await
}

/// A user who may do no more than that.
async fn user(rights: &[String]) -> String {
    let name = format!("user-{}", windlass_core::JobId::new());
    let mut command = vec!["ACL", "SETUSER", &name, "on", ">secret-word", "resetkeys"];
    command.extend(rights.iter().map(String::as_str));
    server().await.command(&command).await.unwrap();
    name
}

/// What an error and its causes say.
fn said(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    assert!(!text.contains("secret-word"), "{text}");
    text
}

#[tokio::test]
async fn a_right_that_is_missing_is_named() {
    let server = server().await;
    let namespace = format!("case-{}", windlass_core::JobId::new());
    let all = rights(&namespace);
    // Needed to open.
    for missing in ["+info", "+hsetnx", "+hget"] {
        let name = user(&all).await;
        let without = missing.replace('+', "-");
        server.command(&["ACL", "SETUSER", &name, &without]).await.unwrap();
        let error = RedisBackend::open(as_user(server, &name, &namespace)).await.unwrap_err();
        assert!(matches!(error, Error::Config(_)), "{error:?}");
        let text = said(&error);
        assert!(text.contains(&missing[1..]) && text.contains(&name), "{text}");
    }
    // Needed later, on the way into a script and inside of one.
    for missing in ["evalsha", "zadd", "time"] {
        let name = user(&all).await;
        let backend = RedisBackend::open(as_user(server, &name, &namespace)).await.unwrap();
        server.command(&["ACL", "SETUSER", &name, &format!("-{missing}")]).await.unwrap();
        let error = backend.insert(&[job()]).await.unwrap_err();
        let text = said(&error);
        assert!(!error.is_transient(), "{text}");
        assert!(text.contains("lacks a right"), "{text}");
        if missing == "evalsha" {
            assert!(text.contains(missing), "{text}");
        } else {
            // What a script may not do is known to the server alone.
            let log = server.command(&["ACL", "LOG", "100"]).await.unwrap();
            assert!(log.contains(&format!("\n{missing}\n")) && log.contains(&name), "{log}");
        }
    }
    // Keys of others.
    let name = user(&all).await;
    let error = RedisBackend::open(as_user(server, &name, "others")).await.unwrap_err();
    assert!(said(&error).contains("lacks a right"), "{error}");
}

#[tokio::test]
async fn a_user_who_is_unknown_is_told_so() {
    let error = RedisBackend::open(as_user(server().await, "nobody", "jobs")).await.unwrap_err();
    assert!(said(&error).contains("does not let the user `nobody` in"), "{error}");
}
