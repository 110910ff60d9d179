//! Of several queues, which ones are worth a claim.

use std::collections::HashSet;
use std::time::Duration;

use windlass_core::kit::duration;
use windlass_core::{ClaimRequest, Kind, QueueName, QueueSlots, Result};

use super::bounds::{Brought, Look, Range};
use super::claim::{column, lane};
use crate::PostgresBackend;
use crate::sql::query;

/// The queues to claim from. Of several, only those in which something is seen; one is looked at in any case, to check the worker's lease. Tells
/// which others were not looked at from the head.
pub(super) async fn worth_a_look<'r>(
    backend: &PostgresBackend,
    request: &'r ClaimRequest,
    unswept: &mut Vec<QueueName>,
) -> Result<Vec<&'r QueueSlots>> {
    let wanted: Vec<&QueueSlots> = request.queues.iter().filter(|slots| slots.limit > 0).collect();
    if wanted.len() < 2 {
        return Ok(wanted.into_iter().chain(&request.queues).take(1).collect());
    }
    let (mut found, mut glances) = (HashSet::new(), Vec::new());
    for slots in &wanted {
        match backend.bounds.glance(&slots.queue, request.lane) {
            Some(look) => glances.push((&slots.queue, look)),
            None => _ = found.insert(&slots.queue),
        }
    }
    heads(backend, request, &glances, &mut found).await?;
    let above = glances.iter().filter(|(_, look)| *look == Look::Above).map(|(queue, _)| *queue);
    unswept.extend(above.filter(|queue| !found.contains(queue)).cloned());
    let first = wanted[0];
    let seen: Vec<_> = wanted.into_iter().filter(|slots| found.contains(&slots.queue)).collect();
    Ok(if seen.is_empty() { vec![first] } else { seen })
}

/// Finds out in which queues there is something.
async fn heads<'r>(
    backend: &PostgresBackend,
    request: &ClaimRequest,
    glances: &[(&'r QueueName, Look)],
    found: &mut HashSet<&'r QueueName>,
) -> Result<()> {
    let (bounds, kinds) = (&backend.bounds, || request.kinds.iter().map(|slots| &slots.kind));
    let mut ranges: Vec<(&QueueName, &Kind, Range)> = Vec::new();
    for (queue, look) in glances {
        for kind in kinds() {
            let stretches = bounds.ranges(queue, request.lane, kind, *look);
            ranges.extend(stretches.into_iter().map(|range| (*queue, kind, range)));
        }
    }
    if ranges.is_empty() {
        return Ok(());
    }
    let text = |name: &str| name.to_owned();
    let statement = query(&backend.sql.claim_heads)
        .bind(glances.iter().map(|(queue, _)| text(queue.as_str())).collect::<Vec<_>>())
        .bind(ranges.iter().map(|(queue, ..)| text(queue.as_str())).collect::<Vec<_>>())
        .bind(ranges.iter().map(|(_, kind, _)| text(kind.as_str())).collect::<Vec<_>>())
        .bind(ranges.iter().map(|(.., range)| range.0).collect::<Vec<_>>())
        .bind(ranges.iter().map(|(.., range)| range.1).collect::<Vec<_>>())
        .bind(lane(request));
    let mut before = Duration::ZERO;
    for row in &backend.session.fetch("claim", statement).await? {
        let (name, any): (&str, bool) = (column(row, 0)?, column(row, 1)?);
        let (after, turn) = (duration(column(row, 2)?), Some(column(row, 3)?));
        let cost = after.saturating_sub(std::mem::replace(&mut before, after));
        let Some((queue, look)) = glances.iter().find(|(queue, _)| queue.as_str() == name) else {
            continue;
        };
        if any {
            found.insert(queue);
            bounds.glimpsed(queue, request.lane, *look, cost);
            continue;
        }
        let nothing = Brought { jobs: &[], cost, turn };
        bounds.looked(queue, request.lane, *look, kinds(), &nothing, |_| false);
        bounds.ended(queue, request.lane, true);
    }
    Ok(())
}
