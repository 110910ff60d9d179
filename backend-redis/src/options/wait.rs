//! Waiting for replicas.

use std::time::Duration;

use windlass_core::Result;

use super::{RedisOptions, config};

/// How many copies of new jobs are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Copies {
    pub(crate) replicas: u32,
    pub(crate) timeout: Duration,
    /// Whether they must have written it to their disk, and the primary too.
    pub(crate) on_disk: bool,
}

/// The longest wait.
const LONGEST: Duration = Duration::from_secs(600);
/// More are the sign of a mistake.
const MOST: u32 = 100;
const TIMEOUT: Duration = Duration::from_secs(1);

impl RedisOptions {
    /// Makes an insert of jobs wait (`WAIT`) until so many replicas have them, so that a failover to one of those loses none of them. Default 0.
    ///
    /// When they are not there in time ([`wait_timeout`](Self::wait_timeout)), the call fails with [`Error::Unavailable`](windlass_core::Error::Unavailable)
    /// although the jobs **are** stored by the primary and will run, unless it is lost now: repeat the insert of the same job ids, which adds nothing that is
    /// there and waits again. Only inserts wait. A claim or an end of a job that a failover takes back shows as a job that runs again.
    #[must_use]
    pub fn wait_replicas(mut self, replicas: u32) -> Self {
        self.copies.replicas = replicas;
        self
    }

    /// How long an insert waits for replicas. Default 1 s.
    #[must_use]
    pub fn wait_timeout(mut self, timeout: Duration) -> Self {
        self.copies.timeout = timeout;
        self
    }

    /// Whether the primary, and the replicas waited for, must have the jobs on their disks (`WAITAOF`). It takes a server of version 7.2 and append-only
    /// files. Default false.
    #[must_use]
    pub fn wait_on_disk(mut self, on_disk: bool) -> Self {
        self.copies.on_disk = on_disk;
        self
    }

    pub(crate) fn check_wait(&self) -> Result<()> {
        let Copies { replicas, timeout, .. } = self.copies;
        if replicas > MOST {
            return Err(config(format!("at most {MOST} replicas can be waited for")));
        }
        if timeout < Duration::from_millis(1) || timeout > LONGEST {
            return Err(config("the wait for replicas must be between 1 ms and 10 min"));
        }
        if self.copies.is_wanted() && timeout >= self.response_timeout {
            return Err(config(
                "the wait for replicas must be shorter than the time that an answer may take",
            ));
        }
        Ok(())
    }
}

impl Copies {
    pub(crate) fn is_wanted(&self) -> bool {
        self.replicas > 0 || self.on_disk
    }
}

impl Default for Copies {
    fn default() -> Self {
        Self { replicas: 0, timeout: TIMEOUT, on_disk: false }
    }
}
