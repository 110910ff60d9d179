//! Figures.

use std::collections::{BTreeMap, BTreeSet};

use redis::Value;
use windlass_core::kit::{duration, unreadable};
use windlass_core::{Count, Kind, QueueAge, QueueName, Result, State, Stats, StatsQuery};

use crate::backend::Inner;
use crate::pack::pack;
use crate::script::Args;
use crate::wire;

/// Lines whose oldest jobs one script looks at: a millisecond or two of the server's time when there are many priorities.
const AT_ONCE: usize = 32;

pub(crate) async fn stats(inner: &Inner, query: &StatsQuery) -> Result<Stats> {
    let args = query.queues.iter().fold(Args::new(), |args, queue| args.bytes(queue.as_str()));
    let counts = inner.read("stats", &inner.scripts.stats, args).await?;
    let mut stats = Stats::default();
    let mut fields = wire::list(counts)?.into_iter();
    while let (Some(name), Some(jobs)) = (fields.next(), fields.next()) {
        stats.counts.push(count(&wire::text(name)?, &jobs)?);
    }
    stats.counts.sort_by(|a, b| (&a.queue, &a.kind, a.state).cmp(&(&b.queue, &b.kind, b.state)));
    stats.ages = ages(inner, &stats.counts).await?;
    Ok(stats)
}

/// A count's name is `queue/kind/state`; names have no slashes.
pub(crate) fn count(name: &str, jobs: &Value) -> Result<Count> {
    let odd = || unreadable("a count", "its name has another shape");
    let mut parts = name.split('/');
    let (Some(queue), Some(kind), Some(state)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(odd());
    };
    let state = state.parse().ok().and_then(State::from_code).ok_or_else(odd)?;
    let (queue, kind) = (QueueName::new(queue)?, Kind::new(kind)?);
    Ok(Count { queue, kind, state, jobs: wire::count(jobs)? })
}

/// The ages of the oldest jobs, by queue.
async fn ages(inner: &Inner, counts: &[Count]) -> Result<Vec<QueueAge>> {
    // Jobs that wait are looked for by queue and kind, those that run by queue.
    let line = |count: &Count| match count.state {
        State::Available => Some((count.queue.clone(), count.kind.as_str().to_owned())),
        State::Running => Some((count.queue.clone(), String::new())),
        _ => None,
    };
    let lines: Vec<_> =
        counts.iter().filter_map(line).collect::<BTreeSet<_>>().into_iter().collect();
    let mut found: BTreeMap<&QueueName, QueueAge> = BTreeMap::new();
    for some in lines.chunks(AT_ONCE) {
        let asked: Vec<_> =
            some.iter().map(|(queue, kind)| (queue.as_str(), kind.as_str())).collect();
        let args = Args::new().bytes(pack(&asked));
        let answers = wire::list(inner.read("stats", &inner.scripts.ages, args).await?)?;
        for ((queue, kind), micros) in some.iter().zip(answers) {
            let micros = wire::int(&micros)?;
            if micros < 0 {
                continue;
            }
            let none =
                || QueueAge { queue: queue.clone(), oldest_available: None, oldest_running: None };
            let age = found.entry(queue).or_insert_with(none);
            let place =
                if kind.is_empty() { &mut age.oldest_running } else { &mut age.oldest_available };
            *place = (*place).max(Some(duration(micros)));
        }
    }
    Ok(found.into_values().collect())
}
