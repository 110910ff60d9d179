//! [`Queue`] on Redis: who may run a job now.

use std::time::Duration;

use async_trait::async_trait;
use windlass_core::{
    Beat, ClaimRequest, Claimed, Heartbeat, Maintained, Queue, QueueName, Record, Recorded, Result,
    Settled, Settlement, Wake, WorkerId, WorkerInfo, WorkerLease,
};

use crate::RedisBackend;
use crate::ops::{claim, maintain, record, settle, worker};

#[async_trait]
impl Queue for RedisBackend {
    async fn register(&self, info: &WorkerInfo) -> Result<WorkerLease> {
        worker::register(&self.inner, info).await
    }

    async fn heartbeats(&self, beats: &[Beat]) -> Result<Vec<Heartbeat>> {
        worker::heartbeats(&self.inner, beats).await
    }

    async fn deregister(&self, worker: WorkerId) -> Result<()> {
        worker::deregister(&self.inner, worker).await
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Claimed> {
        claim::claim(&self.inner, request).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>> {
        settle::settle(&self.inner, settlements).await
    }

    async fn record(&self, records: &[Record]) -> Result<Vec<Recorded>> {
        record::record(&self.inner, records).await
    }

    async fn maintain(&self, limit: u32) -> Result<Maintained> {
        maintain::maintain(&self.inner, limit).await
    }

    async fn wait(&self, queues: &[QueueName], timeout: Duration) -> Result<Wake> {
        let hub = &self.inner.hub;
        hub.check_open()?;
        let wake = hub.wait(queues, timeout).await;
        hub.check_open()?;
        Ok(wake)
    }

    fn hears(&self) -> bool {
        self.inner.hub.hears()
    }
}
