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

/// As servers want it unless they are told otherwise.
#[cfg(feature = "tls")]
#[tokio::test]
async fn a_server_that_wants_a_certificate_is_shown_one() {
    use redis::IntoConnectionInfo;

    let server = RedisServer::builder().tls().start().await.unwrap();
    server.command(&["CONFIG", "SET", "tls-auth-clients", "yes"]).await.unwrap();
    let (folder, ca) = (server.folder(), server.ca_certificate().unwrap());
    let without = format!("{}&ca={}", server.url("jobs"), ca.display());
    let error = RedisBackend::connect(&without).await.unwrap_err();
    assert!(!format!("{error:?}").contains(server.password()), "F52: {error:?}");
    let (cert, key) = (folder.join("server.crt"), folder.join("server.key"));
    let with = format!("{without}&cert={}&key={}", cert.display(), key.display());
    RedisBackend::connect(&with).await.unwrap().insert(&[job()]).await.unwrap();
    // In any order.
    let [ca, cert, key] =
        [ca, cert.as_path(), key.as_path()].map(|path| std::fs::read(path).unwrap());
    let bare = || RedisOptions::from_url(&server.url("jobs")).unwrap();
    let options = bare().client_certificate(cert.clone(), key.clone()).unwrap();
    let options = options.ca_certificate(ca.clone()).unwrap();
    RedisBackend::open(options).await.unwrap().ping().await.unwrap();

    let half = RedisOptions::from_url(&format!("{without}&cert=/x")).unwrap_err();
    assert!(told(&half).contains("belong together"), "{half}");
    let error = bare().client_certificate(cert.clone(), "no key").unwrap_err();
    assert!(told(&error).contains("in PEM"), "{error}");

    // What the host gave the driver is not dropped in silence.
    let info = server.base_url().into_connection_info().unwrap();
    let own = redis::ClientTlsConfig { client_cert: cert, client_key: key };
    let certificates =
        redis::TlsCertificates { client_tls: Some(own), root_cert: Some(ca.clone()) };
    let client = redis::Client::build_with_tls(info, certificates).unwrap();
    let options = RedisOptions::new(client.get_connection_info().clone());
    RedisBackend::open(options.clone()).await.unwrap().ping().await.unwrap();
    let error = options.ca_certificate(ca).unwrap_err();
    assert!(told(&error).contains("certificates of its own"), "{error}");
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
