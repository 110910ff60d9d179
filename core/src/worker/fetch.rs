//! Claiming: as many jobs as there are free slots, again at once while there is more, and otherwise when
//! a hint comes, a slot is freed, or it is time to poll.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::backoff::{Pause, jittered};
use super::claim::{Taken, claim};
use super::execute;
use super::pool::BlockingPool;
use super::shared::Shared;
use super::slots::Demand;
use super::upkeep::{HELD_UP, Turn};
use crate::{ClaimRequest, Lane, QueueSlots, WorkerId};

/// Only one job at a time that has crashed workers may run in a process, so that it takes down no more than
/// is needed to know it.
static QUARANTINE: Semaphore = Semaphore::const_new(1);

/// Longest rest after a hint that led to nothing.
const REST: Duration = Duration::from_millis(50);

/// Why the fetcher looks again.
enum Why<'a> {
    Hint,
    /// It is time to poll, for all workers that look for the same.
    Poll(Turn<'a>),
    /// The same for the quarantine lane.
    Quarantine(Turn<'a>),
    Other,
}

/// How a claim went.
struct Look {
    /// Something was claimed.
    found: bool,
    /// Some queue or kind gave all that was asked, so there may be more.
    full: bool,
    /// A freed slot may let more be claimed.
    short: bool,
    /// Everything was asked for, and the claim was answered.
    whole: bool,
    /// Nothing was there for the blocking kinds that were asked for, but so many were not.
    left_out: usize,
}

/// Claims until the worker is to stop.
pub(crate) async fn run(shared: Arc<Shared>) {
    // Those that have no room for everything poll by themselves.
    let mut poll = Pause::new(shared.options.poll_min, shared.options.longest_poll());
    let scope = &*shared.scope;
    let mut rest = Pause::new(Duration::from_millis(1), REST.min(shared.options.poll_min));
    let mut trouble = Pause::after_error();
    let (mut hinted, mut followed) = (false, false);
    let (mut turn, mut crashed) = (None, None);
    let mut misses = 0;
    while !shared.stop.is_cancelled() {
        if shared.registry.worker().is_none() {
            // Those that have a lease shall not wait for it.
            (turn, crashed) = (None, None);
        }
        let Some(worker) = incarnation(&shared).await else { return };
        // Of a look that no hint led to the siblings know nothing.
        let by_time = turn.is_some() || crashed.is_some();
        let look = look(&shared, worker, crashed.take()).await;
        looked(&shared, &look, turn.take());
        if by_time && look.full {
            wake_siblings(&shared);
        }
        if std::mem::take(&mut followed) {
            shared.hint_followed.notify_one();
        }
        if shared.health.claim.load(Ordering::Relaxed) {
            trouble.reset();
        } else {
            nap(&shared, trouble.next()).await;
        }
        if look.found {
            poll.reset();
            rest.reset();
        } else if hinted {
            // A hint that is wrong each time must not make a loop of claims.
            nap(&shared, rest.next()).await;
        }
        if look.full {
            hinted = false;
            continue;
        }
        if misses < look.left_out {
            misses += 1;
            continue;
        }
        misses = 0;
        if !shared.hears() {
            scope.not_heard();
        }
        hinted = false;
        let own = poll.next().min(own_poll(&shared));
        match wait(&shared, look.short, own).await {
            Why::Hint => hinted = true,
            Why::Poll(taken) => turn = Some(taken),
            Why::Quarantine(taken) => crashed = Some(taken),
            Why::Other => {}
        }
        followed = hinted;
    }
}

/// The longest time until a worker polls by itself. One that is full for any reason looks soon whether it still is, and one whose claim failed may
/// have missed what a hint told of.
fn own_poll(shared: &Shared) -> Duration {
    let claims = shared.health.claim.load(Ordering::Relaxed);
    if shared.hears() && claims && has_room(shared) {
        shared.options.longest_poll()
    } else {
        jittered(shared.options.poll_max)
    }
}

/// Tells those that look for the same what a look has found, and when to look again.
fn looked(shared: &Shared, look: &Look, turn: Option<Turn<'_>>) {
    let (scope, hears) = (&shared.scope, shared.hears());
    match turn {
        // Another does it.
        Some(turn) if !look.whole => drop(turn),
        Some(turn) if !look.found => turn.done(Instant::now() + scope.found_nothing(hears)),
        Some(turn) => {
            scope.found();
            turn.done(Instant::now() + jittered(shared.options.poll_min));
        }
        None if look.found => scope.found(),
        None if look.whole => scope.looked(hears),
        None => {}
    }
}

/// There may be more than this worker has room for.
fn wake_siblings(shared: &Shared) {
    let same = |member: &&Arc<Shared>| Arc::ptr_eq(&member.scope, &shared.scope);
    let members = shared.upkeep().members();
    members.iter().filter(same).for_each(|member| member.look.notify_one());
}

/// Waits for an incarnation with a lease; `None` at the stop.
async fn incarnation(shared: &Shared) -> Option<WorkerId> {
    let mut follow = shared.registry.follow();
    tokio::select! {
        biased;
        () = shared.stop.cancelled() => None,
        now = follow.wait_for(Option::is_some) => now.ok().and_then(|now| *now),
    }
}

async fn nap(shared: &Shared, time: Duration) {
    tokio::select! {
        biased;
        () = tokio::time::sleep(time) => {}
        () = shared.stop.cancelled() => {}
    }
}

/// Claims once in each lane that has room.
async fn look(shared: &Arc<Shared>, worker: WorkerId, turn: Option<Turn<'_>>) -> Look {
    shared.slots.turn();
    let crashed = quarantine(shared, worker, turn).await;
    let demand = demand(shared);
    let nothing = Look { found: crashed, full: false, short: true, whole: false, left_out: 0 };
    if demand.is_empty() {
        return nothing;
    }
    let asked = demand.clone();
    let request = ClaimRequest::new(worker, demand.queues, demand.kinds);
    let Some(taken) = claim(shared, request).await else { return nothing };
    let (full, capped) = used_up(&asked, &taken);
    // Threads that one kind left over are for the others.
    let full = full || (asked.divided && capped);
    let look = Look {
        found: crashed || !taken.leases.is_empty(),
        full,
        short: asked.short || full || capped,
        whole: !asked.short,
        left_out: if taken.leases.is_empty() { asked.left_out } else { 0 },
    };
    execute::admit(shared, worker, taken, None);
    look
}

/// What is free; nothing while settlements pile up.
fn demand(shared: &Shared) -> Demand {
    if shared.settlements.capacity() == 0 {
        return Demand {
            queues: Vec::new(),
            kinds: Vec::new(),
            short: true,
            divided: false,
            left_out: 0,
        };
    }
    shared.slots.demand(threads(shared))
}

/// Whether there is anything to ask for.
fn has_room(shared: &Shared) -> bool {
    shared.settlements.capacity() > 0 && shared.slots.has_room(threads(shared))
}

fn threads(shared: &Shared) -> u32 {
    shared.pool.as_ref().map_or(0, BlockingPool::free)
}

/// Whether some queue, and whether some kind, gave all that was asked for.
fn used_up(asked: &Demand, taken: &Taken) -> (bool, bool) {
    let of_queues = counts(taken.leases.iter().map(|lease| &lease.queue));
    let full = asked.queues.iter().any(|q| at(&of_queues, &q.queue) >= q.limit);
    let of_kinds = counts(taken.leases.iter().map(|lease| &lease.kind));
    let capped =
        asked.kinds.iter().any(|k| k.limit.is_some_and(|limit| at(&of_kinds, &k.kind) >= limit));
    (full, capped)
}

/// How often each comes. A claim may bring thousands of jobs from hundreds of queues.
fn counts<'a, T: Eq + Hash>(names: impl Iterator<Item = &'a T>) -> HashMap<&'a T, u32> {
    let mut counts = HashMap::new();
    for name in names {
        *counts.entry(name).or_insert(0) += 1;
    }
    counts
}

