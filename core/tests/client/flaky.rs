//! A backend that fails when told to: before it does anything, or after, so that the reply is lost.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use windlass_core::*;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    /// Nothing is done.
    Away,
    /// It is done, and the reply is lost.
    LostReply,
    /// Nothing is done, and never will be.
    Broken,
    /// Nothing is done, and no answer comes.
    Hangs,
}

#[derive(Debug, Default)]
pub(crate) struct Flaky {
    inner: MemoryBackend,
    faults: Mutex<VecDeque<(&'static str, Fault)>>,
    calls: Mutex<Vec<&'static str>>,
}

impl Flaky {
    /// The next call of this name ends so.
    pub(crate) fn next(&self, name: &'static str, fault: Fault) {
        self.faults.lock().unwrap().push_back((name, fault));
    }

    /// Moves the clock.
    pub(crate) fn advance(&self, by: Duration) {
        self.inner.advance(by);
    }

    /// How often a method was called.
    pub(crate) fn calls(&self, name: &str) -> usize {
        self.calls.lock().unwrap().iter().filter(|call| **call == name).count()
    }

    /// Faults told of and not yet met.
    pub(crate) fn faults_left(&self) -> usize {
        self.faults.lock().unwrap().len()
    }

    fn fault(&self, name: &'static str) -> Option<Fault> {
        self.calls.lock().unwrap().push(name);
        let mut faults = self.faults.lock().unwrap();
        let at = faults.iter().position(|(of, _)| *of == name)?;
        faults.remove(at).map(|(_, fault)| fault)
    }
}

fn error(during: &'static str, fault: Fault) -> Error {
    let source = "a test said so".into();
    match fault {
        Fault::Broken => Error::Backend { backend: "flaky", during, source },
        _ => Error::Unavailable { backend: "flaky", during, source },
    }
}

macro_rules! flaky {
    ($trait:ident { $(fn $name:ident($($arg:ident: $ty:ty),*) -> $out:ty;)* } $($rest:tt)*) => {
        #[async_trait]
        impl $trait for Flaky {
            $(async fn $name(&self $(, $arg: $ty)*) -> Result<$out> {
                let fault = self.fault(stringify!($name));
                if fault == Some(Fault::Hangs) {
                    std::future::pending::<()>().await;
                }
                if let Some(fault @ (Fault::Away | Fault::Broken)) = fault {
                    return Err(error(stringify!($name), fault));
                }
                let answer = self.inner.$name($($arg),*).await;
                fault.map_or(answer, |fault| Err(error(stringify!($name), fault)))
            })*
            $($rest)*
        }
    };
}

flaky!(Queue {
    fn register(info: &WorkerInfo) -> WorkerLease;
    fn heartbeats(beats: &[Beat]) -> Vec<Heartbeat>;
    fn deregister(worker: WorkerId) -> ();
    fn claim(request: &ClaimRequest) -> Claimed;
    fn settle(settlements: &[Settlement]) -> Vec<Settled>;
    fn record(records: &[Record]) -> Vec<Recorded>;
    fn maintain(limit: u32) -> Maintained;
    fn wait(queues: &[QueueName], timeout: Duration) -> Wake;
}
fn hears(&self) -> bool {
    self.inner.hears()
});

flaky!(Store {
    fn insert(jobs: &[NewJob]) -> Vec<Inserted>;
    fn get(id: JobId) -> Option<JobRecord>;
    fn list(query: &JobQuery) -> Page<JobRecord>;
    fn change(request: &ChangeRequest) -> Changed;
    fn history(id: JobId, after: Option<Position>, limit: usize) -> EventPage;
    fn events(filter: &EventFilter, after: Option<Position>, limit: usize) -> EventPage;
    fn tail() -> Option<Position>;
    fn watch(after: Option<Position>, timeout: Duration) -> ();
    fn append(id: JobId, notes: &[Note]) -> ();
    fn stats(query: &StatsQuery) -> Stats;
    fn queue_settings(names: &[QueueName]) -> Vec<QueueSettings>;
    fn configure_queue(name: &QueueName, change: &QueueChange) -> QueueSettings;
    fn workers() -> Vec<WorkerRecord>;
    fn stage_blobs(keys: &[BlobKey], ttl: Duration) -> ();
    fn prune(retention: &Retention, limit: u32) -> Pruned;
    fn blobs_deleted(keys: &[BlobKey]) -> ();
});

#[async_trait]
impl Backend for Flaky {
    fn name(&self) -> &'static str {
        "flaky"
    }
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
    fn limits(&self) -> &Limits {
        self.inner.limits()
    }
    fn storage(&self) -> Arc<dyn Storage> {
        self.inner.storage()
    }
    async fn ping(&self) -> Result<()> {
        self.inner.ping().await
    }
    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

/// A host transaction: what is done in it happens at its commit. Unlike a real one it does not look at the store before.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    pub(crate) jobs: Vec<NewJob>,
    pub(crate) settlements: Vec<Settlement>,
    /// What settling answers, if not that it was applied.
    pub(crate) answer: Option<Settled>,
}

impl Transaction {
    pub(crate) async fn commit(self, backend: &Flaky) {
        backend.inner.insert(&self.jobs).await.unwrap();
        let settled = backend.inner.settle(&self.settlements).await.unwrap();
        assert!(settled.iter().all(|s| matches!(s, Settled::Applied { .. })), "{settled:?}");
    }
}

impl Transactional for Flaky {
    type Conn = Transaction;

    async fn insert_in(&self, tx: &mut Transaction, jobs: &[NewJob]) -> Result<Vec<Inserted>> {
        tx.jobs.extend_from_slice(jobs);
        Ok(jobs.iter().map(|job| Inserted::New(job.id)).collect())
    }

    async fn settle_in(&self, tx: &mut Transaction, settlement: &Settlement) -> Result<Settled> {
        if let Some(answer) = tx.answer.clone() {
            return Ok(answer);
        }
        tx.settlements.push(settlement.clone());
        Ok(Settled::Applied { state: State::Completed })
    }
}
