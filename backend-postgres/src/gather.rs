//! Single inserts that come while others are under way go together, as one statement with one commit.

use windlass_core::kit::gather::{Gather, same};
use windlass_core::{Error, NewJob, Result};

use crate::PostgresBackend;
use crate::calls::is_not_plain;
use crate::error::{NAME, map};
use crate::ops::plain;

/// Statements at once: while one waits for its commit, another is read and planned.
const AT_ONCE: u32 = 2;
/// Jobs in one statement.
const MOST: usize = 500;
/// Jobs with more bytes of args go by themselves.
const BYTES: usize = 16 << 10;

/// Those who wait.
pub(crate) type Singles = Gather<NewJob, Result<Short>>;

/// Nobody yet.
pub(crate) fn singles() -> Singles {
    Gather::new(AT_ONCE, MOST)
}

/// How the short way ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Short {
    /// The job is new and stored.
    Stored,
    /// It takes the long way, on which more is decided: this job, or another one of the statement.
    Long,
}

/// Whether a job may share its statement.
pub(crate) fn is_fit(job: &NewJob) -> bool {
    job.args.bytes.len() <= BYTES
}

/// Inserts a plain job together with others.
pub(crate) async fn insert(backend: &PostgresBackend, job: NewJob) -> Result<Short> {
    let sender = backend.clone();
    let send = move |jobs| {
        let backend = sender.clone();
        async move { send(&backend, jobs).await }
    };
    backend.gather.call(job, send).await.unwrap_or_else(|| {
        let source = "the runtime that sent it has ended".into();
        Err(Error::Unavailable { backend: NAME, during: "insert", source })
    })
}

async fn send(backend: &PostgresBackend, jobs: Vec<NewJob>) -> Vec<Result<Short>> {
    let done = backend.try_short(|| plain::insert(&backend.sql, &jobs)).await;
    let answer = match done {
        Ok(_) => {
            backend.hub.committed(&plain::news(&jobs));
            Ok(Short::Stored)
        }
        Err(error) if is_not_plain(&error) => Ok(Short::Long),
        Err(error) => Err(map("insert")(error)),
    };
    let told = |_| answer.as_ref().map(|short| *short).map_err(|e| same(NAME, "insert", e));
    jobs.iter().map(told).collect()
}
