//! What faults count: only what met them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use windlass_chaos::conductor::Setting;
use windlass_chaos::conductor::place::Place;
use windlass_chaos::conductor::plan::{Dice, FaultKind};
use windlass_chaos::place::TABLES;

/// What a fault met.
async fn strike(place: &mut Place, kind: FaultKind) -> u64 {
    place.strike(kind, &mut Dice::of(1, 1), &|_| {}).await.unwrap()
}

#[tokio::test]
async fn a_cut_meets_the_connections_that_are_open() {
    let folder = tempfile::tempdir().unwrap();
    let mut place = Place::start(Setting::Always, folder.path()).await.unwrap();
    assert_eq!(strike(&mut place, FaultKind::ConnectionsCut).await, 0);
    let client = windlass::connect(&place.url()).await.unwrap();
    assert!(strike(&mut place, FaultKind::ConnectionsCut).await > 0);
    client.close().await.unwrap();
}

#[tokio::test]
async fn full_memory_and_a_dead_server_are_met_by_what_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut place = Place::start(Setting::Always, folder.path()).await.unwrap();
    assert_eq!(strike(&mut place, FaultKind::ServerKilled).await, 1);
    // Nobody writes.
    assert_eq!(strike(&mut place, FaultKind::MemoryFull).await, 0);
    assert_eq!(strike(&mut place, FaultKind::ScriptsForgotten).await, 0);
}

#[tokio::test]
async fn a_full_disk_is_met_by_what_needs_room_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut place = Place::start(Setting::Postgres, folder.path()).await.unwrap();
    assert!(place.left_out().is_empty(), "{:?}", place.left_out());
    // The table that needs room is not there, and an error that tells of something else meets nothing.
    assert_eq!(strike(&mut place, FaultKind::DiskFull).await, 0);
    let pool = sqlx::PgPool::connect(&place.direct()).await.unwrap();
    sqlx::raw_sql(TABLES).execute(&pool).await.unwrap();
    pool.close().await;
    assert_eq!(strike(&mut place, FaultKind::DiskFull).await, 1);
    assert_eq!(strike(&mut place, FaultKind::ClockOfServer).await, 1);

    let mut place = Place::start(Setting::Sqlite, folder.path()).await.unwrap();
    assert!(place.left_out().is_empty(), "{:?}", place.left_out());
    // Made by the library, as in a run.
    windlass::connect(&place.url()).await.unwrap().close().await.unwrap();
    let pool = sqlx::SqlitePool::connect(&place.url()).await.unwrap();
    sqlx::raw_sql(TABLES).execute(&pool).await.unwrap();
    pool.close().await;
    assert_eq!(strike(&mut place, FaultKind::DiskFull).await, 1);
    assert!(place.damage().await.unwrap().is_empty());
}
