//! Calls of a backend without a worker.

use std::time::{Duration, Instant};

use windlass::{
    AttemptOutcome, Backend, ClaimRequest, JobId, Kind, KindSlots, NewJob, Payload, QueueName,
    QueueSlots, Settlement, WorkerInfo,
};

use crate::Result;

/// Jobs per claim and per settle call.
pub const BATCH: u32 = 500;

pub fn job() -> Result<NewJob> {
    let args = Payload::json(&serde_json::json!({ "number": 1, "padding": "x".repeat(64) }))?;
    Ok(NewJob::new(Kind::new("noop")?, QueueName::new("default")?, args))
}

pub async fn fill(backend: &impl Backend, jobs: u64) -> Result<()> {
    for _ in 0..jobs / 1_000 {
        let new: Result<Vec<NewJob>> = (0..1_000).map(|_| job()).collect();
        backend.insert(&new?).await?;
    }
    Ok(())
}

/// Takes jobs batch by batch and completes them.
pub struct Drain<B> {
    backend: B,
    request: ClaimRequest,
}

/// One batch: its jobs, and how long the claim and the settlement took.
type Batch = (Vec<JobId>, Duration, Duration);

impl<B: Backend> Drain<B> {
    pub async fn new(backend: B) -> Result<Self> {
        let (queue, kind) = (QueueName::new("default")?, Kind::new("noop")?);
        let info = WorkerInfo::new("bench", Duration::from_secs(600), vec![queue.clone()]);
        let worker = backend.register(&info).await?.worker;
        let queues = vec![QueueSlots { queue, limit: BATCH }];
        let kinds = vec![KindSlots { kind, limit: None }];
        Ok(Self { backend, request: ClaimRequest::new(worker, queues, kinds) })
    }

    pub async fn batch(&self) -> Result<Batch> {
        let (ask, begun) = (&self.request, Instant::now());
        let request = ClaimRequest::new(ask.worker, ask.queues.clone(), ask.kinds.clone());
        let leases = self.backend.claim(&request).await?.leases;
        let claimed = begun.elapsed();
        let outcome = || AttemptOutcome::Completed { result: None, blobs: Vec::new() };
        let outcomes: Vec<_> = leases.iter().map(|l| Settlement::new(l.key, outcome())).collect();
        let settling = Instant::now();
        self.backend.settle(&outcomes).await?;
        Ok((leases.iter().map(|l| l.key.job).collect(), claimed, settling.elapsed()))
    }
}
