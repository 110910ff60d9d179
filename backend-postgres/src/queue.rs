//! [`Queue`] on Postgres: who may run a job now.

use std::time::Duration;

use async_trait::async_trait;
use windlass_core::{
    AttemptOutcome, Beat, ClaimRequest, Claimed, Error, Failure, FailureKind, Heartbeat, LeaseKey,
    Maintained, Queue, QueueName, Record, Recorded, Result, Settled, Settlement, State, Wake,
    WorkerId, WorkerInfo, WorkerLease,
};

use crate::PostgresBackend;
use crate::calls::{Records, Settle};
use crate::error::map;
use crate::ops::{claim, maintain, plain};
use crate::txn::News;

/// Settlements of one batch that may wait for a lock, each for the lock timeout, before the rest of the batch is left for later.
const WAITS: u32 = 4;

#[async_trait]
impl Queue for PostgresBackend {
    async fn register(&self, info: &WorkerInfo) -> Result<WorkerLease> {
        self.hub.check_open()?;
        self.aside.register(info).await
    }

    async fn heartbeats(&self, beats: &[Beat]) -> Result<Vec<Heartbeat>> {
        self.hub.check_open()?;
        self.aside.heartbeats(beats).await
    }

    async fn deregister(&self, worker: WorkerId) -> Result<()> {
        self.hub.check_open()?;
        self.aside.deregister(worker).await
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Claimed> {
        let version = self.hub.version();
        let mut taken = claim::claim(self, request).await?;
        if !taken.leases.is_empty() || !taken.damaged.is_empty() {
            self.hub.committed(&News { events: true, ..News::default() });
        }
        self.give_up(std::mem::take(&mut taken.damaged)).await;
        if let Err(error) = self.trim(std::mem::take(&mut taken.long)).await {
            tracing::warn!(%error, "histories that are too long are cut later");
        }
        // News stay news until somebody has looked for what came in below.
        let swept = |queue: &QueueName| !taken.unswept.contains(queue);
        self.hub.claimed(request, &taken.leases, version, swept);
        Ok(Claimed::new(taken.leases))
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>> {
        let places = plain::completions(&self.options.limits, settlements);
        let mut answers: Vec<Option<Settled>> = vec![None; settlements.len()];
        if !places.is_empty() {
            for place in self.complete(settlements, &places).await? {
                answers[place] = Some(Settled::Applied { state: State::Completed });
            }
        }
        let open: Vec<usize> =
            (0..answers.len()).filter(|place| answers[*place].is_none()).collect();
        if !open.is_empty() {
            let rest = open.iter().map(|place| settlements[*place].clone()).collect();
            let settled = self.settle_long(rest).await?;
            for (place, answer) in open.into_iter().zip(settled) {
                answers[place] = Some(answer);
            }
        }
        Ok(answers.into_iter().map(|answer| answer.unwrap_or(Settled::Lost)).collect())
    }

    async fn record(&self, records: &[Record]) -> Result<Vec<Recorded>> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        self.call(&Records { records: records.to_vec() }).await
    }

    async fn maintain(&self, limit: u32) -> Result<Maintained> {
        maintain::maintain(self, limit).await
    }

    async fn wait(&self, queues: &[QueueName], timeout: Duration) -> Result<Wake> {
        self.hub.check_open()?;
        let wake = self.hub.wait(queues, timeout).await;
        self.hub.check_open()?;
        Ok(wake)
    }

    fn hears(&self) -> bool {
        self.hub.hears()
    }
}

impl PostgresBackend {
    /// Completes jobs by the short way; the places of those that were.
    async fn complete(&self, settlements: &[Settlement], places: &[usize]) -> Result<Vec<usize>> {
        let statement = || plain::complete(&self.sql, settlements, places);
        let rows = self.short("settle", statement).await?;
        let (done, long) = plain::completed(&self.options.limits, &rows).map_err(map("settle"))?;
        if !done.is_empty() {
            self.hub.committed(&News { events: true, ..News::default() });
        }
        if let Err(error) = self.trim(long).await {
            tracing::warn!(%error, "histories that are too long are cut later");
        }
        let job = |place: &usize| settlements[*place].key.job;
        Ok(places.iter().copied().filter(|place| done.contains(&job(place))).collect())
    }

    /// Settles by the long way. What others hold locked is passed over after a while.
    async fn settle_long(&self, settlements: Vec<Settlement>) -> Result<Vec<Settled>> {
        let mut operation = Settle { settlements, wait: true };
        match self.call_unless_locked(&operation).await {
            Err(failed) if failed.locked => {}
            done => return done.map_err(|failed| failed.error),
        }
        if operation.settlements.len() == 1 {
            return Ok(vec![Settled::Busy]);
        }
        operation.wait = false;
        match self.call_unless_locked(&operation).await {
            Err(failed) if failed.locked => {}
            done => return done.map_err(|failed| failed.error),
        }
        // A lock on something else, such as the unique key of a follow-up: each by itself, as long as the waiting is not too much.
        let (mut answers, mut waits) = (Vec::new(), 0);
        for settlement in operation.settlements {
            if waits >= WAITS {
                answers.push(Settled::Busy);
                continue;
            }
            let one = Settle { settlements: vec![settlement], wait: false };
            match self.call_unless_locked(&one).await {
                Ok(answer) => answers.extend(answer),
                Err(failed) if failed.locked => {
                    waits += 1;
                    answers.push(Settled::Busy);
                }
                // Of some it is known what became of them: that is told.
                Err(failed) if answers.is_empty() => return Err(failed.error),
                Err(failed) => {
                    tracing::warn!(error = %failed.error, "settling one of several jobs failed and is repeated");
                    waits = WAITS;
                    answers.push(Settled::Busy);
                }
            }
        }
        Ok(answers)
    }

    /// Discards jobs that were claimed and can't be read, so that they are in nobody's way. When that fails too, the next heartbeat finds them.
    async fn give_up(&self, damaged: Vec<(LeaseKey, Error)>) {
        for (key, error) in damaged {
            tracing::error!(job = %key.job, %error, "a job can't be read and is discarded");
            let message = format!("the stored job can't be read: {error}");
            let failure = Failure { kind: FailureKind::BadArgs, message };
            let settlement = Settlement::new(key, AttemptOutcome::Discarded { failure });
            if let Err(error) = self.settle_long(vec![settlement]).await {
                tracing::error!(job = %key.job, %error, "a job that can't be read is not discarded yet");
            }
        }
    }
}
