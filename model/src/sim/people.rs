//! Producers, and an operator who meddles.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use windlass_core::{
    Change, ChangeRequest, JobId, Kind, NewJob, OnConflict, Payload, Priority, QueueName, Selector,
    Start, Store, Unique, UniqueKey, UniqueUntil,
};

use super::diary;
use super::world::World;

/// How long people wait for an answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// The queues there are.
pub(super) fn queues() -> [QueueName; 2] {
    ["main", "side"].map(|name| name.parse().unwrap_or_else(|_| unreachable!("a good name")))
}

fn kind(name: &str) -> Kind {
    name.parse().unwrap_or_else(|_| unreachable!("a good name"))
}

/// Sends its share of the jobs, each batch until it is acknowledged or given up.
pub(super) async fn produce(world: Arc<World>, number: usize) {
    let handle = diary::open(&world, format!("producer {number}"));
    let end = Instant::now() + world.plan.trouble;
    let pause = world.plan.trouble.as_millis() / u128::from(world.plan.jobs.max(1));
    let pause = u64::try_from(pause).unwrap_or(1_000).max(1);
    while Instant::now() < end && !world.is_broken() {
        world.rest(Duration::from_millis(world.chance(|rng| rng.u64(0..6 * pause)))).await;
        let count = world.chance(|rng| rng.usize(1..=3));
        let jobs: Vec<_> = (0..count).map(|_| job(&world)).collect();
        for tries in 1.. {
            if let Ok(Ok(_)) = timeout(PATIENCE, handle.insert(&jobs)).await {
                break;
            }
            if tries == 4 && !world.is_healed() {
                break; // it may be there, or not
            }
            world.rest(Duration::from_millis(500 * tries)).await;
        }
    }
}

fn job(world: &World) -> NewJob {
    let number = world.next_job();
    let queues = queues();
    world.chance(|rng| {
        let name = ["work", "work", "slow", "odd"][rng.usize(0..4)];
        let queue = queues[usize::from(rng.u32(0..4) == 0)].clone();
        let args = Payload::json(&serde_json_number(number));
        let args = args.unwrap_or_else(|_| unreachable!("a number is JSON"));
        let mut job = NewJob::new(kind(name), queue, args);
        job.id = JobId::from_uuid(uuid::Uuid::from_u128(number));
        job.priority = Priority([0, 0, -100, 100][rng.usize(0..4)]);
        job.max_attempts = rng.u32(1..6);
        job.timeout = (rng.u32(0..3) > 0).then(|| Duration::from_secs(rng.u64(3..20)));
        if rng.u32(0..4) == 0 {
            job.start = Start::In(Duration::from_millis(rng.u64(1..20_000)));
        }
        if rng.u32(0..3) == 0 {
            job.unique = Some(unique(rng));
        }
        job
    })
}

fn serde_json_number(number: u128) -> super::handlers::Work {
    #[allow(clippy::cast_possible_truncation, reason = "the lower half counts the jobs")]
    super::handlers::Work { number: number as u64 }
}

fn unique(rng: &mut fastrand::Rng) -> Unique {
    let key = UniqueKey::new(format!("key {}", rng.u32(0..4)));
    Unique {
        key: key.unwrap_or_else(|_| unreachable!("a good key")),
        until: match rng.u32(0..3) {
            0 => UniqueUntil::Started,
            1 => UniqueUntil::Finished,
            _ => UniqueUntil::For(Duration::from_secs(rng.u64(1..60))),
        },
        on_conflict: [OnConflict::Keep, OnConflict::Replace, OnConflict::Reject][rng.usize(0..3)],
    }
}

/// Cancels, retries and reschedules jobs that it picks at random.
pub(super) async fn operate(world: Arc<World>) {
    let handle = diary::open(&world, "operator".to_owned());
    let end = Instant::now() + world.plan.trouble;
    let first = u128::from(world.plan.seed) << 64;
    while Instant::now() < end && !world.is_broken() {
        world.rest(Duration::from_millis(world.chance(|rng| rng.u64(500..20_000)))).await;
        let (which, lot) =
            world.chance(|rng| (rng.u64(1..=u64::from(world.plan.jobs)), rng.u32(0..4)));
        let job = JobId::from_uuid(uuid::Uuid::from_u128(first + u128::from(which)));
        let change = match lot {
            0 | 1 => Change::Cancel { reason: Some("no longer wanted".to_owned()) },
            2 => Change::Retry,
            _ => Change::Reschedule { start: Start::In(Duration::from_secs(3)) },
        };
        let request = ChangeRequest::new(Selector::Ids(vec![job]), change);
        let _ = timeout(PATIENCE, handle.change(&request)).await;
    }
}