fn at<T: Eq + Hash>(counts: &HashMap<&T, u32>, name: &T) -> u32 {
    counts.get(name).copied().unwrap_or_default()
}

/// Whether another has slots in all queues. A look into the quarantine lane is for all that look for the same, so it is to be one at everything.
fn sibling_has_room(shared: &Arc<Shared>) -> bool {
    let whole = |member: &&Arc<Shared>| {
        Arc::ptr_eq(&member.scope, &shared.scope)
            && !Arc::ptr_eq(member, shared)
            && member.registry.worker().is_some()
            && !member.stop.is_cancelled()
            && !demand(member).short
    };
    !shared.upkeep().is_alone() && shared.upkeep().members().iter().any(|member| whole(&member))
}

/// Looks for one job in the quarantine lane, when it is time to and the lane is free. Answers whether it found one.
async fn quarantine(shared: &Arc<Shared>, worker: WorkerId, turn: Option<Turn<'_>>) -> bool {
    let due = || {
        let lane = &shared.scope.quarantine;
        let others = || demand(shared).short && sibling_has_room(shared);
        if lane.is_due() && !others() { lane.try_take(HELD_UP) } else { None }
    };
    let Some(turn) = turn.or_else(due) else { return false };
    let rest = jittered(shared.options.quarantine);
    let Ok(permit) = QUARANTINE.try_acquire() else {
        turn.done(Instant::now() + rest);
        return false;
    };
    let demand = demand(shared);
    if demand.is_empty() {
        // It stays due, and comes first when a slot is free.
        return false;
    }
    let short = demand.short;
    for slots in demand.queues {
        // One queue at a time: the limit is per queue, and the lane has room for one job.
        let queues = vec![QueueSlots { limit: 1, ..slots }];
        let mut request = ClaimRequest::new(worker, queues, demand.kinds.clone());
        request.lane = Lane::Quarantine;
        let Some(taken) = claim(shared, request).await else {
            turn.done(Instant::now() + rest);
            return false;
        };
        if !taken.leases.is_empty() {
            execute::admit(shared, worker, taken, Some(permit));
            turn.done(Instant::now() + rest);
            return true;
        }
    }
    // Hints tell when there is something again; but it was not looked for in queues that have no slot here.
    let idle = shared.options.idle_poll.max(shared.options.quarantine);
    let rest = if shared.hears() && !short { jittered(idle) } else { rest };
    turn.done(Instant::now() + rest);
    false
}

/// Waits for a reason to look again. `time` is that until its own poll for a worker that has no room for everything.
async fn wait(shared: &Arc<Shared>, short: bool, time: Duration) -> Why<'_> {
    // With no slot free, there is nothing to look for.
    let full = !has_room(shared);
    let shares = !full && !short;
    let looks = !(full || short && sibling_has_room(shared));
    let scope = &shared.scope;
    tokio::select! {
        biased;
        () = shared.stop.cancelled() => Why::Other,
        () = shared.look.notified() => Why::Other,
        // Before a freed slot: whoever waits for the hint to be followed waits for this look.
        () = shared.hint.notified(), if !full => Why::Hint,
        () = shared.slots.freed(), if short => Why::Other,
        turn = scope.poll.take(HELD_UP), if shares => Why::Poll(turn),
        turn = scope.quarantine.take(HELD_UP), if looks => Why::Quarantine(turn),
        () = tokio::time::sleep(time), if !shares => Why::Other,
    }
}
