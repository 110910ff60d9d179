//! Relays in processes of their own, several at once, that are killed at random while a host goes on posting.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use windlass::outbox::{Outbox, OutboxStore};
use windlass::{Client, Context, JobId, Outcome, Worker};

use super::Ship;
use super::support::{Host, numbers};

const LOCAL: &str = "WINDLASS_TEST_LOCAL";
const TARGET: &str = "WINDLASS_TEST_TARGET";
/// Relays at once.
const RELAYS: usize = 3;
/// For how long they are killed at least, and how many of them.
const STORM: (Duration, u32) = (Duration::from_secs(6), 12);
/// Until the storm ends though the relays got nothing done.
const PATIENCE: Duration = Duration::from_secs(90);

/// A relay that is killed when it is dropped.
struct Victim(Child);

impl Victim {
    fn spawn(local: &str, target: &str) -> Self {
        let relay = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "relay_process", "--ignored", "--nocapture"])
            .env(LOCAL, local)
            .env(TARGET, target)
            .stdout(Stdio::null())
            .spawn();
        Self(relay.unwrap())
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Victim {
    /// By SIGKILL.
    fn drop(&mut self) {
        // It may have ended by itself, which the test finds by what it left undone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where the relay of a child process finds its outbox, and where its jobs go.
pub(crate) async fn places() -> (String, Client) {
    let target = windlass::connect(&std::env::var(TARGET).unwrap()).await.unwrap();
    (std::env::var(LOCAL).unwrap(), target)
}

/// Relays until it is killed.
pub(crate) async fn relay<B: OutboxStore>(local: &Client<B>, target: &Client) {
    let relay = Outbox::new(local, target).relay().options(|o| {
        o.hold = Duration::from_secs(1);
        o.batch = 20;
    });
    relay.run_until(std::future::pending::<()>()).await.unwrap();
}

async fn handle(_: Ship, _: Context) -> Outcome {
    Ok(())
}

/// Posts in a transaction with a row; one in five is rolled back.
async fn order<H: Host>(host: &H, outbox: &Outbox<H::Backend>, order: u32) -> Option<JobId> {
    let mut tx = host.begin().await;
    let id = outbox.enqueue_in(&mut *tx, super::ship(order.into())).await.unwrap();
    host.put_row(&mut tx, order.into()).await;
    if order.is_multiple_of(5) {
        tx.rollback().await.unwrap();
        return None;
    }
    tx.commit().await.unwrap();
    Some(id)
}

/// Posts, kills relays, and looks whether each job that was committed arrived exactly once. `place` is where children find the host's database.
pub(crate) async fn kill_relays<H: Host>(what: &str, host: &H, place: &str, target: &str) {
    let client = windlass::connect(target).await.unwrap();
    let outbox = Outbox::new(host.client(), &client);
    let worker = Worker::new(&client).register(handle).queue("default", 20).start().unwrap();
    let started = Instant::now();
    let (mut orders, mut kills) = (0_u32, 0);
    let mut ids: Vec<JobId> = Vec::new();
    let mut by_relays = 0;
    let mut relays: Vec<_> = (0..RELAYS).map(|_| Victim::spawn(place, target)).collect();
    let mut next = started;
    while started.elapsed() < STORM.0 || kills < STORM.1 || by_relays == 0 {
        assert!(started.elapsed() < PATIENCE, "{what}: the relays that are killed move nothing");
        orders += 1;
        ids.extend(order(host, &outbox, orders).await);
        if Instant::now() >= next {
            next = Instant::now() + Duration::from_millis(fastrand::u64(30..300));
            let one = &mut relays[fastrand::usize(..RELAYS)];
            assert!(!one.has_ended(), "{what}: a relay ended by itself");
            *one = Victim::spawn(place, target);
            kills += 1;
            by_relays = ids.len() as u64 - outbox.stats().await.unwrap().entries;
        }
    }
    drop(relays);
    by_relays = ids.len() as u64 - outbox.stats().await.unwrap().entries;
    let mut repeated = 0;
    while outbox.stats().await.unwrap().entries > 0 {
        repeated += outbox.relay().run_once().await.unwrap().repeated;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let found = numbers(&client).await;
    let rows = host.orders().await;
    let missing = rows.iter().filter(|order| !found.contains_key(&order.unsigned_abs())).count();
    let total: u32 = found.values().sum();
    let doubled = total as usize - found.len();
    println!(
        "{what}: {kills} kills of {RELAYS} relays at once, committed {}, moved {total}, of which {by_relays} by relays that were killed \
         and {repeated} again at the end, missing {missing}, doubled {doubled}",
        rows.len()
    );
    assert_eq!(ids.len(), rows.len());
    assert_eq!((missing, doubled), (0, 0), "{what}");
    assert_eq!(found.len(), rows.len(), "{what}: nothing but what was committed");
    for id in ids {
        let job = client.handle::<Ship>(id);
        job.result().await.unwrap();
        assert_eq!(job.record().await.unwrap().unwrap().attempt, 1, "{what}: {id} ran twice");
    }
    worker.shutdown();
    worker.join().await.unwrap();
}
