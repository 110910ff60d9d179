//! The fence, with two workers and two jobs, explored in every order of events: crashes, lost requests and replies, leases
//! that run out too early, jobs that are rescued, messages that come twice, and an epoch that is issued again after a
//! failover to an older state.
//!
//! The rows move by [`windlass_core::machine`], so that the model can't drift from the library. Time is not modelled: a lease
//! may run out at any moment, which is more than any clock can do.

mod guard;
mod store;
mod world;

use std::collections::BTreeSet;

use stateright::{Model, Property};
use windlass_core::{ClaimId, WorkerId};

pub use self::guard::{Flaw, Guard};
pub use self::store::{Answer, Db, Held, Outcome, Row, Ticket, Wrong};
pub use self::world::{Action, Budget, Message, Process, World};

/// The property that fails when a stale holder got through.
pub const NO_STALE: &str = "a stale holder is never accepted";
/// The property that fails when a claim finished twice.
pub const ONCE: &str = "a claim finishes at most once";
/// The property that fails when an attempt was not counted, or counted twice.
pub const ATTEMPTS: &str = "attempts are claims less those given back";
/// The property that fails when a final state changed.
pub const FINAL: &str = "final states don't change";
/// The property that fails when a job is stuck.
pub const NOT_LOST: &str = "all jobs end once nothing goes wrong any more";

const ALL: [Outcome; 3] = [Outcome::Done, Outcome::Failed, Outcome::Released];

/// A store with a guard, and how much may happen to it.
#[derive(Debug, Clone, Copy)]
pub struct Small {
    /// The guard before a settlement.
    pub guard: Guard,
    /// What else the store does wrong.
    pub flaw: Option<Flaw>,
    /// Jobs.
    pub jobs: u8,
    /// How attempts may end.
    pub outcomes: &'static [Outcome],
    /// How much may happen.
    pub budget: Budget,
}

impl Small {
    /// Two workers and two jobs behind this guard, on a network that loses, delays and doubles.
    #[must_use]
    pub const fn troubled(guard: Guard) -> Self {
        let budget =
            Budget { claims: 2, resends: 1, doubles: 1, crashes: 0, workers: 2, snapshots: 0 };
        Self { guard, flaw: None, jobs: 2, outcomes: &[Outcome::Done, Outcome::Released], budget }
    }

    /// The same with a process that dies, and starts again as another incarnation.
    #[must_use]
    pub const fn crashing(guard: Guard) -> Self {
        let budget =
            Budget { claims: 2, resends: 0, doubles: 0, crashes: 1, workers: 3, snapshots: 0 };
        Self { guard, flaw: None, jobs: 2, outcomes: &ALL, budget }
    }

    /// The same with a failover to an older state, after which an epoch may be issued again.
    #[must_use]
    pub const fn failing_over(guard: Guard) -> Self {
        let budget =
            Budget { claims: 2, resends: 0, doubles: 0, crashes: 0, workers: 2, snapshots: 1 };
        Self { guard, flaw: None, jobs: 2, outcomes: &ALL, budget }
    }

    /// A crash, a lost reply and an epoch that is issued again, all in one run, over one job that all want.
    #[must_use]
    pub const fn everything(guard: Guard) -> Self {
        let budget =
            Budget { claims: 2, resends: 1, doubles: 0, crashes: 1, workers: 2, snapshots: 1 };
        Self { guard, flaw: None, jobs: 1, outcomes: &[Outcome::Done, Outcome::Released], budget }
    }

    /// Nothing goes wrong but that leases run out and messages are late.
    #[must_use]
    pub const fn late(guard: Guard) -> Self {
        let budget =
            Budget { claims: 2, resends: 0, doubles: 0, crashes: 0, workers: 2, snapshots: 0 };
        Self { guard, flaw: None, jobs: 2, outcomes: &[Outcome::Done], budget }
    }

    /// Whether a sender's lease is good, where a guard cares; otherwise states that nothing tells apart would be two.
    fn in_lease(&self, world: &World, worker: WorkerId) -> bool {
        self.guard == Guard::Clock && world.db.is_alive(worker)
    }

