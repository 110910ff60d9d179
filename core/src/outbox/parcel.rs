//! A job as the bytes of an outbox entry: a line of JSON, then the args as they are.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::OutboxEntry;
use crate::{
    BlobKey, Encoding, Error, Kind, NewJob, OnConflict, Payload, Priority, QueueName, Result,
    Start, Tag, Unique, UniqueKey, UniqueUntil,
};

/// The format written. A reader refuses others; the entry then waits for a relay that knows it.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Head {
    format: u32,
    kind: Kind,
    queue: QueueName,
    encoding: u8,
    priority: Priority,
    max_attempts: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delay: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unique: Option<Key>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    meta: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Tag>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    blobs: Vec<BlobKey>,
}

#[derive(Serialize, Deserialize)]
struct Key {
    key: UniqueKey,
    until: Until,
    on_conflict: Conflict,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Until {
    Started,
    Finished,
    For(Duration),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Conflict {
    Keep,
    Reject,
}

impl TryFrom<&Unique> for Key {
    type Error = Error;

    fn try_from(unique: &Unique) -> Result<Self> {
        let until = match unique.until {
            UniqueUntil::Started => Until::Started,
            UniqueUntil::Finished => Until::Finished,
            UniqueUntil::For(window) => Until::For(window),
        };
        let on_conflict = match unique.on_conflict {
            OnConflict::Keep => Conflict::Keep,
            OnConflict::Reject => Conflict::Reject,
            OnConflict::Replace => return Err(no_replace()),
        };
        Ok(Self { key: unique.key.clone(), until, on_conflict })
    }
}

/// What was replaced keeps its id, so the target would not know the entry again: a relay that repeats it once that job has ended would add the work anew.
fn no_replace() -> Error {
    Error::Invalid {
        what: "unique rule of a job for an outbox".into(),
        why: "with `OnConflict::Replace` a relay that is killed in mid-delivery could make the work run twice: use `Keep` or `Reject`, \
              or enqueue the job on the target after the commit"
            .into(),
    }
}

impl From<Key> for Unique {
    fn from(key: Key) -> Self {
        let until = match key.until {
            Until::Started => UniqueUntil::Started,
            Until::Finished => UniqueUntil::Finished,
            Until::For(window) => UniqueUntil::For(window),
        };
        let on_conflict = match key.on_conflict {
            Conflict::Keep => OnConflict::Keep,
            Conflict::Reject => OnConflict::Reject,
        };
        Self { key: key.key, until, on_conflict }
    }
}

/// Packs a job.
pub(crate) fn pack(job: &NewJob) -> Result<OutboxEntry> {
    let (delay, at) = match job.start {
        Start::Now => (None, None),
        Start::In(delay) => (Some(delay), None),
        Start::At(at) => (None, Some(at)),
    };
    let head = Head {
        format: FORMAT,
        kind: job.kind.clone(),
        queue: job.queue.clone(),
        encoding: job.args.encoding.code(),
        priority: job.priority,
        max_attempts: job.max_attempts,
        timeout: job.timeout,
        delay,
        at,
        unique: job.unique.as_ref().map(Key::try_from).transpose()?,
        meta: job.meta.clone(),
        tags: job.tags.clone(),
        blobs: job.blobs.clone(),
    };
    let mut body = serde_json::to_vec(&head)
        .map_err(|e| Error::Encode { what: "outbox entry".into(), source: e.into() })?;
    body.push(b'\n');
    body.extend_from_slice(&job.args.bytes);
    Ok(OutboxEntry { id: job.id, body: body.into() })
}

/// Unpacks a job that was posted `waited` ago: a delay counts from then.
pub(crate) fn unpack(entry: &OutboxEntry, waited: Duration) -> Result<NewJob> {
    let damaged = |why: String| Error::Decode {
        what: format!("outbox entry of job {}", entry.id).into(),
        source: why.into(),
    };
    let end = entry.body.iter().position(|byte| *byte == b'\n');
    let end = end.ok_or_else(|| damaged("it has no end of its first line".to_owned()))?;
    let (head, args) = (entry.body.slice(..end), entry.body.slice(end + 1..));
    let format = format_of(&head).ok_or_else(|| damaged("its first line is no JSON".to_owned()))?;
    if format != FORMAT {
        return Err(damaged(format!(
            "it is written in format {format}, this library knows format {FORMAT}: upgrade the relay"
        )));
    }
    // Serde quotes what it finds, which may be metadata of the host's: only the place is told.
    let head: Head = serde_json::from_slice(&head)
        .map_err(|e| damaged(format!("its first line does not fit at column {}", e.column())))?;
    job(entry, head, args, waited)
        .ok_or_else(|| damaged("its args have an unknown encoding".to_owned()))
}

fn format_of(head: &Bytes) -> Option<u32> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    serde_json::from_slice::<Format>(head).ok().map(|head| head.format)
}

fn job(entry: &OutboxEntry, head: Head, bytes: Bytes, waited: Duration) -> Option<NewJob> {
    let args = Payload { encoding: Encoding::from_code(head.encoding.into())?, bytes };
    let mut job = NewJob::new(head.kind, head.queue, args);
    job.id = entry.id;
    job.priority = head.priority;
    job.max_attempts = head.max_attempts;
    job.timeout = head.timeout;
    job.start = match (head.delay, head.at) {
        (Some(delay), _) if delay > waited => Start::In(delay - waited),
        (None, Some(at)) => Start::At(at),
        _ => Start::Now,
    };
    job.unique = head.unique.map(Unique::from);
    job.meta = head.meta;
    job.tags = head.tags;
    job.blobs = head.blobs;
    Some(job)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rich() -> NewJob {
        let args = Payload {
            encoding: Encoding::Blob,
            bytes: Bytes::from_static(b"{\"a\":\n\"line\"}\n"),
        };
        let mut job = NewJob::new(Kind::new("k").unwrap(), QueueName::new("q").unwrap(), args);
        job.priority = Priority(-7);
        job.max_attempts = 3;
        job.timeout = Some(Duration::new(5, 7));
        job.unique = Some(Unique {
            key: UniqueKey::new("schlüssel \"1\"").unwrap(),
            until: UniqueUntil::For(Duration::from_millis(1_500)),
            on_conflict: OnConflict::Keep,
        });
        job.meta.insert("trace".to_owned(), "a\nb".to_owned());
        job.tags.push(Tag::new("t").unwrap());
        job.blobs.push(BlobKey::new("some/key").unwrap());
        job
    }

    #[test]
    fn a_job_comes_out_as_it_went_in() {
        for start in [Start::Now, Start::At("2031-01-02T03:04:05.000006Z".parse().unwrap())] {
            let job = NewJob { start, ..rich() };
            let waited = Duration::from_secs(9);
            assert_eq!(unpack(&pack(&job).unwrap(), waited).unwrap(), job);
        }
        for (until, on_conflict) in
            [(UniqueUntil::Started, OnConflict::Keep), (UniqueUntil::Finished, OnConflict::Reject)]
        {
            let mut job = rich();
            let unique = job.unique.as_mut().unwrap();
            (unique.until, unique.on_conflict) = (until, on_conflict);
            assert_eq!(unpack(&pack(&job).unwrap(), Duration::ZERO).unwrap(), job);
        }
    }

    #[test]
    fn a_delay_counts_from_the_post() {
        let job = NewJob { start: Start::In(Duration::from_secs(60)), ..rich() };
        let entry = pack(&job).unwrap();
        let start = |waited| unpack(&entry, Duration::from_secs(waited)).unwrap().start;
        assert_eq!(start(0), Start::In(Duration::from_secs(60)));
        assert_eq!(start(20), Start::In(Duration::from_secs(40)));
        assert_eq!(start(60), Start::Now);
        assert_eq!(start(90), Start::Now);
    }

    #[test]
    fn f52_what_cannot_be_read_is_told_without_its_content() {
        let good = pack(&rich()).unwrap();
        let text = String::from_utf8(good.body.to_vec()).unwrap();
        for (body, why) in [
            ("secret".to_owned(), "no end of its first line"),
            ("secret\n".to_owned(), "no JSON"),
            (text.replace("\"format\":1", "\"format\":2"), "format 2"),
            (text.replace("\"max_attempts\":3", "\"max_attempts\":\"secret\""), "does not fit"),
            (text.replace("\"encoding\":2", "\"encoding\":200"), "unknown encoding"),
        ] {
            let entry = OutboxEntry { id: good.id, body: body.into() };
            let error = unpack(&entry, Duration::ZERO).unwrap_err();
            let text = format!("{error} {}", std::error::Error::source(&error).unwrap());
            assert!(text.contains(why) && text.contains(&good.id.to_string()), "{text}");
            assert!(!format!("{text} {error:?}").contains("secret"), "{text}");
        }
    }
}
