//! A run: what was started, the faults that it goes through, and the evidence that is left.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use windlass_checker::history::What;
use windlass_checker::{Evidence, Promises};
use windlass_test_servers::clock_ahead;

use super::aside::{AGE, Aside};
use super::follow::Follower;
use super::gather::{self, Direct};
use super::met;
use super::place::Place;
use super::plan::{Dice, FaultKind, Length, Plan};
use super::processes::{Gone, Processes, Role};
use super::stop::Stop;
use crate::Result;
use crate::history::{self, History};
use crate::jobs;
use crate::task::LEASE;

const HOUR: Duration = Duration::from_secs(3_600);
/// How long everything may take to end once all is healed.
const DRAIN: Duration = Duration::from_secs(120);
/// Between two measurements of memory.
const MEASURE: Duration = Duration::from_secs(1);
/// Bytes that must be free where the evidence is: it is worth nothing if its end is missing.
const ROOM: u64 = 256 << 20;
/// How many processes may end by themselves before nothing more is to be learnt.
const ENDS: usize = 20;

/// What was started.
pub(super) struct Run {
    /// Where the evidence is.
    pub(super) folder: PathBuf,
    pub(super) place: Place,
    pub(super) processes: Processes,
    pub(super) history: History,
    /// Around all faults.
    pub(super) direct: Direct,
    pub(super) follower: Follower,
    /// What was taken out of the store, if it is to stay small.
    pub(super) aside: Option<Aside>,
    /// Of the last fault.
    pub(super) number: u32,
    /// How far the clock of a process was set ahead.
    pub(super) hours: u32,
    /// What is wrong with the database or the processes.
    pub(super) damage: Vec<String>,
}

impl Run {
    /// Injects faults for so long, or until that is to end.
    pub(super) async fn faults(
        &mut self,
        plan: &mut Plan,
        length: Length,
        stop: &Stop,
    ) -> Result<()> {
        let begun = Instant::now();
        // So that there is something to lose.
        self.quiet(Duration::from_secs(2), stop).await?;
        while !plan.is_done(length, begun.elapsed()) && !stop.asked() {
            let Some(kind) = plan.draw() else { break };
            let rest = plan.rest(kind).unwrap_or_default();
            self.quiet(rest.before, stop).await?;
            if stop.asked() {
                break;
            }
            self.number += 1;
            let dice = plan.dice(self.number);
            let count = self.strike(kind, dice).await?;
            plan.made(kind, count, length);
            self.quiet(plan.quiet().max(rest.after), stop).await?;
            if let Some(aside) = &mut self.aside {
                aside.put(&self.direct, AGE).await?;
            }
        }
        Ok(())
    }

