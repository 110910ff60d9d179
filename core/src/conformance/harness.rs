//! What a backend's test target implements, and how a case is run.
#![warn(missing_docs)]

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::{Backend, Limits, Storage, Transactional, WorkerId};

/// How long a case may take before it counts as hanging.
const CASE_TIME: Duration = Duration::from_secs(180);

/// Opens fresh backends for the cases of [`conformance!`](crate::conformance!).
pub trait Harness: Send + Sync + Sized + 'static {
    /// The backend under test.
    type Backend: Backend;

    /// A fresh, empty backend with these limits. The harness owns what it needs (a folder, a schema) and removes it when dropped.
    fn open(limits: Limits) -> impl Future<Output = Self> + Send;

    /// The backend.
    fn backend(&self) -> Arc<Self::Backend>;

    /// Another handle on the same data, opened as another process would open it. `None` where there is no such thing;
    /// cases about two handles then fail, and are to be named in `skip:` with the reason.
    fn second(&self) -> impl Future<Output = Option<Arc<Self::Backend>>> + Send {
        async { None }
    }

    /// Whether [`Queue::hears`](crate::Queue::hears) is to become true once somebody waits. False for a backend, or a way to open it, to which hints of
    /// other processes don't come.
    fn hears() -> bool {
        true
    }

    /// Returns when the database's clock has moved on by at least `span`. Sleeps, unless the harness can move the clock.
    fn advance(&self, span: Duration) -> impl Future<Output = ()> + Send {
        async move { tokio::time::sleep(span).await }
    }

    /// Lets the lease of a worker run out, past the backend: its end is in the past by the database's clock when this returns.
    /// Either that end is written into the database, or the clock, where the harness can move it, is moved on by more than an
    /// hour, which is what the cases lease for. [`Queue::deregister`](crate::Queue::deregister) is no substitute: the cases show what becomes
    /// of a lease that nobody has ended.
    fn expire(&self, worker: WorkerId) -> impl Future<Output = ()> + Send;
}

/// A harness whose backend joins host transactions, for the cases of
/// [`conformance_transactional!`](crate::conformance_transactional!).
///
/// The host has a table of its own on the same database, made by [`open`](Harness::open), to show that its writes and the
/// jobs commit or roll back together.
pub trait TransactionalHarness: Harness<Backend: Transactional> {
    /// The host's connection inside a transaction. Dropping it rolls back.
    type Tx: Send;

    /// Begins a transaction that may write, on a connection of the host's own.
    fn begin(&self) -> impl Future<Output = Self::Tx> + Send;

    /// The connection of a transaction.
    fn conn(tx: &mut Self::Tx) -> &mut <Self::Backend as Transactional>::Conn;

    /// Commits.
    fn commit(&self, tx: Self::Tx) -> impl Future<Output = ()> + Send;

    /// Rolls back.
    fn rollback(&self, tx: Self::Tx) -> impl Future<Output = ()> + Send;

    /// Inserts a row into the host's table.
    fn put_row(&self, tx: &mut Self::Tx, text: &str) -> impl Future<Output = ()> + Send;

    /// Reads the host's committed rows, in any order.
    fn rows(&self) -> impl Future<Output = Vec<String>> + Send;
}

/// Opens fresh storages for the cases of [`conformance_storage!`](crate::conformance_storage!).
pub trait StorageHarness: Send + Sync + Sized + 'static {
    /// A fresh, empty storage. The harness owns what it needs and removes it when dropped.
    fn open() -> impl Future<Output = Self> + Send;

    /// The storage.
    fn storage(&self) -> Arc<dyn Storage>;

    /// Whether [`Storage::presign`] gives URLs.
    fn presigns() -> bool {
        false
    }
}

/// Runs one case on a fresh backend with default limits. What the macros' tests call.
///
/// # Panics
/// When the case fails or hangs.
pub fn run<H: Harness, F: Future<Output = ()>>(case: impl FnOnce(H) -> F) {
    block_on(async { case(H::open(Limits::default()).await).await });
}

/// Runs one case on a fresh storage.
///
/// # Panics
/// When the case fails or hangs.
pub fn run_storage<H: StorageHarness, F: Future<Output = ()>>(case: impl FnOnce(H) -> F) {
    block_on(async { case(H::open().await).await });
}

fn block_on(case: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime for the case");
    runtime.block_on(async {
        let ended = tokio::time::timeout(CASE_TIME, case).await;
        assert!(ended.is_ok(), "the case hangs: it did not end within {CASE_TIME:?}");
    });
}
