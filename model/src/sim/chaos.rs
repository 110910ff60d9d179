//! Faults beside those of single calls: dead processes, lost leases, clock jumps, partitions.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;
use windlass_checker::history::What;
use windlass_core::{MemoryBackend, Queue, QueueChange, Store};

use super::people;
use super::process::Process;
use super::world::{LEASE, World};

/// Makes trouble for as long as the plan says.
pub(super) async fn reign(world: &Arc<World>, processes: &mut [Process]) {
    let end = Instant::now() + world.plan.trouble;
    while Instant::now() < end && !world.is_broken() {
        world.rest(Duration::from_millis(world.chance(|rng| rng.u64(100..12_000)))).await;
        let (lot, at) = world.chance(|rng| (rng.u32(0..100), rng.usize(0..processes.len())));
        if world.plan.deaths_only {
            die_alone(world, processes, at);
            continue;
        }
        let process = &mut processes[at];
        match lot {
            0..25 => process.kill(world),
            25..45 => process.ensure(world),
            45..55 => lose_lease(world, process),
            55..63 => jump(world),
            63..73 => cut_off(world, process),
            73..80 => {
                world.line("a process restarts");
                struck(world, "process restarted");
                process.leave().await;
                process.ensure(world);
            }
            80..90 => pause(world),
            _ => {}
        }
    }
}

fn struck(world: &World, sort: &'static str) {
    world.lock().inside.figures.struck(sort);
}

/// One dies while all are alive; otherwise the one that is dead comes back.
fn die_alone(world: &Arc<World>, processes: &mut [Process], at: usize) {
    if processes.iter().all(|process| process.handle().is_some()) {
        processes[at].kill(world);
    } else {
        processes.iter_mut().for_each(|process| process.ensure(world));
    }
}

/// Its lease ends, and nobody tells the process.
fn lose_lease(world: &World, process: &Process) {
    let Some(worker) = process.worker() else { return };
    world.line("a lease is lost");
    struck(world, "lease lost");
    world.record("conductor", What::LeaseEnded { worker });
    let leave = |memory: &MemoryBackend| memory.deregister(worker).now_or_never();
    world.step("deregister", leave, |inside, _| inside.unleased(worker));
}

/// The store's clock goes ahead, mostly by more than a lease.
fn jump(world: &World) {
    let by = world.chance(|rng| {
        if rng.bool() { LEASE.mul_f64(2.0 * rng.f64()) } else { Duration::from_secs(3_600) }
    });
    world.line(&format!("the clock jumps by {by:?}"));
    struck(world, "clock jump");
    world.fault("clock jump", None, || world.memory.advance(by));
}

/// Nothing comes through for a while.
fn cut_off(world: &World, process: &Process) {
    let Some(handle) = process.handle() else { return };
    let time = Duration::from_millis(world.chance(|rng| rng.u64(500..25_000)));
    world.line(&format!("{} is cut off for {time:?}", handle.name()));
    struck(world, "process cut off");
    handle.cut_off(Instant::now() + time);
}

fn pause(world: &World) {
    let (which, paused) = world.chance(|rng| (rng.usize(0..2), rng.bool()));
    let change = QueueChange::default().paused(paused);
    let queue = &people::queues()[which];
    world.line(&format!("queue {queue} paused: {paused}"));
    let call = world.memory.configure_queue(queue, &change);
    let _ = call.now_or_never();
}
