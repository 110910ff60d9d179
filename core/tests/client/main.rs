//! The client on the memory backend.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod blobs;
mod control;
mod enqueue;
mod flaky;
mod follow;
mod handler;
mod result;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use windlass_core::*;

/// A job with defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Mail {
    to: String,
}

impl Job for Mail {
    const KIND: &'static str = "mail";
    type Output = String;
}

fn mail(to: &str) -> Mail {
    Mail { to: to.to_owned() }
}

/// A job whose kind says everything.
#[derive(Debug, Serialize, Deserialize)]
struct Report {
    customer: String,
    pages: u32,
}

impl Job for Report {
    const KIND: &'static str = "report";
    const QUEUE: &'static str = "slow";
    const PRIORITY: Priority = Priority(7);
    const MAX_ATTEMPTS: u32 = 3;
    const TIMEOUT: Option<Duration> = Some(Duration::from_secs(9));
    type Output = ();
    fn unique(&self) -> Result<Option<Unique>> {
        Ok(Some(Unique::of::<Self>(&self.customer)?.until(UniqueUntil::Started)))
    }
}

fn report(customer: &str) -> Report {
    Report { customer: customer.to_owned(), pages: 1 }
}

fn client() -> Client<MemoryBackend> {
    Client::new(Arc::new(MemoryBackend::new()))
}

fn queue(name: &str) -> QueueName {
    QueueName::new(name).unwrap()
}

/// Claims the next job of the queue `default` as a fresh worker.
async fn claim<B: Backend>(client: &Client<B>) -> LeaseKey {
    let backend = client.backend();
    let info = WorkerInfo::new("test", Duration::from_secs(30), vec![queue("default")]);
    let worker = backend.register(&info).await.unwrap().worker;
    let queues = vec![QueueSlots { queue: queue("default"), limit: 1 }];
    let kinds =
        ["mail", "report"].map(|kind| KindSlots { kind: Kind::new(kind).unwrap(), limit: None });
    let request = ClaimRequest::new(worker, queues, kinds.to_vec());
    backend.claim(&request).await.unwrap().leases[0].key
}

/// Runs the next job of the queue `default` to this end.
async fn settle<B: Backend>(client: &Client<B>, outcome: AttemptOutcome) -> JobId {
    let key = claim(client).await;
    let settled = client.backend().settle(&[Settlement::new(key, outcome)]).await.unwrap();
    assert!(matches!(settled[0], Settled::Applied { .. }), "{settled:?}");
    key.job
}

fn completed(result: &impl Serialize) -> AttemptOutcome {
    AttemptOutcome::Completed { result: Some(Payload::json(result).unwrap()), blobs: Vec::new() }
}

fn failure(message: &str) -> Failure {
    Failure { kind: FailureKind::Error, message: message.to_owned() }
}
