//! Entries of the feed whose jobs changed alike: the body tells of runs of them, and their ids stand beside it as bytes.
//!
//! The body is JSON: `c`, `n` and `w` as in [`kit::feed`](windlass_core::kit::feed), and `r` the runs, each `[jobs, kind, queue, from, to, attempt, worker]`.

use std::fmt::Write;

use serde::Deserialize;
use windlass_core::kit::feed::{self, Fact};
use windlass_core::kit::unreadable;
use windlass_core::{Cause, JobId, Result, State, WorkerId};

/// What happened to a new job.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Change<'c> {
    pub(crate) kind: &'c str,
    pub(crate) queue: &'c str,
    pub(crate) from: Option<State>,
    pub(crate) to: State,
}

/// Writes a body of changes that no worker made.
pub(crate) fn body<'c>(cause: Cause, changes: impl Iterator<Item = Change<'c>>) -> String {
    let mut runs: Vec<(usize, Change<'c>)> = Vec::new();
    for change in changes {
        match runs.last_mut() {
            Some((jobs, last)) if *last == change => *jobs += 1,
            _ => runs.push((1, change)),
        }
    }
    let mut names: Vec<&str> = Vec::new();
    let mut number = |name| {
        names.iter().position(|known| *known == name).unwrap_or_else(|| {
            names.push(name);
            names.len() - 1
        })
    };
    let mut text = String::new();
    for (n, (jobs, change)) in runs.iter().enumerate() {
        let (kind, queue) = (number(change.kind), number(change.queue));
        let from = change.from.map_or(-1, |state| i64::from(state.code()));
        let comma = if n > 0 { "," } else { "" };
        // Writing to a String never fails.
        let _ = write!(text, "{comma}[{jobs},{kind},{queue},{from},{},0,-1]", change.to.code());
    }
    // Names are such that nothing in them needs an escape in JSON.
    let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    let (cause, names) = (feed::cause_code(cause), names.join(","));
    format!("{{\"c\":{cause},\"n\":[{names}],\"w\":[],\"r\":[{text}]}}")
}

#[derive(Deserialize)]
struct Runs {
    c: u8,
    n: Vec<String>,
    w: Vec<WorkerId>,
    r: Vec<(usize, usize, usize, i64, i64, u32, i64)>,
}

/// The body as the kit reads it, from one of these and the ids.
pub(crate) fn whole(body: &str, ids: &[u8]) -> Result<String> {
    let odd = || unreadable("an entry of the event feed", "its runs have another shape");
    let Runs { c, n, w, r } = serde_json::from_str(body).map_err(|_| odd())?;
    let (ids, rest) = ids.as_chunks::<16>();
    let mut ids = ids.iter();
    let mut facts = Vec::with_capacity(ids.len());
    for (jobs, kind, queue, from, to, attempt, worker) in r {
        let (kind, queue) = (n.get(kind).ok_or_else(odd)?, n.get(queue).ok_or_else(odd)?);
        let to = State::from_code(to).ok_or_else(odd)?;
        let from = State::from_code(from);
        let worker = usize::try_from(worker).ok().and_then(|worker| w.get(worker)).copied();
        for _ in 0..jobs {
            let job = JobId::from_slice(ids.next().ok_or_else(odd)?)?;
            facts.push(Fact { job, kind, queue, from, to, attempt, worker, error: None });
        }
    }
    if !rest.is_empty() || ids.next().is_some() {
        return Err(odd());
    }
    Ok(feed::changes(feed::cause_from(c)?, facts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_read_back_as_the_changes_of_each_job() {
        let jobs: Vec<JobId> = (0..5).map(|_| JobId::new()).collect();
        let change = |kind, to| Change { kind, queue: "q", from: None, to };
        let (a, b) = (change("a", State::Available), change("b", State::Scheduled));
        let body = body(Cause::Inserted, [a, a, b, a, a].into_iter());
        assert_eq!(body.matches("],[").count(), 2, "{body}");
        let ids: Vec<u8> = jobs.iter().flat_map(|job| *job.as_bytes()).collect();
        let fact = |n: usize, change: Change<'static>| {
            let Change { kind, queue, from, to } = change;
            Fact { job: jobs[n], kind, queue, from, to, attempt: 0, worker: None, error: None }
        };
        let facts = vec![fact(0, a), fact(1, a), fact(2, b), fact(3, a), fact(4, a)];
        assert_eq!(whole(&body, &ids).unwrap(), feed::changes(Cause::Inserted, facts));
        for cut in [ids.len() - 16, ids.len() - 1] {
            assert!(whole(&body, &ids[..cut]).is_err());
        }
        assert!(whole(&body, &[ids.as_slice(), &[0; 16]].concat()).is_err());
    }
}
