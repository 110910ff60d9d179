//! Encrypted connections.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{completion, job, queue, request};
use windlass_core::{Backend, Error, Queue, Settled, State, Store, WorkerInfo};
use windlass_redis::{RedisBackend, RedisOptions};
use windlass_test_servers::RedisServer;

fn told(error: &Error) -> &str {
    let Error::Config(told) = error else { panic!("{error:?}") };
    told
}

#[cfg(not(feature = "tls"))]
#[tokio::test]
async fn a_build_without_it_names_the_feature() {
    let server = RedisServer::builder().tls().start().await.unwrap();
    let error = RedisBackend::connect(&server.url("jobs")).await.unwrap_err();
    assert!(told(&error).contains("cargo feature `tls`"), "{error}");
    // Nor does the server talk to who does not encrypt.
    let plain = server.url("jobs").replace("rediss:", "redis:");
    assert!(RedisBackend::connect(&plain).await.unwrap_err().is_transient());
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn with_the_right_authority_jobs_run() {
    let server = RedisServer::builder().tls().start().await.unwrap();
    let ca = server.ca_certificate().unwrap();
    let by_url = format!("{}&ca={}", server.url("jobs"), ca.display());
    let backend = RedisBackend::connect(&by_url).await.unwrap();
    let info = WorkerInfo::new("test", std::time::Duration::from_secs(60), vec![queue()]);
    let worker = backend.register(&info).await.unwrap().worker;
    backend.insert(&[job()]).await.unwrap();
    backend.heartbeat(worker, &[]).await.unwrap();
    let lease = backend.claim(&request(worker)).await.unwrap().leases.remove(0);
    let settled = backend.settle(&[completion(&lease)]).await.unwrap();
    assert_eq!(settled, [Settled::Applied { state: State::Completed }]);
    // News come by TLS too.
    let other = RedisBackend::connect(&by_url).await.unwrap();
    let (queues, long) = ([queue()], std::time::Duration::from_secs(60));
    let wait = backend.wait(&queues, long);
    let insert = async {
        loop {
            other.insert(&[job()]).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        woken = wait => drop(woken.unwrap()),
        () = insert => {}
    }

    let pem = std::fs::read(ca).unwrap();
    let options = RedisOptions::from_url(&server.url("jobs")).unwrap().ca_certificate(pem).unwrap();
    RedisBackend::open(options).await.unwrap().ping().await.unwrap();
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn an_authority_that_did_not_sign_is_refused() {
    let server = RedisServer::builder().tls().start().await.unwrap();
    let stranger = RedisServer::builder().tls().start().await.unwrap();
    let ca = stranger.ca_certificate().unwrap().display();
    for url in [server.url("jobs"), format!("{}&ca={ca}", server.url("jobs"))] {
        let error = RedisBackend::connect(&url).await.unwrap_err();
        assert!(told(&error).contains("certificate of 127.0.0.1:"), "{error}");
        assert!(told(&error).contains("`ca` in the URL"), "{error}");
        assert!(!told(&error).contains(server.password()), "{error}");
    }
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn plain_text_gets_nowhere() {
    let server = RedisServer::builder().tls().start().await.unwrap();
    let plain = server.url("jobs").replace("rediss:", "redis:");
    let error = RedisBackend::connect(&plain).await.unwrap_err();
    assert!(!error.to_string().contains(server.password()), "{error}");
    // And the other way round.
    let server = RedisServer::builder().start().await.unwrap();
    let encrypted = server.url("jobs").replace("redis:", "rediss:");
    let error = RedisBackend::connect(&encrypted).await.unwrap_err();
    assert!(!error.to_string().contains(server.password()), "{error}");
}
