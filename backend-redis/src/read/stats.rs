//! Figures.

use redis::Value;
use windlass_core::kit::{duration, unreadable};
use windlass_core::{Count, Kind, QueueAge, QueueName, Result, State, Stats, StatsQuery};

use crate::backend::Inner;
use crate::script::Args;
use crate::wire;

pub(crate) async fn stats(inner: &Inner, query: &StatsQuery) -> Result<Stats> {
    let args = query.queues.iter().fold(Args::new(), |args, queue| args.bytes(queue.as_str()));
    let [counts, ages] = wire::items(inner.read("stats", &inner.scripts.stats, args).await?)?;
    let mut stats = Stats::default();
    let mut fields = wire::list(counts)?.into_iter();
    while let (Some(name), Some(jobs)) = (fields.next(), fields.next()) {
        stats.counts.push(count(&wire::text(name)?, &jobs)?);
    }
    stats.counts.sort_by(|a, b| (&a.queue, &a.kind, a.state).cmp(&(&b.queue, &b.kind, b.state)));
    for value in wire::list(ages)? {
        stats.ages.push(age(value)?);
    }
    stats.ages.sort_by(|a, b| a.queue.cmp(&b.queue));
    Ok(stats)
}

/// A count's name is `queue/kind/state`; names have no slashes.
fn count(name: &str, jobs: &Value) -> Result<Count> {
    let odd = || unreadable("a count", "its name has another shape");
    let mut parts = name.split('/');
    let (Some(queue), Some(kind), Some(state)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(odd());
    };
    let state = state.parse().ok().and_then(State::from_code).ok_or_else(odd)?;
    let (queue, kind) = (QueueName::new(queue)?, Kind::new(kind)?);
    Ok(Count { queue, kind, state, jobs: wire::count(jobs)? })
}

fn age(value: Value) -> Result<QueueAge> {
    let [queue, available, running] = wire::items(value)?;
    let age = |micros: i64| (micros >= 0).then(|| duration(micros));
    Ok(QueueAge {
        queue: QueueName::new(wire::text(queue)?)?,
        oldest_available: age(wire::int(&available)?),
        oldest_running: age(wire::int(&running)?),
    })
}
