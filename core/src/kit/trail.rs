//! A job's own list of state changes, kept in its row so that the history is complete as long as the job is.
//!
//! The text is a comma-separated run of JSON arrays `[seq, at, from, to, attempt, cause, worker, error]`, where
//! `from` is -1 for none and trailing nulls are left out. The worker stands only where it isn't the
//! last one that claimed.

use std::fmt::Write;

use super::feed::{Entry, cause_code, cause_from};
use super::{bad_json, damaged, timestamp};
use crate::{
    AttemptError, Cause, Event, EventBody, JobId, Kind, QueueName, Result, State, WorkerId,
};
use serde_json::Value;

/// Writes one change.
#[must_use]
pub fn entry(
    seq: i64,
    at: i64,
    (from, to): (Option<State>, State),
    attempt: u32,
    cause: Cause,
    error: Option<&AttemptError>,
) -> String {
    let from = from.map_or(-1, |state| i16::from(state.code()));
    let mut text = format!("[{seq},{at},{from},{},{attempt},{}", to.code(), cause_code(cause));
    if let Some(error) = error.and_then(|e| serde_json::to_string(e).ok()) {
        // Writing to a String never fails.
        let _ = write!(text, ",null,{error}");
    }
    text.push(']');
    text
}

fn parse(trail: &str) -> serde_json::Result<Vec<Vec<Value>>> {
    serde_json::from_str(&format!("[{trail}]"))
}

/// Whether the change is one that the last claimer did or suffered.
fn by_claimer(code: u64) -> bool {
    [Cause::Settled, Cause::Rescued].map(|c| u64::from(cause_code(c))).contains(&code)
}

/// Reads the trail of a job.
///
/// # Errors
/// [`Error::Decode`](crate::Error::Decode) when it is none.
pub fn events(trail: &str, job: JobId, kind: &Kind, queue: &QueueName) -> Result<Vec<Event>> {
    let mut claimer = None;
    parse(trail)
        .map_err(|e| damaged(job, "trail", bad_json(&e)))?
        .into_iter()
        .map(|mut entry| {
            let int = |n: usize| entry.get(n).and_then(Value::as_i64).unwrap_or(-1);
            let bad = || damaged(job, "trail", "an entry is incomplete");
            let code = u8::try_from(int(5)).map_err(|_| bad())?;
            let cause = cause_from(code)?;
            let named = entry.get(6).and_then(Value::as_str).and_then(|text| text.parse().ok());
            if cause == Cause::Claimed {
                claimer = named;
            }
            let worker: Option<WorkerId> =
                if by_claimer(u64::from(code)) { named.or(claimer) } else { named };
            let (seq, at, attempt) = (int(0), int(1), u32::try_from(int(4)).map_err(|_| bad())?);
            let (from, to) = (State::from_code(int(2)), State::from_code(int(3)).ok_or_else(bad)?);
            let error = match entry.get_mut(7).map(Value::take) {
                None | Some(Value::Null) => None,
                Some(error) => Some(serde_json::from_value(error).map_err(|_| bad())?),
            };
            Ok(Event {
                position: Entry::position(seq, job),
                at: timestamp(at),
                job,
                kind: kind.clone(),
                queue: queue.clone(),
                body: EventBody::State { from, to, attempt, cause, worker, error },
            })
        })
        .collect()
}

/// Cuts a trail to `keep` changes: the first and the last ones. `None` when it is short enough.
///
/// # Errors
/// When it is none.
pub fn trim(trail: &str, keep: usize) -> serde_json::Result<Option<String>> {
    let mut entries = parse(trail)?;
    let keep = keep.max(1);
    if entries.len() <= keep {
        return Ok(None);
    }
    let cut = entries.len() - keep + 1; // the first one that stays, after the very first
    let is = |entry: &[Value], cause: Cause| {
        entry.get(5).and_then(Value::as_u64) == Some(u64::from(cause_code(cause)))
    };
    let claimer = entries[..cut.min(entries.len())]
        .iter()
        .rev()
        .find(|entry| is(entry, Cause::Claimed))
        .and_then(|entry| entry.get(6).cloned());
    if let (Some(claimer), Some(first)) = (claimer, entries.get_mut(cut))
        && first.get(5).and_then(Value::as_u64).is_some_and(by_claimer)
    {
        first.resize(first.len().max(7), Value::Null);
        if first[6].is_null() {
            first[6] = claimer;
        }
    }
    entries.drain(1..cut);
    let kept: Vec<String> = entries.into_iter().map(|e| Value::Array(e).to_string()).collect();
    Ok(Some(kept.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trimming_keeps_the_first_change_and_the_worker_of_the_last() {
        let worker = WorkerId::new();
        let claim = format!("[2,0,2,3,1,3,\"{}\"]", worker.as_uuid().simple());
        let trail = format!(
            "{},{claim},{}",
            entry(1, 0, (None, State::Available), 0, Cause::Inserted, None),
            entry(3, 9, (Some(State::Running), State::Completed), 1, Cause::Settled, None),
        );
        assert_eq!(trim(&trail, 3).unwrap(), None);
        let (kind, queue) = (Kind::new("k").unwrap(), QueueName::new("q").unwrap());
        let whole = events(&trail, JobId::new(), &kind, &queue).unwrap();
        let short = trim(&trail, 2).unwrap().unwrap();
        let kept = events(&short, whole[0].job, &kind, &queue).unwrap();
        assert_eq!(kept, [whole[0].clone(), whole[2].clone()]);
        assert!(matches!(kept[1].body, EventBody::State { worker: Some(w), .. } if w == worker));
        assert_eq!(trim(&trail, 1).unwrap().unwrap().matches('[').count(), 1);
    }
}
