//! What a backend crate gives.
//!
//! A backend implements [`Queue`], [`Store`] and [`Backend`], and [`Transactional`] where it can join the host's
//! own transaction. The contract is the prose on each method together with the
//! conformance suite (feature `conformance`); `docs/writing-a-backend.md` leads through both.

use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{Inserted, Limits, NewJob, Queue, Result, Settled, Settlement, Storage, Store};

/// A job store with claims: what a [`Client`](crate::Client) and a [`Worker`](crate::Worker) run on.
#[async_trait]
pub trait Backend: Queue + Store {
    /// Its name in errors and logs (`sqlite`).
    fn name(&self) -> &'static str;

    /// What it can do beyond the contract.
    fn capabilities(&self) -> Capabilities;

    /// The limits it was opened with.
    fn limits(&self) -> &Limits;

    /// A blob storage on this same database.
    fn storage(&self) -> Arc<dyn Storage>;

    /// Answers when the database can be reached and written. For health checks.
    async fn ping(&self) -> Result<()>;

    /// Finishes what is under way and closes connections. Later calls fail with [`Error::Closed`](crate::Error::Closed).
    async fn close(&self) -> Result<()>;
}

/// What differs between backends in more than speed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Jobs survive the end of the process.
    pub durable: bool,
    /// Other processes see the same jobs.
    pub shared: bool,
    /// [`Transactional`] is implemented.
    pub transactional: bool,
}

impl Capabilities {
    /// With these answers.
    #[must_use]
    pub const fn new(durable: bool, shared: bool, transactional: bool) -> Self {
        Self { durable, shared, transactional }
    }
}

/// A backend that can join the host's own transaction.
///
/// The connection must be on the same database; whether it is inside a transaction is the host's choice. What is
/// written is seen, and workers are woken, when the host commits; a rollback leaves no trace.
pub trait Transactional: Backend {
    /// The host's connection (for instance `sqlx::SqliteConnection`).
    type Conn: Send;

    /// [`Store::insert`] on the host's connection.
    fn insert_in(
        &self,
        conn: &mut Self::Conn,
        jobs: &[NewJob],
    ) -> impl Future<Output = Result<Vec<Inserted>>> + Send;

    /// [`Queue::settle`] of one settlement on the host's connection. Anything but
    /// [`Settled::Applied`] means that the host must roll back: its lease is gone.
    fn settle_in(
        &self,
        conn: &mut Self::Conn,
        settlement: &Settlement,
    ) -> impl Future<Output = Result<Settled>> + Send;
}
