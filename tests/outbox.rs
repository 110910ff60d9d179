//! Jobs that commit with the host's rows in one database and run on another backend.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used)]

#[cfg(feature = "redis")]
#[path = "outbox/failover.rs"]
mod failover;
#[path = "outbox/kills.rs"]
mod kills;
#[cfg(feature = "postgres")]
#[path = "outbox/postgres.rs"]
mod postgres;
#[path = "outbox/support.rs"]
mod support;

use std::collections::HashMap;
use std::future::Future as _;
use std::sync::Arc;
use std::task::{Context as Poller, Poll};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use support::{Host as _, Local, numbers, place};
use windlass::outbox::{Outbox, RelayOptions};
use windlass::sqlite::{SqliteBackend, SqliteOptions};
use windlass::{
    Client, Context, Draft, Error, Job, Limits, OnConflict, Outcome, QueueChange, State, Worker,
};

/// A job with a number to know it by.
#[derive(Debug, Job, Serialize, Deserialize)]
#[job(kind = "ship")]
pub(crate) struct Ship {
    order: u64,
    text: String,
}

fn ship(order: u64) -> Ship {
    Ship { order, text: String::new() }
}

#[tokio::test]
async fn a_job_commits_with_the_hosts_row_and_runs_on_the_target() {
    let local = Local::open().await;
    let target = windlass::connect("memory:").await.unwrap();
    let outbox = Outbox::new(&local.client, &target);

    let mut tx = local.begin().await;
    let kept = outbox.enqueue_in(&mut tx, ship(1)).await.unwrap();
    local.put_row(&mut tx, 1).await;
    tx.commit().await.unwrap();
    let mut tx = local.begin().await;
    let gone = outbox.enqueue_in(&mut tx, ship(2)).await.unwrap();
    local.put_row(&mut tx, 2).await;
    tx.rollback().await.unwrap();

    async fn handle(job: Ship, _: Context) -> Outcome {
        assert_eq!(job.order, 1);
        Ok(())
    }
    assert!(target.get(kept).await.unwrap().is_none(), "not before a relay has moved it");
    let worker = Worker::new(&target).register(handle).queue("default", 1).start().unwrap();
    let moved = outbox.relay().run_once().await.unwrap();
    assert_eq!((moved.moved, moved.repeated, moved.refused), (1, 0, 0));
    target.handle::<Ship>(kept).result().await.unwrap();
    assert!(target.get(gone).await.unwrap().is_none());
    assert_eq!(outbox.stats().await.unwrap().entries, 0);
    worker.shutdown();
    worker.join().await.unwrap();
}

#[tokio::test]
async fn everything_about_a_job_arrives() {
    let local = Local::open().await;
    let target = windlass::connect("memory:").await.unwrap();
    let outbox = Outbox::new(&local.client, &target);
    let at = windlass::Timestamp::now() + Duration::from_secs(86_400);
    let draft = Draft::new(ship(1)).queue("mail").priority(-3).max_attempts(7).at(at);
    let draft = draft.timeout(Duration::from_secs(9)).meta("trace", "abc").tag("eu");
    let mut job = target.prepare(draft.unique_key("order 1")).await.unwrap();
    let direct = job.clone();
    job.id = windlass::JobId::new();
    let id = job.id;
    let mut tx = local.begin().await;
    assert_eq!(outbox.insert_in(&mut tx, vec![job]).await.unwrap(), [id]);
    assert!(outbox.insert_in(&mut tx, Vec::new()).await.unwrap().is_empty());
    tx.commit().await.unwrap();
    outbox.relay().run_once().await.unwrap();

    let elsewhere = windlass::connect("memory:").await.unwrap();
    let direct_id = direct.id;
    elsewhere.insert(vec![direct]).await.unwrap();
    let mut wanted = elsewhere.get(direct_id).await.unwrap().unwrap();
    let got = target.get(id).await.unwrap().unwrap();
    (wanted.id, wanted.created_at) = (got.id, got.created_at);
    assert_eq!(got, wanted);
}

