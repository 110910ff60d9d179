//! A first walk: insert, claim, settle, read back.

use std::time::Duration;

use windlass_core::{
    AttemptOutcome, ClaimRequest, Inserted, Kind, KindSlots, NewJob, Payload, Queue, QueueName,
    QueueSlots, Settled, Settlement, State, Store, WorkerInfo,
};
use windlass_sqlite::{SqliteBackend, SqliteOptions};

#[tokio::test]
async fn a_job_runs_from_insert_to_completion() {
    let folder = tempfile::tempdir().unwrap();
    let backend =
        SqliteBackend::open(SqliteOptions::new(folder.path().join("jobs.db"))).await.unwrap();
    let (kind, queue) = (Kind::new("k").unwrap(), QueueName::new("q").unwrap());
    let job = NewJob::new(kind.clone(), queue.clone(), Payload::json(&"args").unwrap());
    assert_eq!(backend.insert(&[job.clone()]).await.unwrap(), [Inserted::New(job.id)]);
    assert_eq!(
        backend.insert(&[job.clone()]).await.unwrap(),
        [Inserted::Duplicate { existing: job.id }]
    );
    let worker = WorkerInfo::new("w", Duration::from_secs(30), vec![queue.clone()]);
    backend.register(&worker).await.unwrap();
    let request = ClaimRequest::new(
        worker.id,
        vec![QueueSlots { queue, limit: 10 }],
        vec![KindSlots { kind, limit: None }],
    );
    let leases = backend.claim(&request).await.unwrap().leases;
    assert_eq!(leases.len(), 1);
    assert_eq!((leases[0].attempt, leases[0].args.clone()), (1, job.args.clone()));
    assert_eq!(backend.get(job.id).await.unwrap().unwrap().state, State::Running);
    let result = Some(Payload::json(&42).unwrap());
    let outcome = AttemptOutcome::Completed { result: result.clone(), blobs: Vec::new() };
    let settlement = Settlement::new(leases[0].key, outcome);
    let settle = |s: Settlement| async { backend.settle(&[s]).await.unwrap().remove(0) };
    assert_eq!(settle(settlement.clone()).await, Settled::Applied { state: State::Completed });
    assert_eq!(settle(settlement).await, Settled::Already { state: State::Completed });
    let done = backend.get(job.id).await.unwrap().unwrap();
    assert_eq!((done.state, done.result, done.worker), (State::Completed, result, Some(worker.id)));
}
