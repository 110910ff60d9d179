//! Single inserts that come while others are under way go together, as one statement with one commit: nobody waits for company, and a busy
//! producer pays for a share of a commit.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
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
#[derive(Debug, Default)]
pub(crate) struct Gather(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Single>,
    /// Tasks that send statements.
    senders: u32,
}

#[derive(Debug)]
struct Single {
    job: NewJob,
    done: oneshot::Sender<Result<Short>>,
}

/// How the short way ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Short {
    /// The job is new and stored.
    Stored,
    /// It takes the long way, on which more is decided: this job, or another one of the statement.
    Long,
}

impl Gather {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a job may share its statement.
pub(crate) fn is_fit(job: &NewJob) -> bool {
    job.args.bytes.len() <= BYTES
}

/// Inserts a plain job together with others. A caller who goes away meanwhile leaves them unharmed; the job may be stored then.
pub(crate) async fn insert(backend: &PostgresBackend, job: NewJob) -> Result<Short> {
    let (done, wait) = oneshot::channel();
    let sender = {
        let mut state = backend.gather.lock();
        state.waiting.push_back(Single { job, done });
        let begins = state.senders < AT_ONCE;
        state.senders += u32::from(begins);
        begins.then(|| Sender { backend: backend.clone(), counted: true })
    };
    if let Some(sender) = sender {
        tokio::spawn(send(sender));
    }
    wait.await.unwrap_or_else(|_| {
        let source = "the runtime that sent it has ended".into();
        Err(Error::Unavailable { backend: NAME, during: "insert", source })
    })
}

/// A task that sends, counted for as long as it lives.
struct Sender {
    backend: PostgresBackend,
    counted: bool,
}

impl Sender {
    /// The next ones to be sent. With none left the task is counted no more, in the same moment: who comes then begins another.
    fn next(&mut self) -> Option<Vec<Single>> {
        let mut state = self.backend.gather.lock();
        if state.waiting.is_empty() {
            state.senders -= 1;
            self.counted = false;
            return None;
        }
        let most = state.waiting.len().min(MOST);
        Some(state.waiting.drain(..most).collect())
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if !self.counted {
            return;
        }
        // Dropped in the middle, with its runtime. Those who wait may have nobody left to send them: they are told.
        let mut state = self.backend.gather.lock();
        state.senders -= 1;
        state.waiting.clear();
    }
}

/// Sends until nobody waits any more.
async fn send(mut sender: Sender) {
    while let Some(batch) = sender.next() {
        let backend = &sender.backend;
        let (mut jobs, mut waiting) = (Vec::with_capacity(batch.len()), Vec::new());
        for Single { job, done } in batch {
            jobs.push(job);
            waiting.push(done);
        }
        let done = backend.try_short(|| plain::insert(&backend.sql, &jobs)).await;
        let answer = match done {
            Ok(_) => {
                backend.hub.committed(&plain::news(&jobs));
                Ok(Short::Stored)
            }
            Err(error) if is_not_plain(&error) => Ok(Short::Long),
            Err(error) => Err(map("insert")(error)),
        };
        for done in waiting {
            let answer = match &answer {
                Ok(short) => Ok(*short),
                Err(error) => Err(same(error)),
            };
            // Nobody waits any more: it is stored all the same.
            let _ = done.send(answer);
        }
    }
}

/// What all jobs of a statement are told that failed.
fn same(error: &Error) -> Error {
    match error {
        Error::Unavailable { during, source, .. } => {
            Error::Unavailable { backend: NAME, during, source: source.to_string().into() }
        }
        Error::Closed(name) => Error::Closed(name),
        Error::Backend { source, .. } => {
            Error::Backend { backend: NAME, during: "insert", source: source.to_string().into() }
        }
        error => {
            Error::Backend { backend: NAME, during: "insert", source: error.to_string().into() }
        }
    }
}
