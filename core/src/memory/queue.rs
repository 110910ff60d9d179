//! [`Queue`] on the memory backend: each call is one step under the lock.

use std::pin::pin;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::MemoryBackend;
use super::state::Inner;
use crate::{
    Beat, ClaimRequest, Claimed, Heartbeat, Maintained, Queue, QueueName, Record, Recorded, Result,
    Settled, Settlement, Wake, WorkerId, WorkerInfo, WorkerLease,
};

#[async_trait]
impl Queue for MemoryBackend {
    async fn register(&self, info: &WorkerInfo) -> Result<WorkerLease> {
        self.step(|inner, now| inner.register(info, now))
    }

    async fn heartbeats(&self, beats: &[Beat]) -> Result<Vec<Heartbeat>> {
        let one =
            |inner: &mut Inner, beat: &Beat, now| inner.heartbeat(beat.worker, &beat.owned, now);
        self.step(|inner, now| Ok(beats.iter().map(|beat| one(inner, beat, now)).collect()))
    }

    async fn deregister(&self, worker: WorkerId) -> Result<()> {
        self.step(|inner, _| {
            inner.deregister(worker);
            Ok(())
        })
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Claimed> {
        self.step(|inner, now| inner.claim(request, now))
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>> {
        self.step(|inner, now| Ok(settlements.iter().map(|s| inner.settle(s, now)).collect()))
    }

    async fn record(&self, records: &[Record]) -> Result<Vec<Recorded>> {
        self.step(|inner, now| Ok(records.iter().map(|r| inner.record(r, now)).collect()))
    }

    async fn maintain(&self, limit: u32) -> Result<Maintained> {
        self.step(|inner, now| Ok(inner.maintain(limit, now)))
    }

    async fn wait(&self, queues: &[QueueName], limit: Duration) -> Result<Wake> {
        let seen = self.step(|inner, _| Ok(inner.hints.of(queues)))?;
        let news = |inner: &Inner| inner.hints.of(queues) != seen;
        self.until(&self.shared.work, news, limit).await
    }

    fn hears(&self) -> bool {
        true
    }
}

impl MemoryBackend {
    /// Waits until `news` holds, looking again at each notification.
    pub(super) async fn until(
        &self,
        notify: &Notify,
        news: impl Fn(&Inner) -> bool,
        limit: Duration,
    ) -> Result<Wake> {
        let looking = async {
            loop {
                let mut notified = pin!(notify.notified());
                // Enlists before the look, so that nothing falls in between.
                notified.as_mut().enable();
                if self.step(|inner, _| Ok(news(inner)))? {
                    return Ok(Wake::Hint);
                }
                notified.await;
            }
        };
        timeout(limit, looking).await.unwrap_or(Ok(Wake::Timeout))
    }
}