    /// Lets time pass, and measures.
    async fn quiet(&mut self, length: Duration, stop: &Stop) -> Result<()> {
        let end = Instant::now() + length;
        loop {
            self.processes.measure();
            // None may: that is red, and the run goes on.
            self.damage.extend(self.processes.replace_ended().await?);
            if self.damage.len() > ENDS {
                return Err("too many processes end by themselves".into());
            }
            if free(&self.folder)? < ROOM {
                return Err(format!("less than {ROOM} bytes are free for the evidence").into());
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || stop.asked() {
                return Ok(());
            }
            tokio::select! {
                () = tokio::time::sleep(left.min(MEASURE)) => {}
                () = stop.news() => {}
            }
        }
    }

    /// Begins a fault, holds it, and heals it. Answers what it met.
    async fn strike(&mut self, kind: FaultKind, mut dice: Dice) -> Result<u64> {
        let count = match kind {
            FaultKind::WorkerKilled => self.kill(kind, Role::Worker, &mut dice).await?,
            FaultKind::ProducerKilled => self.kill(kind, Role::Producer, &mut dice).await?,
            FaultKind::WorkerStopped => self.stop(kind, &mut dice).await?,
            FaultKind::KilledInCommit => self.kill_in_commit(kind).await?,
            FaultKind::AllKilled => self.kill_all(kind).await?,
            FaultKind::ClockOfProcess => self.move_clock(kind, &mut dice).await?,
            _ => {
                self.begin(kind, None);
                let (history, number) = (&self.history, self.number);
                let mark = |moment| history.record(What::Moment { number, moment });
                self.place.strike(kind, &mut dice, &mark).await?
            }
        };
        self.history.record(What::Healed { number: self.number, count });
        Ok(count)
    }

    fn begin(&self, kind: FaultKind, victim: Option<&str>) {
        let (number, kind) = (self.number, kind.name().to_owned());
        self.history.record(What::Fault { number, kind, victim: victim.map(str::to_owned) });
    }

    async fn kill(&mut self, kind: FaultKind, role: Role, dice: &mut Dice) -> Result<u64> {
        let names = self.processes.victims(role);
        let Some(victim) = dice.one_of(&names) else {
            self.begin(kind, None);
            return Ok(0);
        };
        self.begin(kind, Some(victim));
        let gone = self.processes.kill(victim).await?;
        self.replace(gone)
    }

    /// Starts another in place of one that was killed. Answers whether it lived until then.
    fn replace(&mut self, gone: Gone) -> Result<u64> {
        let met = u64::from(gone.was_killed());
        self.damage.extend(gone.wrong());
        self.processes.start(gone.role, gone.env)?;
        Ok(met)
    }

    async fn stop(&mut self, kind: FaultKind, dice: &mut Dice) -> Result<u64> {
        let names = self.processes.victims(Role::Worker);
        let Some(victim) = dice.one_of(&names) else {
            self.begin(kind, None);
            return Ok(0);
        };
        self.begin(kind, Some(victim));
        let stopped = self.processes.stop(victim).await?;
        tokio::time::sleep(LEASE + dice.between(1.0, 4.0)).await;
        self.processes.go_on(victim)?;
        Ok(u64::from(stopped))
    }

    /// Stops the one of these that holds the write lock of the database.
    async fn writer(&self, names: &[String]) -> Result<Option<String>> {
        let Place::Sqlite(place) = &self.place else { return Ok(None) };
        let writer = place.stop_writer(self.processes.pids(names)).await?;
        Ok(writer.and_then(|pid| self.processes.name_of(pid)))
    }

    async fn kill_in_commit(&mut self, kind: FaultKind) -> Result<u64> {
        let names = self.processes.victims(Role::Worker);
        let writer = self.writer(&names).await?;
        self.begin(kind, writer.as_deref());
        let Some(victim) = writer else { return Ok(0) };
        let gone = self.processes.kill(&victim).await?;
        let met = self.replace(gone)?;
        self.damage.extend(self.place.damage().await?);
        Ok(met)
    }

    /// Kills everything at once, looks whether the database is whole, and starts everything. Nobody else has it open meanwhile, so that it
    /// must recover from its log.
    async fn kill_all(&mut self, kind: FaultKind) -> Result<u64> {
        self.follower.pause().await;
        self.direct.close().await;
        let names =
            [Role::Worker, Role::Producer].map(|role| self.processes.victims(role)).concat();
        let writer = self.writer(&names).await?;
        self.begin(kind, None);
        let all = self.processes.kill_all(&names).await?;
        self.damage.extend(self.place.damage().await?);
        for gone in all {
            self.damage.extend(gone.wrong());
            self.processes.start(gone.role, Vec::new())?;
        }
        self.direct = gather::open(&self.place.direct()).await?;
        self.follower.resume().await?;
        Ok(u64::from(writer.is_some()))
    }

    /// Puts a worker in the place of another; its clock is another hour ahead.
    async fn move_clock(&mut self, kind: FaultKind, dice: &mut Dice) -> Result<u64> {
        let names = self.processes.victims(Role::Worker);
        let victim = dice.one_of(&names);
        // It is a fault of all that share the database: no more the victim's than anybody's.
        self.begin(kind, None);
        let Some(victim) = victim else { return Ok(0) };
        self.hours += 1;
        let env = clock_ahead(HOUR * self.hours)?;
        let gone = self.processes.kill(victim).await?;
        self.damage.extend(gone.wrong());
        let name = self.processes.start(Role::Worker, env)?;
        // Until it has registered, and a little longer.
        let held = Duration::from_secs(2);
        Ok(met::hold(held, || async { u64::from(self.processes.has_written(&name)) }).await)
    }

    /// The server and its version.
    pub(super) async fn server(&self) -> Result<String> {
        match self.place.version().await? {
            Some(redis) => Ok(format!("Redis {redis}")),
            None => self.direct.version().await,
        }
    }

    /// Ends whatever may still be wrong after a fault that failed.
    pub(super) async fn heal(&mut self) -> Result<()> {
        self.processes.all_go_on();
        self.place.heal().await?;
        self.direct = gather::open(&self.place.direct()).await?;
        self.follower.resume().await
    }

    /// Lets everything end, and reads what is in the store.
    pub(super) async fn gather(&mut self, promises: Promises) -> Result<Evidence> {
        self.damage.extend(self.processes.end(Role::Producer).await?);
        gather::drain(&self.direct, DRAIN).await?;
        self.damage.extend(self.processes.end(Role::Worker).await?);
        self.damage.extend(self.place.damage().await?);
        let (mut jobs, mut last) = gather::read_jobs(&self.direct, &[], |_| true).await?;
        if let Some(aside) = &mut self.aside {
            self.damage.extend(aside.join(&mut jobs, &mut last));
        }
        let (told, wrong) = self.follower.end(last).await;
        self.damage.extend(wrong);
        let evidence = Evidence {
            entries: history::read(&self.folder.join("histories"))?,
            jobs,
            told: Some(told),
            steady: self.processes.spared(Role::Worker),
            effects: self.direct.effects().await?,
            rows: self.direct.rows().await?,
            damage: std::mem::take(&mut self.damage),
            limits: jobs::limits(),
            promises,
        };
        gather::keep(&evidence, &self.folder)?;
        Ok(evidence)
    }
}

/// Bytes that are free on the file system of a folder.
fn free(folder: &Path) -> Result<u64> {
    let of = rustix::fs::statvfs(folder)?;
    Ok(of.f_bavail.saturating_mul(of.f_frsize))
}
