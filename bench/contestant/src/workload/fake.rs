//! A contestant in memory with the faults that are to be seen.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::{Contestant, Handler, Payload, Result, Setup};

/// Jobs by URL, as if it were a server.
static STORES: LazyLock<Mutex<HashMap<String, Arc<Store>>>> = LazyLock::new(Mutex::default);

/// How long it takes to do what was put off.
pub(super) const FINISH: Duration = Duration::from_millis(50);

/// A job that is run after some time.
pub(super) const PAUSE: u64 = 20_000;

struct Store {
    send: mpsc::UnboundedSender<Payload>,
    jobs: tokio::sync::Mutex<mpsc::UnboundedReceiver<Payload>>,
    left: Mutex<u64>,
}

#[derive(Clone)]
pub(super) struct Fake {
    store: Arc<Store>,
    fault: String,
}

impl Contestant for Fake {
    const NAME: &'static str = "fake";
    type Worker = JoinHandle<()>;

    async fn open(setup: &Setup) -> Result<Self> {
        let mut stores = STORES.lock().unwrap();
        let store = stores.entry(setup.url.clone()).or_insert_with(|| {
            let (send, jobs) = mpsc::unbounded_channel();
            Arc::new(Store { send, jobs: jobs.into(), left: Mutex::new(0) })
        });
        Ok(Self { store: store.clone(), fault: setup.config.clone() })
    }

    async fn enqueue(&self, payload: Payload) -> Result<()> {
        let number = payload.number;
        if self.fault != "forgets" || number.is_multiple_of(2) {
            *self.store.left.lock().unwrap() += 1;
            self.store.send.send(payload)?;
        }
        // No faster than numbers are kept for.
        if number.is_multiple_of(16) {
            tokio::time::sleep(Duration::from_micros(1)).await;
        }
        Ok(())
    }

    async fn start(&self, handler: Handler, _concurrency: usize) -> Result<JoinHandle<()>> {
        let (store, fault) = (self.store.clone(), self.fault.clone());
        Ok(tokio::spawn(async move {
            let mut jobs = store.jobs.lock().await;
            while let Some(job) = jobs.recv().await {
                match (fault.as_str(), job.number) {
                    ("pauses", PAUSE) => {
                        // Until those who enqueue are gone, beside whom there are the table of stores, the system and this.
                        while Arc::strong_count(&store) > 3 {
                            tokio::time::sleep(Duration::from_millis(1)).await;
                        }
                        handler.run(job).await;
                    }
                    ("hangs", 50..) => continue,
                    ("loses", 50) => {}
                    ("repeats", 50) => {
                        handler.run(job.clone()).await;
                        handler.run(job).await;
                    }
                    _ => handler.run(job).await,
                }
                *store.left.lock().unwrap() -= 1;
            }
        }))
    }

    async fn stop(&self, worker: JoinHandle<()>) -> Result<()> {
        worker.abort();
        let _ = worker.await;
        Ok(())
    }

    async fn finish(&self) -> Result<()> {
        if self.fault == "deletes later" {
            tokio::time::sleep(FINISH).await;
        }
        Ok(())
    }

    async fn left(&self) -> Result<u64> {
        Ok(*self.store.left.lock().unwrap())
    }
}
