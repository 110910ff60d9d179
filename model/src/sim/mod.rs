//! The worker runtime in a simulated world: Tokio's paused clock, one thread, and a seed that decides everything else.
//!
//! Some producers, an operator and a few worker processes share a memory backend through a layer that delays calls, loses
//! requests and replies, and delivers them twice. For a while processes die, leases are lost and the store's clock jumps; then
//! everything heals and all work is drained. Everybody writes down what he asks and is answered, and [`windlass_checker`] checks it as it does the
//! histories of real servers; inside checks look at every step of the store.
//!
//! The same seed gives the same run, to the last line of its trace: nothing here asks the system for time or chance, and the
//! worker takes what is ready in a fixed order. Who meets the store or a handler first of those that are ready at the same moment, the seed draws. A process that dies is cut off from the store for good and its handlers end; its tasks wind down
//! unseen, since tasks of one runtime can't be dropped together.

mod chaos;
mod diary;
mod faulty;
mod figures;
mod handlers;
mod inside;
mod mistake;
mod people;
mod process;
mod summary;
mod trace;
mod unique;
mod watch;
mod world;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use windlass_checker::Findings;

pub use self::faulty::Faulty;
pub use self::figures::Figures;
pub use self::mistake::Mistake;
pub use self::summary::Summary;
pub use self::world::{Plan, World};

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// What runs it again.
    pub command: String,
    /// Time that passed inside.
    pub simulated: Duration,
    /// The hash of its trace.
    pub hash: u64,
    /// What was counted.
    pub figures: Figures,
    /// What the shared checker finds; nothing if the inside checks found something before.
    pub findings: Findings,
    /// What is wrong; nothing in a good run.
    pub broken: Vec<String>,
}

/// The quarantine lane is one per process, and so is the thread's source of chance: one run at a time.
static ONE: Mutex<()> = Mutex::new(());

/// Runs one seed to its end.
///
/// # Errors
/// When there is no runtime to be had.
pub fn run(plan: &Plan) -> std::io::Result<Report> {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    // The worker varies its pauses by this thread's generator.
    fastrand::seed(plan.seed);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let _watch = watch::Watch::new(plan);
    let report = runtime.block_on(async {
        let world = Arc::new(World::new(plan));
        let evidence = world.live().await;
        world.report(&evidence)
    });
    drop(runtime);
    Ok(report)
}
