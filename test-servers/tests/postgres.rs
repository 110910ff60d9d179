//! PostgreSQL servers: what survives a stop and a kill, and how they are configured.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::process::Command;

use windlass_test_servers::{Auth, PostgresServer};

#[tokio::test]
async fn databases_of_the_shared_server_are_apart() {
    let server = PostgresServer::shared().await.unwrap();
    let (one, two) =
        (server.create_database().await.unwrap(), server.create_database().await.unwrap());
    server.execute(&one, "CREATE TABLE a (n int); INSERT INTO a VALUES (7)").await.unwrap();
    assert_eq!(server.value(&one, "SELECT n FROM a").await.unwrap().as_deref(), Some("7"));
    assert_eq!(server.value(&two, "SELECT to_regclass('a')").await.unwrap(), None);
    let missing = server.value(&two, "SELECT n FROM a").await.unwrap_err().to_string();
    assert!(missing.contains("relation \"a\" does not exist"), "{missing}");
}

#[tokio::test]
async fn what_was_committed_survives_a_restart_and_a_kill() {
    let server = PostgresServer::builder().setting("work_mem", "5MB").start().await.unwrap();
    let count = "SELECT count(*) FROM a";
    server.execute("postgres", "CREATE TABLE a (n int); INSERT INTO a VALUES (1)").await.unwrap();
    server.restart_immediate().await.unwrap();
    assert_eq!(server.value("postgres", count).await.unwrap().as_deref(), Some("1"));

    server.execute("postgres", "INSERT INTO a VALUES (2)").await.unwrap();
    server.kill_9().await.unwrap();
    server.value("postgres", count).await.unwrap_err();
    server.start().await.unwrap();
    assert_eq!(server.value("postgres", count).await.unwrap().as_deref(), Some("2"));
    assert!(server.log().unwrap().contains("not properly shut down"));

    for (name, value) in [("work_mem", "5MB"), ("fsync", "on"), ("synchronous_commit", "on")] {
        let shown = server.value("postgres", &format!("SHOW {name}")).await.unwrap();
        assert_eq!(shown.as_deref(), Some(value), "{name}");
    }
    server.stop_immediate().await.unwrap();
    server.value("postgres", count).await.unwrap_err();
}

#[tokio::test]
async fn the_server_is_the_given_or_the_newest_one() {
    let server = PostgresServer::builder().start().await.unwrap();
    let runs = server.value("postgres", "SHOW server_version").await.unwrap().unwrap();
    match std::env::var_os("WINDLASS_TEST_POSTGRES_BIN") {
        Some(folder) => {
            let program = std::path::Path::new(&folder).join("postgres");
            let output = Command::new(program).arg("--version").output().unwrap();
            let version = String::from_utf8(output.stdout).unwrap();
            assert_eq!(version.split_whitespace().nth(2), runs.split_whitespace().next());
        }
        None => {
            let newest = *PostgresServer::available_versions().last().unwrap();
            assert!(runs.starts_with(&format!("{newest}.")), "{runs}");
        }
    }
    println!("PostgreSQL {runs}");
}

#[tokio::test]
async fn a_password_is_asked_for_and_not_told() {
    let server = PostgresServer::shared().await.unwrap();
    let wrong = server.url_as(server.user(), "wrong", "postgres");
    let error = <sqlx::PgConnection as sqlx::Connection>::connect(&wrong).await.unwrap_err();
    assert!(error.to_string().contains("password authentication failed"), "{error}");
    let error = server.execute("nowhere", "SELECT 1").await.unwrap_err();
    for text in [format!("{error:?}"), format!("{server:?}")] {
        assert!(!text.contains(server.password()), "{text}");
    }
}

#[tokio::test]
async fn tls_is_offered_with_a_certificate_of_the_ca() {
    let server = PostgresServer::builder().auth(Auth::Trust).ssl().start().await.unwrap();
    let ca = server.ca_certificate().unwrap().to_owned();
    let at = format!("127.0.0.1:{}", server.port());
    for host in [["-verify_hostname", "localhost"], ["-verify_ip", "127.0.0.1"]] {
        let mut client = Command::new("openssl");
        client.args(["s_client", "-starttls", "postgres", "-verify_return_error", "-connect", &at]);
        client.args(host).arg("-CAfile").arg(&ca).stdin(std::process::Stdio::null());
        let output = tokio::task::spawn_blocking(move || client.output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("Verify return code: 0 (ok)"), "{output:?}");
    }
    // Without a password.
    server.execute("postgres", "SELECT 1").await.unwrap();
}

#[tokio::test]
async fn a_disk_of_its_own_can_be_filled() {
    let started = PostgresServer::builder().data_on_tmpfs(100 << 20).start().await;
    if !std::fs::metadata("/proc/self")
        .is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0)
    {
        assert!(started.unwrap_err().to_string().contains("root"));
        return;
    }
    let server = started.unwrap();
    let fill = "CREATE TABLE a AS SELECT repeat('x', 1000) FROM generate_series(1, 200000)";
    let error = server.execute("postgres", fill).await.unwrap_err().to_string();
    assert!(error.contains("No space left on device"), "{error}");
}

#[tokio::test]
async fn a_version_that_is_not_installed_is_named() {
    let found = PostgresServer::available_versions();
    let newest = PostgresServer::shared().await.unwrap();
    newest.value("postgres", "SHOW server_version").await.unwrap().unwrap();
    let error = PostgresServer::builder().version(7).start().await.unwrap_err().to_string();
    assert!(error.contains("postgresql-7") && error.contains(&format!("{found:?}")), "{error}");
}
