//! Encryption: what is asked for is done or refused, and by whom the server says it is counts.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::everything;
use windlass_core::Error;
use windlass_postgres::{PostgresBackend, PostgresOptions};
use windlass_test_servers::PostgresServer;

async fn refused(url: &str) -> String {
    let error = match PostgresOptions::from_url(url) {
        Ok(options) => PostgresBackend::open(options).await.unwrap_err(),
        Err(error) => error,
    };
    assert!(matches!(error, Error::Config(_)), "{error:?}");
    assert!(!everything(&error).contains(url));
    error.to_string()
}

#[cfg(not(feature = "tls"))]
#[tokio::test]
async fn without_the_feature_encryption_is_refused_and_the_feature_named() {
    use sqlx::postgres::{PgConnectOptions, PgSslMode};
    let server = PostgresServer::shared().await.unwrap();
    for mode in ["require", "verify-ca", "verify-full"] {
        let error = refused(&format!("{}?sslmode={mode}", server.url("postgres"))).await;
        assert!(error.contains("cargo feature `tls`"), "{error}");
    }
    let own = PgConnectOptions::new().host("127.0.0.1").ssl_mode(PgSslMode::Require);
    let error = PostgresBackend::open(PostgresOptions::new(own)).await.unwrap_err();
    assert!(error.to_string().contains("cargo feature `tls`"), "{error}");
}

#[cfg(not(feature = "tls"))]
#[tokio::test]
async fn a_server_that_insists_on_encryption_is_understood() {
    let server = PostgresServer::builder().ssl().start().await.unwrap();
    let hba = "hostssl all all all scram-sha-256\n";
    insist(&server, hba).await;
    let error = refused(&server.url("postgres")).await;
    assert!(
        error.contains("takes only encrypted connections") && error.contains("feature `tls`"),
        "{error}"
    );
}

#[cfg(not(feature = "tls"))]
async fn insist(server: &PostgresServer, hba: &str) {
    std::fs::write(server.folder().join("data/pg_hba.conf"), hba).unwrap();
    server.execute("postgres", "SELECT pg_reload_conf()").await.unwrap();
    // The reload is a signal; what it does shows from outside only.
    common::until(async || server.execute("postgres", "SELECT 1").await.is_err()).await;
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn a_certificate_of_a_known_authority_for_the_right_host_is_trusted() {
    let server = PostgresServer::builder().ssl().start().await.unwrap();
    let ca = server.ca_certificate().unwrap().display().to_string();
    let url = format!("{}?sslmode=verify-full&sslrootcert={ca}", server.url("postgres"));
    let backend = PostgresBackend::connect(&url).await.unwrap();
    windlass_core::Store::insert(&backend, &[common::job()]).await.unwrap();
    common::worker(&backend).await;
    let encrypted = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl AND backend_type = 'client backend'";
    let encrypted = server.value("postgres", encrypted).await.unwrap().unwrap();
    assert!(encrypted.parse::<u32>().unwrap() >= 2, "the pool's and the heartbeats'");
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_not() {
    let server = PostgresServer::builder().ssl().start().await.unwrap();
    let error = refused(&format!("{}?sslmode=verify-full", server.url("postgres"))).await;
    assert!(error.contains("`sslrootcert`"), "{error}");
    PostgresBackend::connect(&format!("{}?sslmode=require", server.url("postgres"))).await.unwrap();
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn a_certificate_for_another_host_is_trusted_only_when_the_host_does_not_matter() {
    let server = PostgresServer::builder().ssl().setting("listen_addresses", "*").start();
    let server = server.await.unwrap();
    let ca = server.ca_certificate().unwrap().display().to_string();
    // The certificate names 127.0.0.1 and localhost.
    let url = server.url("postgres").replace("127.0.0.1", "127.0.0.2");
    let url = |mode: &str| format!("{url}?sslmode={mode}&sslrootcert={ca}");
    PostgresBackend::connect(&url("verify-ca")).await.unwrap();
    refused(&url("verify-full")).await;
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn a_server_without_encryption_is_named_as_such() {
    let server = PostgresServer::shared().await.unwrap();
    let error = refused(&format!("{}?sslmode=require", server.url("postgres"))).await;
    assert!(error.contains("takes no encrypted connections"), "{error}");
    PostgresBackend::connect(&server.url("postgres")).await.unwrap();
}
