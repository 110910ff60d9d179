//! The ends of attempts.

use redis::Value;
use windlass_core::kit::{micros, notes, unreadable};
use windlass_core::{
    AttemptOutcome, Error, Failure, LeaseKey, Limits, Result, Settled, Settlement, State,
};

use super::insert::{check_load, push_jobs, refused};
use super::record::push_notes;
use super::{at_most, load_of, portions};
use crate::backend::Inner;
use crate::pack::Bytes;
use crate::script::Args;
use crate::wire;

/// Settlements in one script: some milliseconds of the server's time.
const AT_ONCE: usize = 100;

pub(crate) async fn settle(inner: &Inner, settlements: &[Settlement]) -> Result<Vec<Settled>> {
    let mut settled = Vec::with_capacity(settlements.len());
    for some in portions(settlements, AT_ONCE, load) {
        settled.extend(settle_some(inner, some).await?);
    }
    Ok(settled)
}

/// What a settlement brings with it: things to write, and bytes.
fn load(settlement: &Settlement) -> (usize, usize) {
    let Settlement { outcome, follow_ups, notes, .. } = settlement;
    let (mut things, mut bytes) = load_of(notes);
    things += 1;
    if let AttemptOutcome::Completed { result, blobs } = outcome {
        things += blobs.len();
        bytes += result.as_ref().map_or(0, |result| result.bytes.len());
    }
    for job in follow_ups {
        things += 1 + job.blobs.len();
        bytes += job.args.bytes.len();
    }
    (things, bytes)
}

async fn settle_some(inner: &Inner, settlements: &[Settlement]) -> Result<Vec<Settled>> {
    let limits = &inner.options.limits;
    let args = Args::new().bytes(&inner.limits).bytes(&inner.pauses);
    let mut args = args.int(settlements.len());
    let mut refusals = Vec::with_capacity(settlements.len());
    for settlement in settlements {
        refusals.push(push(limits, &mut args, settlement)?);
    }
    let answers = wire::list(inner.call("settle", &inner.scripts.settle, args).await?)?;
    let answers = answers.into_iter().zip(refusals);
    answers.map(|(answer, refusal)| read(limits, answer, refusal)).collect()
}

/// Adds a settlement, and answers why it is refused should its fence hold. What is refused is sent without its contents.
fn push(limits: &Limits, args: &mut Args, settlement: &Settlement) -> Result<Option<Error>> {
    let Settlement { key, outcome, follow_ups, notes, .. } = settlement;
    if let AttemptOutcome::Completed { result: None, blobs } = outcome
        && blobs.is_empty()
        && follow_ups.is_empty()
        && notes.is_empty()
    {
        args.push(fence(key));
        return Ok(None);
    }
    let (fit, refusal) = match check(limits, settlement) {
        Ok(fit) => (fit, None),
        Err(refusal) => (Vec::new(), Some(refusal)),
    };
    let follow_ups = if refusal.is_none() { follow_ups.as_slice() } else { &[] };
    let (code, delay) = match outcome {
        AttemptOutcome::Completed { .. } => (0_u8, 0),
        AttemptOutcome::Retry { delay, .. } => (1, micros(*delay)),
        AttemptOutcome::Discarded { .. } => (2, 0),
        AttemptOutcome::Cancelled { .. } => (3, 0),
        AttemptOutcome::Snoozed { delay } => (4, micros(*delay)),
        _ => (5, 0),
    };
    let failure = outcome.failure().map(|failure| failure_part(limits, failure)).transpose()?;
    let (mut result, mut blobs) = (None, Vec::new());
    if let AttemptOutcome::Completed { result: given, blobs: keys } = outcome
        && refusal.is_none()
    {
        result = given.as_ref().map(wire::stored_payload);
        blobs = wire::blobs(keys);
    }
    let head = (
        Bytes(key.job.as_bytes()),
        key.epoch.0,
        Bytes(key.claim_id.as_bytes()),
        code,
        delay,
        failure.unwrap_or_default(),
        u8::from(refusal.is_some()),
        u8::from(result.is_some()),
        blobs,
        fit.len(),
        follow_ups.len(),
    );
    args.pack(&head);
    args.push(result.unwrap_or_default());
    push_notes(args, &fit)?;
    push_jobs(args, follow_ups)?;
    Ok(refusal)
}

/// A job under its fence, as a completion that brings nothing is sent.
fn fence(key: &LeaseKey) -> [u8; 36] {
    let mut fence = [0; 36];
    fence[..16].copy_from_slice(key.job.as_bytes());
    fence[16..20].copy_from_slice(&key.epoch.0.to_be_bytes());
    fence[20..].copy_from_slice(key.claim_id.as_bytes());
    fence
}

/// What of a settlement can be checked before it is sent; its notes as they fit.
fn check(limits: &Limits, settlement: &Settlement) -> Result<Vec<windlass_core::Note>> {
    let Settlement { outcome, follow_ups, .. } = settlement;
    match outcome {
        AttemptOutcome::Completed { result, blobs } => {
            if let Some(result) = result {
                limits.check_result(result)?;
            }
            at_most("blobs of a result", blobs.len(), limits.blobs, "store them as one blob")?;
        }
        _ if !follow_ups.is_empty() => {
            return Err(Error::invalid("follow-up jobs", "only a completion can have them"));
        }
        AttemptOutcome::Retry { delay, .. } | AttemptOutcome::Snoozed { delay } => {
            limits.check_delay("delay in seconds", *delay)?;
        }
        _ => {}
    }
    let hint = "insert the rest from a follow-up";
    at_most("follow-up jobs", follow_ups.len(), limits.follow_ups, hint)?;
    limits.check_insert(follow_ups)?;
    check_load(follow_ups)?;
    notes::fit(limits, &settlement.notes)
}

/// A failure as scripts take it: kind and message as JSON without braces. When it was is the server's to say.
pub(crate) fn failure_part(limits: &Limits, failure: &Failure) -> Result<String> {
    let encode = |e: serde_json::Error| Error::Encode { what: "failure".into(), source: e.into() };
    let kind = serde_json::to_string(&failure.kind).map_err(encode)?;
    let message = serde_json::to_string(&limits.cut_error(&failure.message)).map_err(encode)?;
    Ok(format!("\"kind\":{kind},\"message\":{message}"))
}

pub(crate) fn read(limits: &Limits, answer: Value, refusal: Option<Error>) -> Result<Settled> {
    let mut values = wire::list(answer)?;
    let code = values.first().map(wire::int).transpose()?;
    let state = || {
        let code = values.get(1).map(wire::int).transpose()?;
        let state = code.and_then(State::from_code);
        state.ok_or_else(|| unreadable("a settled job", "its state is unknown"))
    };
    Ok(match code {
        Some(0) => Settled::Applied { state: state()? },
        Some(1) => Settled::Already { state: state()? },
        Some(2) => Settled::Lost,
        Some(3) => {
            let rest = values.split_off(1);
            let why = match refusal {
                Some(why) => why,
                None => refused_by_store(limits, rest)?,
            };
            Settled::Refused { reason: why.to_string() }
        }
        _ => return Err(unreadable("the answer to a settlement", "it has another shape")),
    })
}

/// Why the store refuses to settle or to record: too many notes, or a follow-up.
pub(crate) fn refused_by_store(limits: &Limits, rest: Vec<Value>) -> Result<Error> {
    match (rest.first(), rest.get(1)) {
        (Some(Value::BulkString(why)), Some(count)) if why == b"notes" => {
            Ok(notes::too_many(limits, wire::count(count)?))
        }
        _ => refused(limits, rest),
    }
}