    fn deliver(&self, world: &mut World, message: Message) {
        match message {
            Message::Claim { from, claim_id, resend } => {
                let answer = world.db.claim(from, claim_id, resend);
                world.network.insert(Message::Claimed { to: from, claim_id, answer });
            }
            Message::Settle { from, held, outcome, in_lease } => {
                let how = (outcome, in_lease);
                let (answer, wrong) = world.db.settle((self.guard, self.flaw), from, &held, how);
                world.wrong.extend(wrong);
                world.network.insert(Message::Settled { to: from, key: held.key, answer });
            }
            Message::Claimed { to, claim_id, answer } => {
                let Some(process) = process_of(world, to) else { return };
                if process.claiming != Some(claim_id) {
                    return;
                }
                match answer {
                    Ok(held) => (process.claiming, process.running) = (None, held),
                    Err(()) => *process = Process::default(),
                }
            }
            Message::Settled { to, key, .. } => {
                if let Some(process) = process_of(world, to)
                    && process.settling.is_some_and(|(held, _)| held.key == key)
                {
                    process.settling = None;
                }
            }
        }
    }
}

fn process_of(world: &mut World, worker: WorkerId) -> Option<&mut Process> {
    world.processes.iter_mut().find(|process| process.worker == Some(worker))
}

fn nth<T>(n: u8, make: fn(uuid::Uuid) -> T) -> T {
    make(uuid::Uuid::from_u128(n.into()))
}

/// What a heartbeat would bring: whether the lease is gone, whether the job is another's by now, and a job to give back.
fn news(world: &World, process: &Process) -> Option<(bool, bool, Option<Held>)> {
    let worker = process.worker?;
    let gone = !world.db.is_alive(worker);
    let runs = |held: &Held| world.db.rows.iter().any(|row| row.key() == Some(held.key));
    let lost = process.running.is_some_and(|held| !runs(&held));
    let mine = world.db.rows.iter().filter(|row| row.owner == Some(worker));
    let unknown = mine.filter_map(Row::held).find(|held| !process.knows(&held.key));
    let sent = |back: &Held| {
        world.network.iter().any(|message| match message {
            Message::Settle { from, held, outcome, .. } => {
                (*from, held.key, *outcome) == (worker, back.key, Outcome::Released)
            }
            _ => false,
        })
    };
    let back = unknown.filter(|back| !sent(back));
    (gone || lost || back.is_some()).then_some((gone, lost, back))
}

fn process_actions(model: &Small, world: &World, at: usize, actions: &mut Vec<Action>) {
    let process = &world.processes[at];
    let Some(worker) = process.worker else {
        if world.left.workers > 0 {
            actions.push(Action::Register(at));
        }
        return;
    };
    if process.is_idle() && world.left.claims > 0 {
        actions.push(Action::Claim(at));
    }
    if process.running.is_some() {
        actions.extend(model.outcomes.iter().map(|outcome| Action::Finish(at, *outcome)));
    }
    let resend = process.unanswered(model.in_lease(world, worker));
    let resend = resend.filter(|message| !world.network.contains(message));
    if resend.is_some() && world.left.resends > 0 {
        actions.push(Action::Resend(at));
    }
    if news(world, process).is_some() {
        actions.push(Action::Heartbeat(at));
    }
    if world.left.crashes > 0 {
        actions.push(Action::Crash(at));
    }
}

