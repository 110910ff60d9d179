//! What can be done to servers and disks: filled disks, pauses, moved clocks.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use windlass_test_servers::{Disk, PostgresServer, RedisServer};

const PATIENCE: Duration = Duration::from_secs(30);

/// Only root can mount a file system.
fn is_root() -> bool {
    let me = std::fs::metadata("/proc/self");
    me.is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0)
}

#[tokio::test]
async fn a_disk_is_full_until_it_has_its_room_again() {
    let disk = Disk::new(8 << 20).await;
    if !is_root() {
        assert!(disk.unwrap_err().to_string().contains("root"));
        return;
    }
    let disk = disk.unwrap();
    let write = |name: &str| std::fs::write(disk.path().join(name), [1; 100_000]);
    write("before").unwrap();
    let full = disk.fill().await.unwrap();
    assert_eq!(write("meanwhile").unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    drop(full);
    write("after").unwrap();
    assert_eq!(std::fs::read(disk.path().join("before")).unwrap().len(), 100_000);
}

#[tokio::test]
async fn postgres_is_out_of_room_and_goes_on() {
    let started = PostgresServer::builder().data_on_tmpfs(120 << 20).start().await;
    if !is_root() {
        assert!(started.unwrap_err().to_string().contains("root"));
        return;
    }
    let server = started.unwrap();
    let fill = |table: &str| {
        format!("CREATE TABLE {table} AS SELECT repeat('x', 1000) FROM generate_series(1, 1000)")
    };
    // The first connection writes a file of the server's own.
    server.execute("postgres", "SELECT 1").await.unwrap();
    let full = server.fill_disk().await.unwrap();
    let error = server.execute("postgres", &fill("a")).await.unwrap_err().to_string();
    assert!(error.contains("No space left on device"), "{error}");
    drop(full);
    server.execute("postgres", &fill("b")).await.unwrap();
}

#[tokio::test]
async fn redis_is_out_of_room_and_goes_on() {
    let server = RedisServer::builder().setting("appendfsync", "everysec");
    let started = server.data_on_tmpfs(32 << 20).start().await;
    if !is_root() {
        assert!(started.unwrap_err().to_string().contains("root"));
        return;
    }
    let server = started.unwrap();
    server.command(&["SET", "a", "1"]).await.unwrap();
    let full = server.fill_disk().await.unwrap();
    let long = "x".repeat(10_000);
    let set = async || server.command(&["SET", "b", &long]).await;
    let begun = Instant::now();
    let error = loop {
        // What fits into the last page is written yet.
        match set().await {
            Err(error) => break error.to_string(),
            Ok(_) => assert!(begun.elapsed() < PATIENCE, "it takes all there is"),
        }
    };
    assert!(error.contains("MISCONF"), "{error}");
    drop(full);
    while set().await.is_err() {
        assert!(begun.elapsed() < PATIENCE, "it takes nothing more");
    }
    assert_eq!(server.command(&["GET", "a"]).await.unwrap(), "1");
}

#[tokio::test]
async fn a_paused_postgres_answers_when_it_goes_on() {
    let server = PostgresServer::builder().start().await.unwrap();
    server.pause().await.unwrap();
    let asked = server.value("postgres", "SELECT 'here'");
    let mut asked = std::pin::pin!(asked);
    // There is no event that says that nothing comes: this only shows that it is not at once.
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut asked).await.is_err());
    server.resume().await.unwrap();
    assert_eq!(asked.await.unwrap().as_deref(), Some("here"));
}

#[tokio::test]
async fn the_clock_of_postgres_goes_ahead() {
    let server = PostgresServer::builder().movable_clock().start().await.unwrap();
    let ahead = async || {
        let sql =
            format!("SELECT (extract(epoch FROM clock_timestamp()) - {})::bigint::text", now());
        server.value("postgres", &sql).await.unwrap().unwrap().parse::<i64>().unwrap()
    };
    assert!(ahead().await.abs() < 60);
    server.clock_ahead(Duration::from_secs(3_600)).await.unwrap();
    let begun = Instant::now();
    while ahead().await < 3_500 {
        assert!(begun.elapsed() < PATIENCE, "it stays where it was");
    }
    // Also after a restart.
    server.restart_immediate().await.unwrap();
    assert!(ahead().await > 3_500);
}

#[tokio::test]
async fn the_clock_of_redis_goes_ahead() {
    let server = RedisServer::builder().movable_clock().start().await.unwrap();
    let ahead = async || {
        let told = server.command(&["TIME"]).await.unwrap();
        told.lines().next().unwrap().trim().parse::<u64>().unwrap().saturating_sub(now())
    };
    assert!(ahead().await < 60);
    server.clock_ahead(Duration::from_secs(3_600)).await.unwrap();
    let begun = Instant::now();
    while ahead().await < 3_500 {
        assert!(begun.elapsed() < PATIENCE, "it stays where it was");
    }
    // Also after a restart.
    server.kill_9().await.unwrap();
    server.start().await.unwrap();
    assert!(ahead().await > 3_500);
}

#[tokio::test]
async fn the_clock_of_a_process_goes_ahead() {
    let env = windlass_test_servers::clock_ahead(Duration::from_secs(7_200)).unwrap();
    let mut date = std::process::Command::new("date");
    let said = tokio::task::spawn_blocking(move || date.arg("+%s").envs(env).output().unwrap());
    let said = String::from_utf8(said.await.unwrap().stdout).unwrap();
    assert!(said.trim().parse::<u64>().unwrap().abs_diff(now() + 7_200) < 60, "{said}");
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test]
async fn a_server_without_a_clock_of_its_own_says_so() {
    let server = RedisServer::builder().start().await.unwrap();
    let error = server.clock_ahead(Duration::from_secs(1)).await.unwrap_err().to_string();
    assert!(error.contains("the machine's clock"), "{error}");
}
