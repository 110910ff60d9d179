//! Records of running jobs, and host events of any job.

use redis::Value;
use windlass_core::kit::{notes, unreadable};
use windlass_core::{Error, EventBody, JobId, Limits, Note, Record, Recorded, Result};

use super::settle::refused_by_store;
use super::{load_of, portions};
use crate::backend::Inner;
use crate::pack::Bytes;
use crate::script::Args;
use crate::wire;

/// Records in one script.
const AT_ONCE: usize = 100;

/// Adds records; each is applied whole, or not at all and the answer says so.
pub(crate) async fn record(inner: &Inner, records: &[Record]) -> Result<Vec<Recorded>> {
    let mut recorded = Vec::with_capacity(records.len());
    let load = |record: &Record| {
        let (notes, bytes) = load_of(&record.notes);
        (1 + notes, bytes)
    };
    for some in portions(records, AT_ONCE, load) {
        recorded.extend(record_some(inner, some).await?);
    }
    Ok(recorded)
}

async fn record_some(inner: &Inner, records: &[Record]) -> Result<Vec<Recorded>> {
    let mut args = Args::new().bytes(&inner.limits).int(records.len());
    let mut refusals = Vec::with_capacity(records.len());
    for record in records {
        let fit = notes::fit(&inner.options.limits, &record.notes);
        let (fit, refusal) = match fit {
            Ok(fit) => (fit, None),
            Err(refusal) => (Vec::new(), Some(refusal)),
        };
        let (job, claim) = (record.key.job, record.key.claim_id);
        let refused = u8::from(refusal.is_some());
        let (job, claim) = (Bytes(job.as_bytes()), Bytes(claim.as_bytes()));
        args.pack(&(job, record.key.epoch.0, claim, refused, fit.len()));
        push_notes(&mut args, &fit)?;
        refusals.push(refusal);
    }
    let answers = wire::list(inner.call("record", &inner.scripts.record, args).await?)?;
    let limits = &inner.options.limits;
    let answers = answers.into_iter().zip(refusals);
    answers.map(|(answer, refusal)| recorded(limits, answer, refusal)).collect()
}

/// What became of a record.
pub(crate) fn recorded(limits: &Limits, answer: Value, refusal: Option<Error>) -> Result<Recorded> {
    let mut values = wire::list(answer)?;
    Ok(match values.first().map(wire::int).transpose()? {
        Some(0) => Recorded::Applied,
        Some(2) => Recorded::Lost,
        Some(3) => {
            let rest = values.split_off(1);
            let why = match refusal {
                Some(why) => why,
                None => refused_by_store(limits, rest)?,
            };
            Recorded::Refused { reason: why.to_string() }
        }
        _ => return Err(unreadable("the answer to a record", "it has another shape")),
    })
}

/// Two values for each note: its event, and the progress alone.
pub(crate) fn push_notes(args: &mut Args, notes: &[Note]) -> Result<()> {
    let encode = |e: serde_json::Error| Error::Encode { what: "event".into(), source: e.into() };
    for note in notes {
        args.push(serde_json::to_vec(&EventBody::Note(note.clone())).map_err(encode)?);
        args.push(match note {
            Note::Progress(progress) => serde_json::to_vec(progress).map_err(encode)?,
            _ => Vec::new(),
        });
    }
    Ok(())
}

/// Adds host events to a job in any state.
pub(crate) async fn append(inner: &Inner, id: JobId, given: &[Note]) -> Result<()> {
    if given.iter().any(|note| matches!(note, Note::Progress(_))) {
        return Err(Error::invalid("event", "progress is reported by the job's handler only"));
    }
    let fit = notes::fit(&inner.options.limits, given)?;
    let mut args = Args::new().bytes(&inner.limits).bytes(id.as_bytes());
    push_notes(&mut args, &fit)?;
    let answer = inner.call("append", &inner.scripts.append, args).await?;
    appended(&inner.options.limits, id, answer)
}

/// Whether events were added.
pub(crate) fn appended(limits: &Limits, id: JobId, answer: Value) -> Result<()> {
    let mut values = wire::list(answer)?;
    match values.first().map(wire::int).transpose()? {
        Some(0) => Ok(()),
        Some(1) => Err(Error::NotFound { what: format!("job {id}").into() }),
        Some(3) => Err(refused_by_store(limits, values.split_off(1))?),
        _ => Err(unreadable("the answer to added events", "it has another shape")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::settle;

    /// What is no script of this library may answer anything.
    #[test]
    fn an_answer_that_says_nothing_is_an_error() {
        let (limits, id) = (Limits::default(), JobId::new());
        for values in [Vec::new(), vec![Value::Int(7)], vec![Value::Int(3)]] {
            let answer = || Value::Array(values.clone());
            assert!(recorded(&limits, answer(), None).is_err(), "{values:?}");
            assert!(settle::read(&limits, answer(), None).is_err(), "{values:?}");
            let error = appended(&limits, id, answer()).unwrap_err();
            assert!(matches!(error, Error::Decode { .. }), "{error:?}");
        }
    }
}