#[tokio::test]
async fn a_delay_counts_from_the_commit_side() {
    let local = Local::open().await;
    let target = windlass::connect("memory:").await.unwrap();
    let outbox = Outbox::new(&local.client, &target);
    let mut tx = local.begin().await;
    let hour = Draft::new(ship(1)).delay(Duration::from_secs(3_600));
    let late = outbox.enqueue_in(&mut tx, hour).await.unwrap();
    let second = Draft::new(ship(2)).delay(Duration::from_secs(1));
    let due = outbox.enqueue_in(&mut tx, second).await.unwrap();
    tx.commit().await.unwrap();
    // No relay ran for a while.
    local.client.backend().advance_clock(Duration::from_secs(600));
    outbox.relay().run_once().await.unwrap();
    let late = target.get(late).await.unwrap().unwrap();
    let left = Duration::try_from(late.due_at.duration_since(late.created_at)).unwrap();
    assert!(left > Duration::from_secs(2_900) && left <= Duration::from_secs(3_000), "{left:?}");
    assert_eq!(target.get(due).await.unwrap().unwrap().state, State::Available);
}

#[tokio::test]
async fn the_unique_rule_is_the_targets() {
    let local = Local::open().await;
    let target = windlass::connect("memory:").await.unwrap();
    let outbox = Outbox::new(&local.client, &target);
    let holder = target.enqueue(ship(0)).unique_key("k").await.unwrap();
    let mut tx = local.begin().await;
    let keep = Draft::new(ship(1)).unique_key("k");
    let reject = Draft::new(ship(2)).unique_key("k").on_conflict(OnConflict::Reject);
    for draft in [keep, reject] {
        outbox.enqueue_in(&mut tx, draft).await.unwrap();
    }
    let free = outbox.enqueue_in(&mut tx, Draft::new(ship(3)).unique_key("free")).await.unwrap();
    tx.commit().await.unwrap();
    let moved = outbox.relay().run_once().await.unwrap();
    assert_eq!((moved.moved, moved.duplicates, moved.repeated), (3, 2, 0));
    let mut left: Vec<_> = numbers(&target).await.into_keys().collect();
    left.sort_unstable();
    assert_eq!(left, [0, 3]);
    assert!(target.get(free).await.unwrap().is_some() && holder.is_new());
    assert_eq!(outbox.stats().await.unwrap().entries, 0);
}

/// The transaction fails at once where the target would refuse the job, and stays usable.
#[tokio::test]
async fn what_the_target_would_refuse_is_refused_at_the_post() {
    let local = Local::open().await;
    let target = windlass::connect("memory:").await.unwrap();
    let outbox = Outbox::new(&local.client, &target);
    let mut tx = local.begin().await;
    let large = Ship { order: 1, text: "x".repeat(target.limits().inline_args) };
    let error = outbox.enqueue_in(&mut tx, large).await.unwrap_err();
    assert!(matches!(error, Error::LimitExceeded { .. }), "{error}");
    assert!(error.to_string().contains("prepare"), "{error}");
    let error = outbox.enqueue_in(&mut tx, Draft::new(ship(2)).queue("no name")).await.unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
    outbox.enqueue_in(&mut tx, ship(3)).await.unwrap();
    tx.commit().await.unwrap();
    outbox.relay().run_once().await.unwrap();
    assert_eq!(numbers(&target).await, HashMap::from([(3, 1)]));
}

#[tokio::test]
async fn large_args_are_stored_before_the_transaction() {
    let local = Local::open().await;
    let target = windlass::connect("memory:").await.unwrap();
    let outbox = Outbox::new(&local.client, &target);
    let text = "x".repeat(target.limits().inline_args);
    let job = target.prepare(Ship { order: 1, text: text.clone() }).await.unwrap();
    let id = job.id;
    let mut tx = local.begin().await;
    outbox.insert_in(&mut tx, vec![job]).await.unwrap();
    tx.commit().await.unwrap();
    outbox.relay().run_once().await.unwrap();

    let (told, mut lengths) = tokio::sync::mpsc::channel(1);
    let worker = Worker::new(&target).state(told).register(tell).queue("default", 1);
    let worker = worker.start().unwrap();
    assert_eq!(lengths.recv().await, Some(text.len()));
    target.handle::<Ship>(id).result().await.unwrap();
    worker.shutdown();
    worker.join().await.unwrap();
}

async fn tell(job: Ship, cx: Context<tokio::sync::mpsc::Sender<usize>>) -> Outcome {
    cx.state().send(job.text.len()).await?;
    Ok(())
}

