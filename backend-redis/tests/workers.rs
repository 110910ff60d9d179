//! What keeps a worker alive.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::watch::{Asked, Watch};
use common::{Place, completion, job};
use serde::{Deserialize, Serialize};
use windlass_core::{
    Client, Context, Heartbeat, Job, Outcome, Queue, State, Store, Worker, WorkerId,
};
use windlass_test_servers::RedisServer;

/// Who sent the scripts.
fn senders(heard: &[Asked]) -> Vec<&str> {
    heard.iter().filter(|asked| asked.is_script()).map(|asked| asked.by.as_str()).collect()
}

async fn beat(place: &Place, worker: WorkerId) {
    let beat = place.backend.heartbeat(worker, &[]).await.unwrap();
    assert!(matches!(beat, Heartbeat::Alive { .. }), "{beat:?}");
}

/// F3: heartbeats have a connection of their own, behind nothing else, and one that broke costs no heartbeat.
#[tokio::test]
async fn f03_a_heartbeat_waits_behind_nothing_and_has_a_second_try() {
    let server = RedisServer::builder().start().await.unwrap();
    let place = Place::on(&server).await;
    let (worker, other) = (place.worker().await, place.worker().await);
    // The server knows the scripts from here on.
    beat(&place, worker).await;
    let mut watch = Watch::of(&place).await;
    let lease = place.run(worker, job()).await;
    place.backend.settle(&[completion(&lease)]).await.unwrap();
    place.backend.list(&Default::default()).await.unwrap();
    let heard = watch.heard().await;
    let rest: Vec<String> = senders(&heard).into_iter().map(str::to_owned).collect();
    beat(&place, worker).await;
    beat(&place, other).await;
    let heard = watch.heard().await;
    let [one, two] = senders(&heard)[..] else { panic!("{heard:?}") };
    assert!(one != two && !rest.iter().any(|by| by == one || by == two), "{one} {two} {rest:?}");
    server.command(&["CLIENT", "KILL", "ADDR", one]).await.unwrap();
    beat(&place, worker).await;
}

#[derive(Serialize, Deserialize)]
struct Task;

impl Job for Task {
    const KIND: &'static str = "task";
    const QUEUE: &'static str = "q";
    type Output = ();
}

async fn task(_: Task, _: Context) -> Outcome {
    Ok(())
}

/// A key that holds something else stops what needs it, and nobody dies of it: when it is gone, all goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_type_ends_no_worker() {
    let server = RedisServer::builder().start().await.unwrap();
    for (key, role) in
        [(":done:5", "the ends of jobs"), (":feed", "everything"), (":leases", "heartbeats")]
    {
        let mut place = Place::on(&server).await;
        let client = Client::new(Arc::new(place.backend.clone()));
        let worker = Worker::new(&client)
            .options(|o| {
                o.lease = Duration::from_secs(3);
                o.heartbeat = Duration::from_secs(1);
            })
            .register::<Task, _>(task)
            .queue("q", 4)
            .start()
            .unwrap();
        let first = client.enqueue(Task).await.unwrap();
        first.result().await.unwrap();
        place.command("RENAME", key, &[&format!("{}:away", place.namespace)]).await;
        place.command("SET", key, &["something else"]).await;
        let spoiled = client.enqueue(Task).await;
        let mut watch = Watch::of(&place).await;
        // The worker has run into it some times: with scripts that fail, or calls that it repeats.
        let until = Instant::now() + Duration::from_secs(60);
        let mut asked = 0;
        while asked < 12 {
            asked += watch.heard().await.iter().filter(|asked| asked.is_script()).count();
            assert!(Instant::now() < until, "{role}: the worker asks no more");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        place.command("DEL", key, &[]).await;
        let back = format!("{}:away", place.namespace);
        let own = format!("{}{key}", place.namespace);
        let () =
            redis::cmd("RENAME").arg(back).arg(own).query_async(&mut place.conn).await.unwrap();
        let task = match spoiled {
            Ok(task) => task,
            Err(_) => client.enqueue(Task).await.unwrap(),
        };
        let done = tokio::time::timeout(Duration::from_secs(60), task.result()).await;
        done.unwrap_or_else(|_| panic!("{role}: the job does not end")).unwrap();
        let stats = client.stats().await.unwrap();
        assert_eq!(stats.in_state(State::Discarded), 0, "{role}");
        worker.stop().await.unwrap();
    }
}
