//! Changes by users.

use std::collections::BTreeSet;

use windlass_core::{
    Change, ChangeRequest, Changed, Cursor, Error, EventBody, Failure, FailureKind, JobFilter,
    JobId, Result, Selector,
};

use super::settle::failure_part;
use super::{at_most, too_far};
use crate::backend::Inner;
use crate::error::NAME;
use crate::pack::pack;
use crate::script::Args;
use crate::wire;

/// Jobs that one script looks at, or fewer that refer to many blobs: some milliseconds of the server's time.
const AT_ONCE: usize = 100;

pub(crate) async fn change(inner: &Inner, request: &ChangeRequest) -> Result<Changed> {
    let batch = inner.options.limits.batch;
    let what = packed(inner, &request.change)?;
    match &request.target {
        Selector::Filter(filter) => {
            by_filter(inner, &what, filter, request.after.as_ref(), batch.min(AT_ONCE)).await
        }
        Selector::Ids(ids) => {
            at_most("ids in one change", ids.len(), batch, "change them in several calls")?;
            let after = request.after.map(|cursor| cursor.0);
            let ids: BTreeSet<JobId> =
                ids.iter().copied().filter(|id| after.is_none_or(|after| *id > after)).collect();
            by_ids(inner, &what, ids).await
        }
        _ => Err(Error::Unsupported { what: "this selection of jobs".into(), by: NAME.into() }),
    }
}

async fn by_filter(
    inner: &Inner,
    what: &[u8],
    filter: &JobFilter,
    after: Option<&Cursor>,
    look: usize,
) -> Result<Changed> {
    let args = Args::new().bytes(&inner.limits).bytes(what).bytes(packed_filter(filter));
    let args = args.bytes(after.map_or(&[][..], |cursor| cursor.0.as_bytes())).int(look);
    run(inner, args).await
}

/// The lowest ids first, and where to go on when there are more than one script changes.
async fn by_ids(inner: &Inner, what: &[u8], ids: BTreeSet<JobId>) -> Result<Changed> {
    if ids.is_empty() {
        return Ok(Changed::default());
    }
    let rest = ids.len() > AT_ONCE;
    let mut args = Args::new().bytes(&inner.limits).bytes(what).bytes([]).bytes([]).int(AT_ONCE);
    let mut last = None;
    for id in ids.into_iter().take(AT_ONCE) {
        args.push(id.as_bytes());
        last = Some(Cursor(id));
    }
    let Changed { count, next } = run(inner, args).await?;
    // A script that met many references to blobs ends before the last of its ids.
    Ok(Changed { count, next: next.or(last.filter(|_| rest)) })
}

async fn run(inner: &Inner, args: Args) -> Result<Changed> {
    let [count, last] = wire::items(inner.call("change", &inner.scripts.change, args).await?)?;
    let count = wire::int(&count)?;
    if count < 0 {
        return Err(too_far(&inner.options.limits, wire::int(&last)?));
    }
    let last = wire::bytes(last)?;
    let next = if last.is_empty() { None } else { Some(Cursor(JobId::from_slice(&last)?)) };
    Ok(Changed { count: u64::try_from(count).unwrap_or(0), next })
}

/// A change as the script takes it.
fn packed(inner: &Inner, change: &Change) -> Result<Vec<u8>> {
    let limits = &inner.options.limits;
    Ok(match change {
        Change::Cancel { reason } => {
            let cut = reason.as_deref().map(|reason| limits.cut_error(reason));
            let failure = cut.clone().map(|message| {
                failure_part(limits, &Failure { kind: FailureKind::Cancelled, message })
            });
            let event = serde_json::to_string(&EventBody::CancelRequested { reason: cut })
                .map_err(|e| Error::Encode { what: "event".into(), source: e.into() })?;
            pack(&(0_u8, failure.transpose()?.unwrap_or_default(), event, 0_u8, 0_u8))
        }
        Change::Retry => pack(&(1_u8, "", "", 0_u8, 0_u8)),
        Change::RetryUnlessCompleted => pack(&(4_u8, "", "", 0_u8, 0_u8)),
        Change::Reschedule { start } => {
            let (is_time, start) = wire::start(start);
            pack(&(2_u8, "", "", is_time, start))
        }
        Change::Delete => pack(&(3_u8, "", "", 0_u8, 0_u8)),
        _ => {
            return Err(Error::Unsupported { what: "this change".into(), by: NAME.into() });
        }
    })
}

/// A filter as scripts take it.
pub(crate) fn packed_filter(filter: &JobFilter) -> Vec<u8> {
    let states: Vec<u8> = filter.states.iter().map(|state| state.code()).collect();
    let queues: Vec<&str> = filter.queues.iter().map(|queue| queue.as_str()).collect();
    let kinds: Vec<&str> = filter.kinds.iter().map(|kind| kind.as_str()).collect();
    let tags: Vec<&str> = filter.tags.iter().map(|tag| tag.as_str()).collect();
    let key = filter.unique_key.as_ref().map_or("", |key| key.as_str());
    pack(&(states, queues, kinds, tags, key))
}
