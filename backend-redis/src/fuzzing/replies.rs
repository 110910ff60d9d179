//! Replies of the server: of scripts, of commands, of Sentinels and of the nodes of a cluster.

use arbitrary::{Result, Unstructured};
use redis::Value;
use windlass_core::{
    BlobKey, ClaimId, ClaimRequest, Epoch, Error, Heartbeat, JobId, Kind, LeaseKey, Limits, NewJob,
    Payload, QueueName, WorkerId,
};

use super::check_told;
use super::like::{Like, make};
use crate::backend::preflight;
use crate::ops::{claim, insert, plain, record, settings, settle, worker};
use crate::read::{self, feed, stats};
use crate::records::Row;
use crate::route::{cluster, sentinel};
use crate::{storage, wire};

use Like::{Bytes, Code, Id, Int, List, Many, Packed, Text, Word};

/// Names, some of which are none.
const NAMES: Like = Text(&["k", "default", "q.1", "", "a b", "é"]);
const ENTRIES: Like = Text(&[
    r#"{"kind":"k","queue":"q","body":{"cancel_requested":{"reason":"hunter2"}}}"#,
    r#"{"kind":"k","queue":"q","body":{"note":{"progress":{"done":1}}}}"#,
    r#"{"c":0,"n":["k","q"],"w":[],"r":[[1,0,1,-1,2,0,-1]]}"#,
    r#"{"c":0,"n":["k","q"],"w":[],"r":[[9223372036854775807,0,1,-1,2,0,-1]]}"#,
    r#"{"c":"hunter2","n":[],"w":[],"j":[],"e":[]}"#,
    "hunter2",
]);
const JSON: Like =
    Text(&["", "{}", "{\"a\":\"b\"}", "[]", "{\"a\":7}", "{\"hunter2\":", "\"hunter2\""]);
const STANDING: Like = Packed(&[
    Code, Int, Int, Int, Int, Int, Code, Int, Int, Int, Int, Id, Id, Int, Int, Int, Int, Int,
]);
const BODY: Like =
    Packed(&[NAMES, NAMES, Code, Int, NAMES, Code, Code, JSON, Many(&[NAMES]), Many(&[NAMES])]);
const MARK: Like =
    Text(&["\0\0\0\x01aaaaaaaaaaaaaaaa1", "\0\0\0\x01aaaaaaaaaaaaaaaa", "\0\0\0", ""]);
const NODE: Like = List(&[Text(&["a", "", "?", "::1"]), Int, Bytes]);

/// The shapes that replies have.
const SHAPES: [Like; 22] = [
    // A job of a listing, and of a claim.
    List(&[Id, STANDING, BODY, JSON, JSON, Bytes, Bytes]),
    List(&[Id, STANDING, BODY, Bytes, JSON]),
    // How a claim goes on, and how an insert ended.
    Packed(&[Int, Int]),
    Bytes,
    // A settlement, a record, an added note.
    List(&[Code, Code]),
    List(&[Word("3"), Word("notes"), Int]),
    List(&[Word("3"), Word("full"), NAMES, Int]),
    List(&[Word("3"), Word("delay"), Int]),
    // What stands in the way of plain jobs.
    List(&[Many(&[Int]), Many(&[NAMES])]),
    // A heartbeat, a worker, settings of a queue, a count, a blob.
    List(&[Code, Many(&[Id, MARK])]),
    List(&[Id, Packed(&[Int, Int, NAMES, Many(&[NAMES])]), Int, Int]),
    Packed(&[Text(&["0", "1"]), Text(&["", "7", "x"]), Text(&["", "-1", "x"])]),
    Text(&["q/k/2", "q/k/9", "q/k", "q//2", "/", ""]),
    Packed(&[NAMES, Int, Int, Int]),
    // The feed.
    List(&[Text(&["5-0", "5", "-", "x-0"]), Many(&[Text(&["a", "j", "b", "i"]), ENTRIES])]),
    List(&[Text(&["5-0"]), List(&[Word("a"), Int, Word("j"), Id, Word("b"), ENTRIES])]),
    List(&[Text(&["5-0"]), List(&[Word("a"), Int, Word("i"), Id, Word("b"), ENTRIES])]),
    Text(&["5 6 {}", "5 6", "5  6 x", "x"]),
    // Slots of a cluster, a master, settings of a server.
    Many(&[List(&[Int, Int, NODE, NODE])]),
    Many(&[Text(&["ip", "port", "config-epoch"]), Text(&["a", "6379", "7", "x", ""])]),
    Many(&[Text(&["appendfsync", "no-appendfsync-on-rewrite"]), Text(&["always", "no", "yes"])]),
    Text(&["maxmemory_policy:noeviction\r\naof_enabled:1", "aof_enabled", ":", "\n"]),
];

