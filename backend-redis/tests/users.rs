//! Users with rights (ACL): those that the README lists are enough, and one that is missing is named.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{completion, job, queue, request};
use tokio::sync::OnceCell;
use windlass_core::conformance::{Harness, StorageHarness};
use windlass_core::{Backend, Error, Limits, Queue, Storage, Store, WorkerInfo};
use windlass_redis::{RedisBackend, RedisOptions};
use windlass_test_servers::RedisServer;

/// The rights in the README, for a namespace.
fn rights(namespace: &str) -> Vec<String> {
    let readme = include_str!("../README.md");
    let (_, section) = readme.split_once("## What the user of an ACL needs").unwrap();
    let block = section.split("```").nth(1).unwrap().trim_start_matches("text");
    let line = block.replace("NAMESPACE", namespace);
    line.split_whitespace().map(str::to_owned).collect()
}

fn as_user(server: &RedisServer, name: &str, namespace: &str) -> RedisOptions {
    let at = server.base_url().rsplit('@').next().unwrap().to_owned();
    let url = format!("redis://{name}:secret-word@{at}?namespace={namespace}");
    RedisOptions::from_url(&url).unwrap()
}

/// A user of its own, who may do no more than what the README lists.
struct Bound {
    options: RedisOptions,
    backend: Arc<RedisBackend>,
}

async fn server() -> &'static RedisServer {
    static SHARED: OnceCell<RedisServer> = OnceCell::const_new();
    SHARED.get_or_init(async || RedisServer::builder().start().await.unwrap()).await
}

async fn user(rights: &[String]) -> (String, String) {
    let name = format!("user-{}", windlass_core::JobId::new());
    let mut command = vec!["ACL", "SETUSER", &name, "on", ">secret-word", "resetkeys"];
    command.extend(rights.iter().map(String::as_str));
    server().await.command(&command).await.unwrap();
    (name.clone(), name)
}

async fn open(limits: Limits) -> Bound {
    let namespace = format!("case-{}", windlass_core::JobId::new());
    let (name, _) = user(&rights(&namespace)).await;
    let options = as_user(server().await, &name, &namespace).limits(limits);
    let backend = Arc::new(RedisBackend::open(options.clone()).await.unwrap());
    Bound { options, backend }
}

impl Harness for Bound {
    type Backend = RedisBackend;

    async fn open(limits: Limits) -> Self {
        open(limits).await
    }

    fn backend(&self) -> Arc<RedisBackend> {
        self.backend.clone()
    }

    async fn second(&self) -> Option<Arc<RedisBackend>> {
        Some(Arc::new(RedisBackend::open(self.options.clone()).await.unwrap()))
    }
}

impl StorageHarness for Bound {
    async fn open() -> Self {
        open(Limits::default()).await
    }

    fn storage(&self) -> Arc<dyn Storage> {
        self.backend.storage()
    }
}

mod least_rights {
    use super::*;

    windlass_core::conformance!(Bound);

    mod storage {
        use super::*;

        windlass_core::conformance_storage!(Bound);
    }
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
        let (name, _) = user(&all).await;
        let without = missing.replace('+', "-");
        server.command(&["ACL", "SETUSER", &name, &without]).await.unwrap();
        let error = RedisBackend::open(as_user(server, &name, &namespace)).await.unwrap_err();
        assert!(matches!(error, Error::Config(_)), "{error:?}");
        let text = said(&error);
        assert!(text.contains(&missing[1..]) && text.contains(&name), "{text}");
    }
    // Needed later, on the way into a script and inside of one.
    for missing in ["evalsha", "zadd", "time"] {
        let (name, _) = user(&all).await;
        let backend = RedisBackend::open(as_user(server, &name, &namespace)).await.unwrap();
        server.command(&["ACL", "SETUSER", &name, &format!("-{missing}")]).await.unwrap();
        let error = backend.insert(&[job()]).await.unwrap_err();
        let text = said(&error);
        assert!(!error.is_transient(), "{text}");
        assert!(text.contains("lacks a right") && text.contains(missing), "{text}");
    }
    // Keys of others.
    let (name, _) = user(&all).await;
    let error = RedisBackend::open(as_user(server, &name, "others")).await.unwrap_err();
    assert!(said(&error).contains("lacks a right"), "{error}");
}

/// Every right that is listed is needed by something.
#[tokio::test]
async fn a_user_of_a_url_who_is_unknown_is_told_so() {
    let server = server().await;
    let error = RedisBackend::open(as_user(server, "nobody", "jobs")).await.unwrap_err();
    assert!(said(&error).contains("does not let the user `nobody` in"), "{error}");
    let backend = open(Limits::default()).await.backend;
    let info = WorkerInfo::new("test", Duration::from_secs(60), vec![queue()]);
    let worker = backend.register(&info).await.unwrap().worker;
    backend.insert(&[job()]).await.unwrap();
    let lease = backend.claim(&request(worker)).await.unwrap().leases.remove(0);
    backend.settle(&[completion(&lease)]).await.unwrap();
}
