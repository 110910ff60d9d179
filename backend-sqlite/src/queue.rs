//! [`Queue`] on SQLite: who may run a job now.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::Row as _;
use windlass_core::{
    Beat, ClaimRequest, Claimed, Heartbeat, Maintained, Queue, QueueName, Record, Recorded, Result,
    Settled, Settlement, Wake, WorkerId, WorkerInfo, WorkerLease,
};

use crate::SqliteBackend;
use crate::calls::{Beats, Claim, Deregister, Maintain, Records, Register, Settle};
use crate::error::map;
use crate::ops::maintain;
use windlass_core::kit::duration;

#[async_trait]
impl Queue for SqliteBackend {
    async fn register(&self, info: &WorkerInfo) -> Result<WorkerLease> {
        self.writer.call_urgently(Register { info: info.clone() }).await
    }

    async fn heartbeats(&self, beats: &[Beat]) -> Result<Vec<Heartbeat>> {
        self.writer.call_urgently(Beats { beats: beats.to_vec() }).await
    }

    async fn deregister(&self, worker: WorkerId) -> Result<()> {
        self.writer.call_urgently(Deregister { worker }).await
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Claimed> {
        let version = self.hub.version();
        let claimed = self.writer.call(Claim { request: request.clone() }).await?;
        self.hub.claimed(request, &claimed.leases, version);
        Ok(claimed)
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>> {
        if settlements.is_empty() {
            return Ok(Vec::new());
        }
        self.writer.call(Settle { settlements: settlements.to_vec() }).await
    }

    async fn record(&self, records: &[Record]) -> Result<Vec<Recorded>> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        self.writer.call(Records { records: records.to_vec() }).await
    }

    async fn maintain(&self, limit: u32) -> Result<Maintained> {
        let now = self.now("maintain").await?;
        let rows = self.readers.fetch("maintain", maintain::peek(now)).await?;
        if let Some(row) = rows.first() {
            let work: bool = row.try_get(0).map_err(map("maintain"))?;
            let due: Option<i64> = row.try_get(1).map_err(map("maintain"))?;
            if !work {
                let mut idle = Maintained::default();
                idle.next_due = due.map(|due| duration(due.saturating_sub(now)));
                let workers: i64 = row.try_get(2).map_err(map("maintain"))?;
                idle.workers = u64::try_from(workers).unwrap_or(0);
                return Ok(idle);
            }
        }
        self.writer.call(Maintain { limit }).await
    }

    async fn wait(&self, queues: &[QueueName], timeout: Duration) -> Result<Wake> {
        let wake = self.hub.wait(queues, timeout).await;
        self.hub.check_open()?;
        Ok(wake)
    }

    fn hears(&self) -> bool {
        self.hub.hears()
    }
}