#[tokio::test]
async fn a_full_queue_holds_up_no_other() {
    let local = Local::open().await;
    let target = windlass::connect("memory:").await.unwrap();
    let outbox = Outbox::new(&local.client, &target);
    target.configure_queue("small", QueueChange::default().max_depth(Some(2))).await.unwrap();
    let mut tx = local.begin().await;
    for order in 0..5 {
        outbox.enqueue_in(&mut tx, Draft::new(ship(order)).queue("small")).await.unwrap();
    }
    for order in 10..15 {
        outbox.enqueue_in(&mut tx, ship(order)).await.unwrap();
    }
    tx.commit().await.unwrap();
    let moved = outbox.relay().run_once().await.unwrap();
    assert_eq!((moved.moved, moved.refused), (7, 0), "two fit, five go elsewhere");
    assert_eq!(outbox.stats().await.unwrap().entries, 3);
    assert_eq!(outbox.stats().await.unwrap().refused, 0, "it was only not the time");
    target.configure_queue("small", QueueChange::default().max_depth(None)).await.unwrap();
    local.client.backend().advance_clock(Duration::from_secs(2));
    assert_eq!(outbox.relay().run_once().await.unwrap().moved, 3);
    assert_eq!(numbers(&target).await.len(), 10);
}

#[tokio::test]
async fn f08_a_refused_job_is_in_nobodys_way_and_can_be_put_right() {
    let local = Local::open().await;
    let (_folder, path) = place();
    let open = async |limits: Limits| {
        let options = SqliteOptions::new(&path).limits(limits);
        Client::new(Arc::new(SqliteBackend::open(options).await.unwrap()))
    };
    let mut small = Limits::default();
    small.inline_args = 100;
    let (wide, narrow) = (open(Limits::default()).await, open(small).await);
    let generous = Outbox::new(&local.client, &wide);
    let mut tx = local.begin().await;
    let secret = Ship { order: 1, text: "secret".repeat(50) };
    let refused = generous.enqueue_in(&mut tx, secret).await.unwrap();
    for order in 2..6 {
        generous.enqueue_in(&mut tx, ship(order)).await.unwrap();
    }
    tx.commit().await.unwrap();
    let outbox = Outbox::new(&local.client, &narrow);
    let moved = outbox.relay().run_once().await.unwrap();
    assert_eq!((moved.moved, moved.refused), (4, 1));
    let list = outbox.refused(9).await.unwrap();
    assert_eq!((list.len(), list[0].id, list[0].refusals), (1, refused, 1));
    assert!(list[0].error.contains("limit of 100"), "{}", list[0].error);
    assert!(!list[0].error.contains("secret"));
    assert_eq!(outbox.relay().run_once().await.unwrap().refused, 0, "it rests for a while");
    // What was wrong is mended.
    generous.offer_again(&[refused]).await.unwrap();
    assert_eq!(generous.relay().run_once().await.unwrap().moved, 1);
    assert_eq!(numbers(&wide.erase()).await.len(), 5);

    let mut tx = local.begin().await;
    let other =
        generous.enqueue_in(&mut tx, Ship { order: 9, text: "x".repeat(200) }).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(outbox.relay().run_once().await.unwrap().refused, 1);
    outbox.discard(&[other]).await.unwrap();
    assert_eq!(outbox.stats().await.unwrap().entries, 0);
}

/// The future of a relay is dropped after one to eight polls: before, in and after every call it makes.
#[tokio::test]
async fn a_relay_dropped_at_any_point_loses_and_doubles_nothing() {
    let local = Local::open().await;
    let (_folder, path) = place();
    let target = windlass::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    let outbox = Outbox::new(&local.client, &target);
    let mut repeated = 0;
    let mut posted = 0;
    // More than once they stand where it is awaited; a busy machine may take its time to get there.
    while posted < 80 || repeated == 0 {
        assert!(posted < 2_000, "none was dropped between the insert and the removal");
        let number = posted;
        posted += 1;
        let mut tx = local.begin().await;
        outbox.enqueue_in(&mut tx, ship(number)).await.unwrap();
        tx.commit().await.unwrap();
        {
            let relay = outbox.relay();
            let mut run = std::pin::pin!(relay.run_once());
            let mut left = 1 + number % 8;
            std::future::poll_fn(|cx: &mut Poller<'_>| {
                left -= 1;
                match run.as_mut().poll(cx) {
                    Poll::Pending if left > 0 => Poll::Pending,
                    _ => Poll::Ready(()),
                }
            })
            .await;
            // What the last poll has asked for is done, and nobody takes the answer.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // What the dropped one held is free when its time is up.
        local.client.backend().advance_clock(RelayOptions::default().hold);
        repeated += outbox.relay().run_once().await.unwrap().repeated;
        assert_eq!(outbox.stats().await.unwrap().entries, 0);
    }
    let found = numbers(&target).await;
    assert!(found.len() as u64 == posted && found.values().all(|times| *times == 1), "{found:?}");
}

