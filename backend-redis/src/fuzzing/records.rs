//! Jobs as they are packed, and entries of the feed whose ids stand beside them.

use std::time::Duration;

use arbitrary::{Result, Unstructured};
use windlass_core::kit::feed::{Entry, Fact, changes};
use windlass_core::kit::{duration, micros};
use windlass_core::{
    BlobKey, Cause, Encoding, JobId, Kind, NewJob, Payload, Priority, QueueName, Start, State, Tag,
    Unique, UniqueKey, UniqueUntil,
};

use super::check_told;
use crate::changes::{Change, body, whole};
use crate::pack::Pack;
use crate::records::Row;
use crate::wire;

const NAMES: [&str; 3] = ["k", "q.1", "A-b_c:9"];

/// Bytes as each field of a stored job and as an entry, and both made of bytes.
pub fn records(data: &[u8]) {
    fields(data);
    if let Ok(text) = std::str::from_utf8(data) {
        let (text, ids) = text.split_once('|').unwrap_or((text, ""));
        match whole(text, ids.as_bytes()) {
            // What is whole can be read, unless one of its names is none.
            Ok(body) => match (Entry { seq: 1, at: 1, job: None, body }).events() {
                Ok(events) => assert_eq!(events.len(), ids.len() / 16),
                Err(error) => check_told(&error),
            },
            Err(error) => check_told(&error),
        }
    }
    let u = &mut Unstructured::new(data);
    // Too few bytes are no job.
    let _ = packed(u);
    let _ = entry(u);
}

/// A stored job in which each field in turn is something else.
fn fields(data: &[u8]) {
    let job = NewJob::new(name(0), queue(1), Payload::json("").unwrap());
    let row = || row(&job, standing(State::Available, 1));
    let changed: [fn(&mut Row, Vec<u8>); 6] = [
        |row, bytes| row.standing = Some(bytes),
        |row, bytes| row.body = Some(bytes),
        |row, bytes| row.errors = Some(bytes),
        |row, bytes| row.progress = Some(bytes),
        |row, bytes| row.result = Some(bytes),
        |row, bytes| row.args = Some(bytes),
    ];
    assert!(row().record().is_ok());
    for change in changed {
        let mut row = row();
        change(&mut row, data.to_vec());
        if let Err(error) = row.record() {
            check_told(&error);
        }
    }
}

fn name(n: usize) -> Kind {
    Kind::new(NAMES[n]).unwrap()
}

fn queue(n: usize) -> QueueName {
    QueueName::new(NAMES[n]).unwrap()
}

/// A stored job as scripts leave it.
fn row(job: &NewJob, standing: Vec<u8>) -> Row {
    let [_, body, args] = wire::new_job(job).unwrap();
    Row {
        id: job.id,
        standing: Some(standing),
        body: Some(body),
        errors: None,
        progress: None,
        result: None,
        args: Some(args),
    }
}

/// What of a job changes: 18 fields.
fn standing(state: State, number: u32) -> Vec<u8> {
    let mut to = vec![0xdd, 0, 0, 0, 18];
    i64::from(state.code()).pack(&mut to);
    for _ in 0..5 {
        number.pack(&mut to);
    }
    0_u8.pack(&mut to);
    for _ in 0..4 {
        number.pack(&mut to);
    }
    for _ in 0..2 {
        "".pack(&mut to);
    }
    for _ in 0..5 {
        number.pack(&mut to);
    }
    to
}

fn length(u: &mut Unstructured<'_>) -> Result<Duration> {
    Ok(Duration::new(u.arbitrary()?, u.int_in_range(0..=999_999_999)?))
}

/// A new job's fields read back as they were.
fn packed(u: &mut Unstructured<'_>) -> Result<()> {
    let args = Payload {
        encoding: *u.choose(&[Encoding::Json, Encoding::Blob])?,
        bytes: u.arbitrary::<Vec<u8>>()?.into(),
    };
    let mut job = NewJob::new(name(u.choose_index(3)?), queue(u.choose_index(3)?), args);
    job.priority = Priority(u.arbitrary()?);
    job.meta = u.arbitrary()?;
    if u.arbitrary()? {
        job.timeout = Some(length(u)?);
    }
    job.start = Start::In(length(u)?);
    if let Ok(key) = UniqueKey::new(u.arbitrary::<String>()?) {
        let window = UniqueUntil::For(length(u)?);
        job.unique = Some(Unique { key, until: window, on_conflict: Default::default() });
    }
    for _ in 0..u.int_in_range(0..=20)? {
        job.tags.push(Tag::new(*u.choose(&NAMES)?).unwrap());
        job.blobs.push(BlobKey::new(*u.choose(&NAMES)?).unwrap());
    }
    let (state, number) = (*u.choose(&State::ALL)?, u.arbitrary()?);
    let mut row = row(&job, standing(state, number));
    let result = Payload { encoding: job.args.encoding, bytes: job.args.bytes.clone() };
    row.result = Some(wire::stored_payload(&result));
    let read = row.record().unwrap();
    assert_eq!((read.id, &read.kind, &read.queue), (job.id, &job.kind, &job.queue));
    assert_eq!((read.state, read.epoch.0, read.attempt), (state, number, number));
    assert_eq!((read.priority, &read.meta, &read.tags), (job.priority, &job.meta, &job.tags));
    assert_eq!((&read.args, read.result), (&job.args, Some(result)));
    assert_eq!(read.unique_key, job.unique.map(|unique| unique.key));
    let timeout = job.timeout.map(micros).filter(|micros| *micros > 0);
    assert_eq!(read.timeout, timeout.map(duration));
    Ok(())
}

/// An entry with its ids beside it is the entry of each job.
fn entry(u: &mut Unstructured<'_>) -> Result<()> {
    let mut made = Vec::new();
    for _ in 0..u.int_in_range(0..=8)? {
        let id: [u8; 16] = u.arbitrary()?;
        let from = if u.arbitrary()? { Some(*u.choose(&State::ALL)?) } else { None };
        let (kind, queue) = (*u.choose(&NAMES)?, *u.choose(&NAMES)?);
        let change = Change { kind, queue, from, to: *u.choose(&State::ALL)? };
        made.push((JobId::from_slice(&id).unwrap(), change));
    }
    made.sort_by_key(|(id, _)| *id);
    made.dedup_by_key(|(id, _)| *id);
    let cause = *u.choose(&[Cause::Inserted, Cause::Claimed, Cause::Changed])?;
    let facts = made.iter().map(|(job, change)| {
        let Change { kind, queue, from, to } = *change;
        Fact { job: *job, kind, queue, from, to, attempt: 0, worker: None, error: None }
    });
    let expected = changes(cause, facts.collect());
    let text = body(cause, made.iter().map(|(_, change)| *change));
    let ids: Vec<u8> = made.iter().flat_map(|(id, _)| *id.as_bytes()).collect();
    assert_eq!(whole(&text, &ids).unwrap(), expected);
    if let Some(last) = ids.len().checked_sub(1) {
        assert!(whole(&text, &ids[..last]).is_err());
    }
    Ok(())
}
