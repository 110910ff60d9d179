//! A worker process: started, killed, started again.

use std::sync::Arc;
use std::time::Duration;

use windlass_core::{Client, RunningWorker, Worker, WorkerId};

use super::Faulty;
use super::handlers::{self, Odd, Scene, Slow, Work};
use super::world::{GRACE, HEARTBEAT, LEASE, SWEEP, World};

/// Slots of a process.
pub(super) const MAIN: u32 = 4;
pub(super) const SIDE: u32 = 2;
/// Jobs of the slow kind at once.
pub(super) const SLOW: u32 = 2;

/// A process, alive or not.
#[derive(Debug)]
pub(super) struct Process {
    number: usize,
    lives: usize,
    alive: Option<(Arc<Faulty>, RunningWorker)>,
}

impl Process {
    pub(super) fn new(world: &Arc<World>, number: usize) -> Self {
        let mut process = Self { number, lives: 0, alive: None };
        process.ensure(world);
        process
    }

    /// Starts it unless it is alive.
    pub(super) fn ensure(&mut self, world: &Arc<World>) {
        if self.alive.is_some() {
            return;
        }
        self.lives += 1;
        let name = format!("process {}.{}", self.number, self.lives);
        let handle = world.handle(name.clone());
        let client = Client::new(handle.clone());
        let scene = Scene::new(world.clone(), handle.clone());
        let worker = Worker::new(&client)
            .state(scene)
            .options(|o| {
                o.heartbeat_thread = false;
                o.name = Some(name.clone());
                o.lease = LEASE;
                o.heartbeat = HEARTBEAT;
                o.grace = GRACE;
                o.maintenance = SWEEP;
                o.drain = Duration::from_secs(5);
                o.call_timeout = Duration::from_secs(4);
                o.retention = None;
            })
            .register(handlers::work)
            .register(handlers::slow)
            .register(handlers::odd)
            .kind_concurrency::<Slow>(SLOW)
            .queue("main", MAIN)
            .queue("side", SIDE);
        world.line(&format!("{name} starts"));
        // The types are named here so that a kind that loses its handler does not compile.
        let _: [&str; 3] = [kind::<Work>(), kind::<Slow>(), kind::<Odd>()];
        match worker.start() {
            Ok(running) => self.alive = Some((handle, running)),
            Err(error) => world.lock().checker.broken.push(format!("{name}: {error}")),
        }
    }

    pub(super) fn worker(&self) -> Option<WorkerId> {
        self.alive.as_ref().and_then(|(_, running)| running.id())
    }

    pub(super) fn handle(&self) -> Option<&Arc<Faulty>> {
        self.alive.as_ref().map(|(handle, _)| handle)
    }

    /// Cuts it off in the middle of whatever it does.
    pub(super) fn kill(&mut self, world: &World) {
        let Some((handle, running)) = self.alive.take() else { return };
        world.line(&format!("{} dies", handle.name()));
        let mut inner = world.lock();
        inner.checker.died(running.id());
        inner.checker.figures.struck("process killed");
        drop(inner);
        handle.kill();
        running.shutdown_now();
    }

    /// Shuts it down well.
    pub(super) async fn stop(mut self) {
        self.leave().await;
    }

    pub(super) async fn leave(&mut self) {
        if let Some((_, running)) = self.alive.take() {
            let _ = running.stop().await;
        }
    }
}

fn kind<J: windlass_core::Job>() -> &'static str {
    J::KIND
}
