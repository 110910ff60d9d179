//! The list of state changes in a job's row.

use arbitrary::{Result, Unstructured};

use super::{check_told, made};
use crate::kit::trail::{entry, events, trim};
use crate::{Cause, Event, EventBody, JobId, Kind, QueueName, WorkerId};

/// Bytes as a trail, and a trail that is made of them.
pub fn trail(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let whole = read(&text);
    let keep = usize::from(data.first().copied().unwrap_or(0) % 8);
    match trim(&text, keep) {
        Ok(Some(short)) => {
            // What could not be read before may be gone by now; what could be read still can.
            if let Some(whole) = whole {
                let kept = read(&short).unwrap();
                assert_eq!(kept.len(), keep.max(1));
                assert_eq!(place(kept.first()), place(whole.first()));
                assert!(keep < 2 || place(kept.last()) == place(whole.last()));
            }
            assert_eq!(trim(&short, keep).unwrap(), None, "it is short enough by now");
        }
        Ok(None) => {}
        Err(error) => assert!(whole.is_none(), "{error}"),
    }
    // Too few bytes are no trail.
    let _ = written(&mut Unstructured::new(data));
}

fn read(text: &str) -> Option<Vec<Event>> {
    let (kind, queue) = (Kind::new("k").unwrap(), QueueName::new("q").unwrap());
    match events(text, JobId::derived("fuzzing"), &kind, &queue) {
        Ok(events) => Some(events),
        Err(error) => {
            check_told(&error);
            None
        }
    }
}

fn place(event: Option<&Event>) -> Option<(u128, i64)> {
    event.map(|event| (event.position.seq, event.at.as_microsecond()))
}

/// What backends write: a claim names its worker, and the end of the attempt follows it without one.
fn written(u: &mut Unstructured<'_>) -> Result<()> {
    let (mut texts, mut expected) = (Vec::new(), Vec::new());
    let count = u.int_in_range(1..=6)?;
    let mut seq = 0;
    let mut add = |u: &mut Unstructured<'_>,
                   cause: Cause,
                   worker: Option<WorkerId>,
                   named: bool|
     -> Result<()> {
        seq += 1;
        let from = if u.arbitrary()? { Some(made::state(u)?) } else { None };
        let (to, attempt, at) = (made::state(u)?, u.arbitrary()?, u.arbitrary()?);
        let error = if named || !u.arbitrary()? { None } else { Some(made::failure(u)?) };
        let mut text = entry(seq, at, (from, to), attempt, cause, error.as_ref());
        if named && let Some(worker) = worker {
            text.pop();
            text.push_str(&format!(",\"{worker}\"]"));
        }
        texts.push(text);
        expected.push(EventBody::State { from, to, attempt, cause, worker, error });
        Ok(())
    };
    add(u, Cause::Inserted, None, false)?;
    for _ in 0..count {
        if u.arbitrary()? {
            let worker = Some(made::worker(u)?);
            add(u, Cause::Claimed, worker, true)?;
            let end = *u.choose(&[Cause::Settled, Cause::Rescued])?;
            add(u, end, worker, false)?;
        } else {
            let cause = *u.choose(&[Cause::Promoted, Cause::Changed, Cause::Replaced])?;
            add(u, cause, None, false)?;
        }
    }
    let text = texts.join(",");
    assert_eq!(bodies(&text), expected);
    let keep = u.int_in_range(1..=expected.len())?;
    let short = trim(&text, keep).unwrap();
    assert_eq!(short.is_none(), keep == expected.len());
    if let Some(short) = short {
        expected.drain(1..=expected.len() - keep);
        assert_eq!(bodies(&short), expected);
    }
    Ok(())
}

fn bodies(text: &str) -> Vec<EventBody> {
    read(text).unwrap().into_iter().map(|event| event.body).collect()
}
