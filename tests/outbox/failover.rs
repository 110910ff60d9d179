//! An entry is removed once the target has answered, so it is as safe as that answer.

use std::time::{Duration, Instant};

use windlass::Client;
use windlass::outbox::Outbox;
use windlass_test_servers::{QUICK, RedisSentinels, RedisServer};

use super::support::{Host as _, Local, numbers};

const PATIENCE: Duration = Duration::from_secs(90);

async fn post(local: &Local, outbox: &Outbox<windlass::sqlite::SqliteBackend>, orders: u32) {
    for order in 0..orders {
        let mut tx = local.begin().await;
        outbox.enqueue_in(&mut tx, super::ship(order.into())).await.unwrap();
        local.put_row(&mut tx, order.into()).await;
        tx.commit().await.unwrap();
    }
}

async fn until(what: &str, done: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !done().await {
        assert!(started.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How many entries are nowhere after their jobs were on a primary that died while its replica heard of nothing.
async fn missing_after_a_failover(what: &str, more: &str) -> usize {
    let all = RedisSentinels::start(RedisServer::builder(), 1, QUICK).await.unwrap();
    let [primary, replica] = all.servers() else { panic!("{all:?}") };
    let local = Local::open().await;
    let target: Client = windlass::connect(&format!("{}{more}", all.url("jobs"))).await.unwrap();
    let outbox = Outbox::new(&local.client, &target);
    replica.pause().await.unwrap();
    primary.command(&["CLIENT", "KILL", "TYPE", "replica"]).await.unwrap();
    let orders = 20;
    post(&local, &outbox, orders).await;
    let relaying = tokio::spawn({
        let outbox = outbox.clone();
        async move {
            let relay = outbox.relay().options(|o| o.hold = Duration::from_secs(2));
            relay.run_until(std::future::pending::<()>()).await
        }
    });
    until("the jobs are not on the primary", async || {
        numbers(&target).await.len() == orders as usize
    })
    .await;
    if more.is_empty() {
        until("the entries stay", async || outbox.stats().await.unwrap().entries == 0).await;
    }
    primary.kill_9().await.unwrap();
    replica.resume().await.unwrap();
    replica.until_info("role", "master").await.unwrap();
    primary.start().await.unwrap();
    primary.until_info("role", "slave").await.unwrap();
    until("the entries stay", async || outbox.stats().await.unwrap().entries == 0).await;
    relaying.abort();
    // Connections of before may be found dead only now.
    let after = async || windlass::connect(&all.url("jobs")).await;
    until("the target is away", async || after().await.is_ok()).await;
    let found = numbers(&after().await.unwrap()).await;
    let moved: u32 = found.values().sum();
    let doubled = moved as usize - found.len();
    let rows = local.orders().await;
    let missing = rows.iter().filter(|order| !found.contains_key(&order.unsigned_abs())).count();
    println!("{what}: committed {}, missing {missing}, doubled {doubled}", rows.len());
    assert_eq!(doubled, 0, "{what}");
    missing
}

/// F45: a target that answers before its replica has the jobs may lose what the outbox no longer has.
#[tokio::test(flavor = "multi_thread")]
async fn f45_a_failover_of_the_target_may_lose_what_it_answered() {
    assert_eq!(missing_after_a_failover("outbox, failover", "").await, 20);
}

/// F45: one that waits for its replica loses none.
#[tokio::test(flavor = "multi_thread")]
async fn f45_a_failover_of_a_target_that_waits_for_its_replica_loses_no_entry() {
    let more = "&wait_replicas=1&wait_timeout=300ms";
    let what = "outbox, failover of a target that waits for its replica";
    assert_eq!(missing_after_a_failover(what, more).await, 0);
}