/// A reply of some shape, read by everything that reads replies.
pub fn replies(data: &[u8]) {
    // Too few bytes are no reply.
    let _ = reply(&mut Unstructured::new(data));
}

fn reply(u: &mut Unstructured<'_>) -> Result<()> {
    let like = *u.choose(&SHAPES)?;
    let value = make(u, like)?;
    let readers: [fn(&Value) -> windlass_core::Result<()>; 6] =
        [jobs, calls, heartbeat, figures, entries, servers];
    for read in readers {
        if let Err(error) = read(&value) {
            check_told(&error);
        }
    }
    Ok(())
}

/// Gives each reader its turn; the first error is the answer.
fn all<const N: usize>(results: [windlass_core::Result<()>; N]) -> windlass_core::Result<()> {
    results.into_iter().collect()
}

fn id() -> JobId {
    JobId::derived("fuzzing")
}

fn queue() -> QueueName {
    QueueName::new("q").unwrap()
}

fn request() -> ClaimRequest {
    ClaimRequest::new(WorkerId::new(), Vec::new(), Vec::new())
}

fn new_jobs() -> Vec<NewJob> {
    let job = || NewJob::new(Kind::new("k").unwrap(), queue(), Payload::json("").unwrap());
    vec![job(), job()]
}

fn jobs(value: &Value) -> windlass_core::Result<()> {
    let request = request();
    let lease = claim::lease(&request, value.clone());
    all([
        read::row(value.clone()).and_then(Row::record).map(drop),
        lease.and_then(|lease| lease.map_err(|(_, error)| error)).map(drop),
        claim::next(value, value.clone()).map(drop),
    ])
}

fn calls(value: &Value) -> windlass_core::Result<()> {
    let limits = Limits::default();
    let refusal = || Some(Error::invalid("outcome", "it is refused"));
    let list = wire::list(value.clone());
    let jobs = new_jobs();
    let inserted = wire::bytes(value.clone()).and_then(|answers| insert::read(&answers, &jobs));
    if let Ok(inserted) = &inserted {
        assert_eq!(inserted.len(), jobs.len());
    }
    all([
        inserted.map(drop),
        settle::read(&limits, value.clone(), None).map(drop),
        settle::read(&limits, value.clone(), refusal()).map(drop),
        record::recorded(&limits, value.clone(), None).map(drop),
        record::recorded(&limits, value.clone(), refusal()).map(drop),
        record::appended(&limits, id(), value.clone()),
        list.and_then(|list| insert::refused(&limits, list)).map(drop),
        plain::Obstacles::read(value.clone()).map(drop),
    ])
}

fn heartbeat(value: &Value) -> windlass_core::Result<()> {
    let key = |epoch| LeaseKey {
        job: id(),
        epoch: Epoch(epoch),
        claim_id: ClaimId::from_slice(&[b'a'; 16]).unwrap(),
    };
    let owned = [key(1), key(2)];
    if let Heartbeat::Alive { lost, cancel, orphaned } = worker::compare(value.clone(), &owned)? {
        assert!(lost.len() + cancel.len() <= owned.len());
        assert!(lost.iter().chain(&cancel).all(|key| owned.contains(key)));
        assert!(orphaned.iter().all(|key| !owned.contains(key)));
    }
    Ok(())
}

fn figures(value: &Value) -> windlass_core::Result<()> {
    let bytes = || wire::bytes(value.clone());
    let key = BlobKey::new("blobs/a").unwrap();
    all([
        read::worker(value.clone()).map(drop),
        bytes().and_then(|stored| settings::settings(queue(), &stored)).map(drop),
        wire::text(value.clone()).and_then(|name| stats::count(&name, &Value::Int(1))).map(drop),
        bytes().and_then(|stored| storage::read(key, &stored)).map(drop),
    ])
}

fn entries(value: &Value) -> windlass_core::Result<()> {
    all([
        feed::entry(value.clone()).and_then(|entry| entry.events()).map(drop),
        wire::text(value.clone()).and_then(|text| feed::note(id(), &text)).map(drop),
    ])
}

fn servers(value: &Value) -> windlass_core::Result<()> {
    let _ = cluster::read(value.clone(), 1, "asked");
    let _ = sentinel::read(value.clone());
    let _ = preflight::sync_of(value.clone());
    wire::text(value.clone()).map(|told| drop(preflight::read(&told, None)))
}
