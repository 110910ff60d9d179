//! Scripts that are sent what no caller of this crate sends.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use redis::Value;
use windlass_core::{
    ClaimRequest, Error, JobId, Kind, KindSlots, NewJob, Payload, Queue, QueueName, QueueSlots,
    Store, WorkerInfo,
};
use windlass_test_servers::RedisServer;

use crate::pack::{Bytes, pack};
use crate::script::{Args, Script};
use crate::{RedisBackend, wire};

async fn open() -> RedisBackend {
    let server = RedisServer::shared().await.unwrap();
    RedisBackend::connect(&server.url(&format!("test-{}", JobId::new()))).await.unwrap()
}

fn job() -> NewJob {
    let (kind, queue) = (Kind::new("k").unwrap(), QueueName::new("q").unwrap());
    NewJob::new(kind, queue, Payload::json("args").unwrap())
}

/// Every key of the namespace with all that it holds.
async fn everything(backend: &RedisBackend) -> Vec<(Value, Value)> {
    let mut keys = redis::cmd("KEYS");
    keys.arg(format!("{}*", backend.inner.namespace));
    let mut keys = wire::list(backend.inner.command("test", keys).await.unwrap()).unwrap();
    keys.sort_by_key(|key| format!("{key:?}"));
    let mut all = Vec::new();
    for key in keys {
        let mut dump = redis::cmd("DUMP");
        dump.arg(wire::bytes(key.clone()).unwrap());
        all.push((key, backend.inner.command("test", dump).await.unwrap()));
    }
    all
}

async fn refused(backend: &RedisBackend, script: &Script, args: Vec<Vec<u8>>, role: &str) {
    let before = everything(backend).await;
    let args = args.into_iter().fold(Args::new(), Args::bytes);
    let error = backend.inner.call("test", script, args).await.unwrap_err();
    let Error::Backend { source, .. } = &error else { panic!("{error:?}") };
    assert!(source.to_string().contains(&format!("was sent a {role}")), "{source}");
    assert_eq!(everything(backend).await, before, "{role}: something is written");
}

#[tokio::test]
async fn a_bad_job_behind_a_good_one_is_found_before_anything_is_written() {
    let backend = open().await;
    let good = || wire::new_job(&job()).unwrap();
    let [head, body, args] = good();
    let id = JobId::new();
    let bad = [
        vec![b"\xc1".to_vec(), body.clone(), args.clone()],
        vec![pack(&7_u8), body.clone(), args.clone()],
        vec![pack(&("short", 0_u8, 0_u8, 1_u8, 0_u8, 0_u8)), body.clone(), args.clone()],
        vec![pack(&(Bytes(id.as_bytes()), 0_u8, "soon", 1_u8, 0_u8, 0_u8)), body, args.clone()],
        vec![head.clone(), b"\xc1".to_vec(), args.clone()],
        vec![head.clone(), pack(&("k", 7_u8, 0_u8, 0_u8, "", 1_u8)), args.clone()],
        vec![head.clone(), pack(&("k", "q", "high", 0_u8, "", 1_u8)), args],
    ];
    for bad in bad {
        let all = [vec![backend.inner.limits.clone()], good().to_vec(), bad].concat();
        refused(&backend, &backend.inner.scripts.insert, all, "new job").await;
    }
    let whole = [vec![backend.inner.limits.clone()], good().to_vec()].concat();
    let args = whole.into_iter().fold(Args::new(), Args::bytes);
    backend.inner.call("test", &backend.inner.scripts.insert, args).await.unwrap();
}

#[tokio::test]
async fn plain_jobs_that_are_cut_off_are_found_before_anything_is_written() {
    let backend = open().await;
    let new: Vec<_> = (0..3).map(|_| job()).collect();
    let whole = super::plain::args(&new).unwrap();
    let whole: Vec<Vec<u8>> = whole.iter().map(<[u8]>::to_vec).collect();
    let script = &backend.inner.scripts.insert_plain;
    for left in 0..whole.len() {
        refused(&backend, script, whole[..left].to_vec(), "new job").await;
    }
    let mut other = whole.clone();
    other[0] = b"\xc1".to_vec();
    refused(&backend, script, other, "new job").await;
    let args = whole.into_iter().fold(Args::new(), Args::bytes);
    backend.inner.call("test", script, args).await.unwrap();
}

#[tokio::test]
async fn a_bad_entry_behind_a_good_one_settles_and_records_nothing() {
    let backend = open().await;
    let info = WorkerInfo::new("test", Duration::from_secs(60), vec![]);
    backend.register(&info).await.unwrap();
    backend.insert(&[job()]).await.unwrap();
    let slots = vec![QueueSlots { queue: QueueName::new("q").unwrap(), limit: 1 }];
    let kinds = vec![KindSlots { kind: Kind::new("k").unwrap(), limit: None }];
    let request = ClaimRequest::new(info.id, slots, kinds);
    let key = backend.claim(&request).await.unwrap().leases[0].key;
    let fence = || (Bytes(key.job.as_bytes()), key.epoch.0, Bytes(key.claim_id.as_bytes()));
    let (job, epoch, claim) = fence();
    let none: Vec<&str> = Vec::new();
    let good = pack(&(job, epoch, claim, 0_u8, 0_u8, "", 0_u8, 0_u8, none, 0_u8, 0_u8));
    let (job, _, claim) = fence();
    let bad = [b"\xc1".to_vec(), pack(&"text"), pack(&(job, "first", claim, 0_u8, 0_u8))];
    let inner = &backend.inner;
    for bad in &bad {
        let head = vec![inner.limits.clone(), inner.pauses.clone(), b"2".to_vec()];
        let entries = vec![good.clone(), Vec::new(), bad.clone(), Vec::new()];
        refused(&backend, &inner.scripts.settle, [head, entries].concat(), "settlement").await;
    }
    let (job, epoch, claim) = fence();
    let note = pack(&(job, epoch, claim, 0_u8, 1_u8));
    for bad in bad {
        let head = vec![inner.limits.clone(), b"2".to_vec()];
        let entries = vec![note.clone(), br#"{"note":{}}"#.to_vec(), Vec::new(), bad];
        refused(&backend, &inner.scripts.record, [head, entries].concat(), "record").await;
    }
}
