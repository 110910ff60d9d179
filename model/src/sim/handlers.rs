//! Jobs and what becomes of them: at each run chance decides anew.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use windlass_checker::Journal;
use windlass_checker::history::What;
use windlass_core::{Backoff, Context, Job, LeaseKey, Outcome, Stop};

use super::diary::{Diary, Recorded};
use super::world::World;

macro_rules! job {
    ($name:ident, $kind:literal) => {
        /// Its result is the number of the run that made it.
        #[derive(Debug, Clone, Serialize, Deserialize)]
        pub(super) struct $name {
            pub(super) number: u64,
        }

        impl Job for $name {
            const KIND: &'static str = $kind;
            const QUEUE: &'static str = "main";
            type Output = u64;
            fn backoff() -> Backoff {
                Backoff::exponential(Duration::from_millis(300), Duration::from_secs(10))
            }
        }
    };
}
job!(Work, "work");
job!(Slow, "slow");
job!(Odd, "odd");

/// What handlers of one process share.
#[derive(Debug)]
pub(super) struct Scene {
    world: Arc<World>,
    backend: Arc<Recorded>,
}

impl Scene {
    pub(super) const fn new(world: Arc<World>, backend: Arc<Recorded>) -> Self {
        Self { world, backend }
    }

    fn diary(&self) -> &Diary {
        self.backend.journal()
    }
}

/// One run of a handler, told of its end however it comes.
struct Run<'a> {
    scene: &'a Scene,
    /// Of the claim that led here.
    key: Option<LeaseKey>,
    number: u64,
    well: bool,
}

impl<'a> Run<'a> {
    fn begin(cx: &'a Context<Scene>) -> Self {
        let scene = cx.state();
        let number = scene.world.next_run();
        let (job, attempt) = (cx.job_id(), cx.attempt());
        let key = scene.diary().key(job, attempt);
        let (kind, queue) = (cx.kind().to_string(), cx.queue().to_string());
        scene.diary().record(match key {
            Some(key) => What::Begun { key, kind, queue, attempt },
            None => What::Unclaimed { job },
        });
        if let Some(key) = key {
            scene.world.lock().inside.run_begins(number, key);
        }
        Self { scene, key, number, well: false }
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.scene.diary().record(What::Ended { key, dropped: !self.well });
        }
        if self.well {
            self.scene.world.lock().inside.run_ends_well(self.number);
        }
    }
}

pub(super) async fn work(_: Work, cx: Context<Scene>) -> Outcome<u64> {
    run(&cx, false).await
}

pub(super) async fn slow(_: Slow, cx: Context<Scene>) -> Outcome<u64> {
    run(&cx, true).await
}

pub(super) async fn odd(_: Odd, cx: Context<Scene>) -> Outcome<u64> {
    run(&cx, false).await
}

async fn run(cx: &Context<Scene>, slow: bool) -> Outcome<u64> {
    let mut run = Run::begin(cx);
    let handle = cx.state().diary().handle();
    tokio::select! {
        biased;
        () = handle.dead() => return Err(Stop::retry("the process is dead")),
        end = act(cx, slow) => end?,
    }
    run.well = true;
    Ok(run.number)
}

async fn healed(world: &World) {
    while !world.is_healed() {
        world.rest(Duration::from_secs(1)).await;
    }
}

async fn act(cx: &Context<Scene>, slow: bool) -> Outcome {
    let world = &cx.state().world;
    world.turn().await;
    let ms = Duration::from_millis;
    let most = if slow { 15_000 } else { 400 };
    let (lot, time, pause) =
        world.chance(|rng| (rng.u32(0..100), ms(rng.u64(0..most)), ms(rng.u64(0..5_000))));
    if world.is_healed() {
        world.rest(ms(5)).await;
        return Ok(());
    }
    world.rest(time).await;
    match lot {
        0..8 => Err(Stop::retry("it failed")),
        8..12 => Err(Stop::retry_after(pause, "it failed for a while")),
        12..18 => Err(Stop::snooze(pause)),
        18..20 => Err(Stop::discard("it is no use")),
        20..22 => Err(Stop::cancel("it is not wanted")),
        // Without the hook, which would print.
        22..26 => std::panic::resume_unwind(Box::new("a simulated panic")),
        26..29 => {
            tokio::select! {
                biased;
                _ = cx.cancelled() => {}
                () = healed(world) => {}
            }
            world.turn().await;
            Err(Stop::retry("it was told to end"))
        }
        29..31 => {
            // Deaf as well: past its deadline it is aborted.
            healed(world).await;
            Ok(())
        }
        31..40 => {
            cx.progress(u64::from(lot));
            cx.follow_up(Work { number: 0 }).await?;
            Ok(())
        }
        40..45 => {
            cx.log(windlass_core::LogLevel::Info, "at work");
            world.rest(time).await;
            Ok(())
        }
        _ => Ok(()),
    }
}
