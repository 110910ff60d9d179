//! Transactions of the host's, with jobs in them.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use windlass_core::{Backend, Inserted, NewJob, Result, Settled, Settlement};

use super::compare::{Seen, same, saw, tell};

/// The host's side of a real backend's database.
#[async_trait]
pub trait Host: Debug + Send + Sync {
    /// Begins a transaction.
    async fn begin(&self) -> Box<dyn Transaction>;

    /// The rows that are committed, in order.
    async fn rows(&self) -> Vec<String>;

    /// Closes its connections.
    async fn close(&self);
}

/// A transaction of the host's.
#[async_trait]
pub trait Transaction: Send {
    /// Writes a row of the host's own.
    async fn put_row(&mut self, text: &str);

    /// Inserts jobs by [`insert_in`](windlass_core::Transactional::insert_in).
    async fn insert(&mut self, jobs: &[NewJob]) -> Result<Vec<Inserted>>;

    /// Ends an attempt by [`settle_in`](windlass_core::Transactional::settle_in).
    async fn settle(&mut self, settlement: &Settlement) -> Result<Settled>;

    /// Commits it or rolls it back.
    async fn end(self: Box<Self>, commit: bool);
}

/// What is asked in a transaction.
pub(super) enum Call {
    Insert(Vec<NewJob>),
    Settle(Settlement),
}

/// What is answered.
pub(super) enum Answer {
    Inserted(Result<Vec<Inserted>>),
    Settled(Result<Vec<Settled>>),
}

/// Writes a row and makes some calls, in one transaction.
pub(super) async fn within(
    host: &dyn Host,
    row: &str,
    calls: &[Call],
    commit: bool,
) -> Vec<Answer> {
    let mut transaction = host.begin().await;
    transaction.put_row(row).await;
    let mut answers = Vec::new();
    for call in calls {
        answers.push(match call {
            Call::Insert(jobs) => Answer::Inserted(transaction.insert(jobs).await),
            Call::Settle(one) => {
                Answer::Settled(transaction.settle(one).await.map(|one| vec![one]))
            }
        });
    }
    transaction.end(commit).await;
    answers
}

impl Call {
    /// By itself.
    pub(super) async fn plainly(&self, on: &dyn Backend) -> Answer {
        match self {
            Self::Insert(jobs) => Answer::Inserted(on.insert(jobs).await),
            Self::Settle(one) => Answer::Settled(on.settle(std::slice::from_ref(one)).await),
        }
    }
}

impl Answer {
    pub(super) fn tell(&self, seen: &mut Seen) {
        match self {
            Self::Inserted(answer) => tell(answer, seen),
            Self::Settled(answer) => {
                tell(answer, seen);
                let refused = |one: &Settled| !matches!(one, Settled::Applied { .. });
                let refused = answer.iter().flatten().any(refused);
                saw(seen, "refused in a transaction", refused);
            }
        }
    }

    /// Compares the memory backend's answer with the real one's.
    pub(super) fn same(&self, what: &str, real: &Self, slack: Duration) -> Result<(), String> {
        match (self, real) {
            (Self::Inserted(memory), Self::Inserted(real)) => {
                same(&format!("insert {what}"), memory, real, slack)
            }
            (Self::Settled(memory), Self::Settled(real)) => {
                same(&format!("settle {what}"), memory, real, slack)
            }
            _ => Err("another call was answered".to_owned()),
        }
    }
}