impl Model for Small {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            db: Db::new(self.jobs.into()),
            snapshot: None,
            processes: vec![Process::default(); 2],
            network: BTreeSet::new(),
            left: self.budget,
            wrong: BTreeSet::new(),
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if !world.wrong.is_empty() {
            return;
        }
        for at in 0..world.processes.len() {
            process_actions(self, world, at, actions);
        }
        for message in &world.network {
            actions.push(Action::Deliver(*message, false));
            if world.left.doubles > 0 && message.is_request() {
                actions.push(Action::Deliver(*message, true));
            }
        }
        actions.extend(world.db.alive().map(Action::Expire));
        let orphan = |job: &usize| world.db.is_orphan(*job, self.flaw);
        actions.extend((0..world.db.rows.len()).filter(orphan).map(Action::Rescue));
        if world.left.snapshots > 0 {
            actions.push(Action::Snapshot);
        }
        if world.snapshot.is_some() {
            actions.push(Action::Restore);
        }
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        match action {
            Action::Register(at) => {
                let worker = nth(world.left.workers, WorkerId::from_uuid);
                world.left.workers -= 1;
                world.db.register(worker);
                world.processes[at].worker = Some(worker);
            }
            Action::Claim(at) => {
                let from = world.processes[at].worker?;
                let claim_id = nth(world.left.claims, ClaimId::from_uuid);
                world.left.claims -= 1;
                world.processes[at].claiming = Some(claim_id);
                world.network.insert(Message::Claim { from, claim_id, resend: false });
            }
            Action::Finish(at, outcome) => {
                let process = &mut world.processes[at];
                let (from, held) = (process.worker?, process.running.take()?);
                process.settling = Some((held, outcome));
                let in_lease = self.in_lease(&world, from);
                world.network.insert(Message::Settle { from, held, outcome, in_lease });
            }
            Action::Resend(at) => {
                world.left.resends -= 1;
                let process = &world.processes[at];
                let message = process.unanswered(self.in_lease(&world, process.worker?))?;
                world.network.insert(message);
            }
            Action::Heartbeat(at) => {
                let (gone, lost, back) = news(&world, &world.processes[at])?;
                let from = world.processes[at].worker?;
                let in_lease = self.in_lease(&world, from);
                let process = &mut world.processes[at];
                if gone {
                    *process = Process::default();
                } else {
                    process.running = process.running.filter(|_| !lost);
                    let outcome = Outcome::Released;
                    let back = back.map(|held| Message::Settle { from, held, outcome, in_lease });
                    world.network.extend(back);
                }
            }
            Action::Crash(at) => {
                world.left.crashes -= 1;
                world.processes[at] = Process::default();
            }
            Action::Deliver(message, again) => {
                if again {
                    world.left.doubles -= 1;
                } else {
                    world.network.remove(&message);
                }
                self.deliver(&mut world, message);
            }
            Action::Expire(worker) => world.db.expire(worker),
            Action::Rescue(job) => world.db.rescue(job, self.flaw),
            Action::Snapshot => {
                world.left.snapshots -= 1;
                world.snapshot = Some(world.db.clone());
            }
            Action::Restore => world.db = world.snapshot.take()?,
        }
        world.tidy();
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always(NO_STALE, |_, world: &World| {
                !world.wrong.contains(&Wrong::StaleAccepted)
            }),
            Property::always(ONCE, |_, world: &World| !world.wrong.contains(&Wrong::FinishedTwice)),
            Property::always(ATTEMPTS, |_, world: &World| {
                world.db.rows.iter().all(|row| row.attempt == row.counted)
            }),
            Property::always(FINAL, |_, world: &World| {
                let kept = |row: &Row| row.ended.is_none_or(|state| row.state == state);
                world.db.rows.iter().all(kept)
            }),
            Property::always(NOT_LOST, |model: &Self, world: &World| {
                world.db.drains(model.guard, model.flaw)
            }),
            // What the model must get to, lest it prove nothing.
            Property::sometimes("a stale finish is refused", |_, world: &World| {
                answered(world, Answer::Lost)
            }),
            Property::sometimes("all jobs end", |_, world: &World| {
                world.db.rows.iter().all(|row| row.state.is_final())
            }),
        ];
        if self.budget.resends > 0 {
            properties.push(Property::sometimes("a repeated finish is known again", |_, world| {
                answered(world, Answer::Already)
            }));
        }
        if self.budget.snapshots > 0 {
            properties.push(Property::sometimes("an epoch is issued twice", |_, world: &World| {
                let held = world.processes.iter().filter_map(|process| process.running);
                held.filter_map(|Held { key, .. }| {
                    let row = world.db.rows.iter().find(|row| row.id == key.job)?;
                    row.key().filter(|k| k.epoch == key.epoch && k.claim_id != key.claim_id)
                })
                .next()
                .is_some()
            }));
        }
        properties
    }
}

fn answered(world: &World, wanted: Answer) -> bool {
    world
        .network
        .iter()
        .any(|message| matches!(message, Message::Settled { answer, .. } if *answer == wanted))
}
