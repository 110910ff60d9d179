//! Unique keys: who holds them.

use std::collections::{BTreeSet, HashMap};

use windlass_core::machine::{self, Rescue};
use windlass_core::{AttemptError, Cause, FailureKind, JobId, Result, State};

use crate::batch::ids;
use crate::ops::apply::{Step, apply};
use crate::ops::stored::Stored;
use crate::txn::Txn;
use windlass_core::kit::timestamp;

/// Stored modes of a unique key.
pub(crate) const STARTED: i64 = 0;
pub(crate) const FINISHED: i64 = 1;
pub(crate) const WINDOW: i64 = 2;

/// Who holds a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) job: JobId,
    /// It waits, so that its contents may be replaced.
    pub(crate) waits: bool,
}

/// Reads who holds the keys, given as a JSON list. Holders that are lost are rescued first: they may be final after it.
pub(crate) async fn holders(txn: &mut Txn<'_>, keys: String) -> Result<HashMap<String, Holder>> {
    let (held, lost) = read(txn, keys.clone()).await?;
    if lost.is_empty() {
        return Ok(held);
    }
    let list = ids(lost.iter().map(JobId::as_bytes));
    let rows = txn.fetch(sqlx::query(include_str!("../sql/stored.sql")).bind(list)).await?;
    let steps = rescue_steps(txn.now, Stored::readable(&rows), Rescue::WorkerLost);
    apply(txn, Cause::Rescued, &steps).await?;
    Ok(read(txn, keys).await?.0)
}

/// The holders, and those of them that are lost, each once though several jobs of a call may want its key.
async fn read(
    txn: &mut Txn<'_>,
    keys: String,
) -> Result<(HashMap<String, Holder>, BTreeSet<JobId>)> {
    let query = sqlx::query(include_str!("../sql/unique_holders.sql")).bind(keys);
    let (mut held, mut lost) = (HashMap::new(), BTreeSet::new());
    for row in txn.fetch(query.bind(txn.now)).await? {
        let (mode, until): (i64, Option<i64>) = (txn.get(&row, 1)?, txn.get(&row, 2)?);
        let is_lost: bool = txn.get(&row, 3)?;
        let job = JobId::from_slice(&txn.get::<Vec<u8>>(&row, 4)?)?;
        let state = txn.get::<Option<i64>>(&row, 5)?.and_then(State::from_code);
        let past = until.is_some_and(|until| until <= txn.now);
        // A window outlives its job, pruned or not.
        let lasts = mode == WINDOW && until.is_some();
        if past || (state.is_none() && !lasts) {
            continue;
        }
        if is_lost {
            lost.insert(job);
        }
        let waits = state.is_some_and(|state| state != State::Running);
        held.insert(txn.get(&row, 0)?, Holder { job, waits });
    }
    Ok((held, lost))
}

/// The steps that take running jobs from their owners.
pub(crate) fn rescue_steps(now: i64, jobs: Vec<Stored>, why: Rescue) -> Vec<Step<'static>> {
    let message = match why {
        Rescue::WorkerLost => "the worker was lost: its lease ran out",
        Rescue::DeadlinePassed => "the attempt passed its deadline and its worker did not end it",
    };
    let step = |job: Stored| {
        let to = machine::rescued(&job.facts, why)?;
        let error = AttemptError {
            attempt: job.facts.attempt,
            at: timestamp(now),
            kind: to.failure.unwrap_or(FailureKind::Crash),
            message: message.to_owned(),
        };
        Some(Step { error: Some(error), ..Step::new(job, to) })
    };
    jobs.into_iter().filter_map(step).collect()
}
