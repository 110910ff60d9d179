//! A worker process: started, killed, started again.

use std::sync::Arc;
use std::time::Duration;

use windlass_checker::Limit;
use windlass_checker::history::What;
use windlass_core::{Client, RunningWorker, Worker, WorkerId};

use super::Faulty;
use super::diary::{self, Recorded};
use super::handlers::{self, Odd, Scene, Slow, Work};
use super::world::{CALL, GRACE, HEARTBEAT, LEASE, SWEEP, World};

/// Slots of a process.
const MAIN: u32 = 4;
const SIDE: u32 = 2;
/// Jobs of the slow kind at once.
const SLOW: u32 = 2;

/// What each process may run at once.
pub(super) fn limits() -> Vec<Limit> {
    let limit =
        |name: &str, of_kind, built| Limit { name: name.to_owned(), of_kind, built, set: None };
    vec![limit("main", false, MAIN), limit("side", false, SIDE), limit(kind::<Slow>(), true, SLOW)]
}

/// A process, alive or not.
#[derive(Debug)]
pub(super) struct Process {
    number: usize,
    lives: usize,
    alive: Option<(Arc<Recorded>, RunningWorker)>,
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
        let backend = diary::open(world, name.clone());
        let client = Client::new(backend.clone());
        let scene = Scene::new(world.clone(), backend.clone());
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
                o.call_timeout = CALL;
                o.retention = None;
            })
            .register(handlers::work)
            .register(handlers::slow)
            .register(handlers::odd)
            .kind_concurrency::<Slow>(SLOW)
            .queue("main", MAIN)
            .queue("side", SIDE);
        world.line(&format!("{name} starts"));
        world.record("conductor", What::Born { name: name.clone(), second: false });
        // The types are named here so that a kind that loses its handler does not compile.
        let _: [&str; 3] = [kind::<Work>(), kind::<Slow>(), kind::<Odd>()];
        match worker.start() {
            Ok(running) => self.alive = Some((backend, running)),
            Err(error) => world.lock().inside.wrong(format!("{name}: {error}")),
        }
    }

    pub(super) fn worker(&self) -> Option<WorkerId> {
        self.alive.as_ref().and_then(|(_, running)| running.id())
    }

    pub(super) fn handle(&self) -> Option<&Faulty> {
        self.alive.as_ref().map(|(backend, _)| &**backend.journal().handle())
    }

    /// Cuts it off in the middle of whatever it does.
    pub(super) fn kill(&mut self, world: &World) {
        let Some((backend, running)) = self.alive.take() else { return };
        let handle = backend.journal().handle();
        let name = handle.name().to_owned();
        world.line(&format!("{name} dies"));
        let mut inner = world.lock();
        inner.inside.died(running.id());
        inner.inside.figures.struck("process killed");
        drop(inner);
        world.fault("worker killed", Some(&name), || {
            world.record("conductor", What::Died { name: name.clone() });
        });
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
