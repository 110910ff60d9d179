//! Users with rights (ACL): one that is missing is named. That those in the README are enough is shown by the suite in `topologies.rs`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::rights::rights;
use common::{Place, completion, job, queue, request, unique};
use tokio::sync::OnceCell;
use windlass_core::{
    BlobKey, Change, ChangeRequest, Error, LogLevel, Note, Queue, QueueChange, Record, Result,
    Retention, Selector, Start, Store, UniqueUntil, WorkerInfo,
};
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
    for missing in ["evalsha", "zrange", "time"] {
        let name = user(&all).await;
        let backend = RedisBackend::open(as_user(server, &name, &namespace)).await.unwrap();
        server.command(&["ACL", "SETUSER", &name, &format!("-{missing}")]).await.unwrap();
        let error = backend.prune(&Retention::default(), 1).await.unwrap_err();
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

/// A user who lacks one right, and what its calls leave behind.
struct Poor {
    place: Place,
    backend: RedisBackend,
    name: String,
    missing: String,
}

impl Poor {
    async fn without(missing: &str) -> Self {
        let place = Place::on(server().await).await;
        let namespace = place.namespace.trim_matches(['{', '}']).to_owned();
        let name = user(&rights(&namespace)).await;
        let options = as_user(server().await, &name, &namespace);
        let backend = RedisBackend::open(options).await.unwrap();
        Self { place, backend, name, missing: missing.to_owned() }
    }

    async fn set(&self, sign: char) {
        let right = format!("{sign}{}", self.missing);
        server().await.command(&["ACL", "SETUSER", &self.name, &right]).await.unwrap();
    }

    /// Makes a call without the right: it is done, or it fails and nothing is written. Then it is done as soon as the right is back.
    async fn calls<T>(&mut self, call: impl AsyncFn(&RedisBackend) -> Result<T>) -> T {
        let before = self.place.everything().await;
        self.set('-').await;
        let tried = call(&self.backend).await;
        self.set('+').await;
        let error = match tried {
            Ok(done) => return done,
            Err(error) => error,
        };
        let text = said(&error);
        assert!(text.contains("lacks a right") && !error.is_transient(), "{text}");
        let after = self.place.everything().await;
        assert_eq!(after, before, "{} left something: {text}", self.missing);
        call(&self.backend).await.unwrap()
    }
}

/// What the server refuses in the midst of a script can't be taken back, so every right is looked at before.
#[tokio::test]
async fn a_right_that_is_missing_leaves_nothing_half_written() {
    let all = rights("any");
    let commands = all.iter().filter_map(|right| right.strip_prefix('+'));
    for missing in commands.filter(|right| *right != "subscribe") {
        let mut poor = Poor::without(missing).await;
        let worker = poor.place.worker().await;
        let keys = [BlobKey::new("blobs/a").unwrap()];
        let mut new = unique("key", UniqueUntil::Finished);
        new.blobs = keys.to_vec();
        let minute = Duration::from_secs(60);
        poor.calls(async |to| to.stage_blobs(&keys, minute).await).await;
        let inserted = poor.calls(async |to| to.insert(std::slice::from_ref(&new)).await).await;
        assert!(inserted[0].is_new(), "{missing}: what failed is taken for a duplicate");
        let claim = request(worker);
        let lease = poor.calls(async |to| to.claim(&claim).await).await.leases.remove(0);
        assert_eq!(lease.key.job, new.id, "{missing}");
        let note = Note::Log { level: LogLevel::Info, message: "line".into() };
        let record = Record::new(lease.key, vec![note]);
        poor.calls(async |to| to.record(std::slice::from_ref(&record)).await).await;
        poor.calls(async |to| to.settle(&[completion(&lease)]).await).await;
        for change in [Change::Retry, Change::Cancel { reason: None }] {
            let change = ChangeRequest::new(Selector::Ids(vec![new.id]), change);
            let changed = poor.calls(async |to| to.change(&change).await).await;
            assert_eq!(changed.count, 1, "{missing}");
        }
        let paused = QueueChange::default().paused(true);
        poor.calls(async |to| to.configure_queue(&queue(), &paused).await).await;
        let mut retention = Retention::default();
        (retention.cancelled, retention.events) = (Some(Duration::ZERO), None);
        poor.calls(async |to| to.prune(&retention, 10).await).await;
        assert!(poor.backend.get(new.id).await.unwrap().is_none(), "{missing}");
        retention.events = Some(Duration::ZERO);
        poor.calls(async |to| to.prune(&retention, 100).await).await;
        let info = WorkerInfo::new("other", minute, vec![queue()]);
        poor.calls(async |to| to.register(&info).await).await;
    }
}

/// Plain jobs and completions that bring nothing have ways of their own.
#[tokio::test]
async fn a_right_that_is_missing_leaves_no_plain_job_half_written() {
    let all = rights("any");
    let commands = all.iter().filter_map(|right| right.strip_prefix('+'));
    for missing in commands.filter(|right| *right != "subscribe") {
        let mut poor = Poor::without(missing).await;
        let worker = poor.place.worker().await;
        let mut new = [job(), job()];
        new[1].start = Start::In(Duration::from_secs(3_600));
        for new in [&new[..1], &new[1..]] {
            let inserted = poor.calls(async |to| to.insert(new).await).await;
            assert!(inserted[0].is_new(), "{missing}: what failed is taken for a duplicate");
        }
        let claim = request(worker);
        let lease = poor.calls(async |to| to.claim(&claim).await).await.leases.remove(0);
        poor.calls(async |to| to.settle(&[completion(&lease)]).await).await;
    }
}