/// While the target is away a relay goes on trying, and moves everything once it is back.
#[tokio::test]
async fn a_relay_outlives_a_target_that_is_away() {
    let local = Local::open().await;
    let (_folder, path) = place();
    let options = SqliteOptions::new(&path).busy_timeout(Duration::from_millis(50));
    let target = Client::new(Arc::new(SqliteBackend::open(options).await.unwrap()));
    let outbox = Outbox::new(&local.client, &target);
    let lock = support::lock(&path).await;
    let mut tx = local.begin().await;
    for order in 0..20 {
        outbox.enqueue_in(&mut tx, ship(order)).await.unwrap();
    }
    tx.commit().await.unwrap();
    let error = outbox.relay().run_once().await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert_eq!(outbox.stats().await.unwrap().refused, 0, "the jobs are not to blame");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let relay = outbox.relay();
    let running = tokio::spawn(async move { relay.run_until(stopped).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(outbox.stats().await.unwrap().entries, 20);
    lock.rollback().await.unwrap();
    while outbox.stats().await.unwrap().entries > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.send(()).unwrap();
    assert_eq!(running.await.unwrap().unwrap().moved, 20);
    assert_eq!(numbers(&target.erase()).await.len(), 20);
}

#[tokio::test]
async fn a_relay_ends_when_a_side_is_closed() {
    let local = Local::open().await;
    let target = windlass::connect("memory:").await.unwrap();
    let outbox = Outbox::new(&local.client, &target);
    local.client.close().await.unwrap();
    let error = outbox.relay().run_until(std::future::pending::<()>()).await.unwrap_err();
    assert!(matches!(error, Error::Closed(_)), "{error}");
}

#[tokio::test]
async fn options_that_cannot_work_are_refused() {
    let local = Local::open().await;
    let target = windlass::connect("memory:").await.unwrap();
    let outbox = Outbox::new(&local.client, &target);
    let wrong: [fn(&mut RelayOptions); 3] =
        [|o| o.batch = 0, |o| o.hold = Duration::from_millis(999), |o| o.poll_max = Duration::ZERO];
    for change in wrong {
        let error = outbox.relay().options(change).run_once().await.unwrap_err();
        assert!(matches!(error, Error::Config(_)), "{error}");
    }
}

/// A host with a SQLite file, and relays that are killed.
async fn kill_relays_of_sqlite(what: &str, target: &str) {
    let (_folder, path) = place();
    let local = Local::at(&path).await;
    kills::kill_relays(what, &local, &format!("sqlite:{}", path.display()), target).await;
}

#[cfg(feature = "redis")]
async fn redis() -> String {
    let server = windlass_test_servers::RedisServer::shared().await.unwrap();
    server.url(&format!("outbox-{}", windlass::JobId::new()))
}

/// Relays are killed at random moments while the host goes on posting: every job arrives, none twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_relays_lose_and_double_nothing() {
    let (_folder, path) = place();
    kill_relays_of_sqlite("sqlite to sqlite", &format!("sqlite:{}", path.display())).await;
}

/// The same with jobs that run on Redis.
#[cfg(feature = "redis")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_relays_to_redis_lose_and_double_nothing() {
    kill_relays_of_sqlite("sqlite to redis", &redis().await).await;
}

/// The same with the data and the outbox in Postgres.
#[cfg(all(feature = "postgres", feature = "redis"))]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_relays_from_postgres_to_redis_lose_and_double_nothing() {
    let server = windlass_test_servers::PostgresServer::shared().await.unwrap();
    let url = server.url(&server.create_database().await.unwrap());
    let host = postgres::PostgresHost::new(&url).await;
    kills::kill_relays("postgres to redis", &host, &url, &redis().await).await;
}

/// The relay of the tests above, in a process of its own.
#[tokio::test]
#[ignore = "the body of the child processes"]
async fn relay_process() {
    let (place, target) = kills::places().await;
    if let Some(path) = place.strip_prefix("sqlite:") {
        let local = Local::at(std::path::Path::new(path)).await;
        return kills::relay(&local.client, &target).await;
    }
    #[cfg(feature = "postgres")]
    kills::relay(postgres::PostgresHost::at(&place).await.client(), &target).await;
}
