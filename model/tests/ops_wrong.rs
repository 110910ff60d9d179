//! The comparison turns red for a backend that is wrong in one way, and stays green for one that is not.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod host;

use std::sync::Arc;

use async_trait::async_trait;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, TestRng, TestRunner};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use windlass_core::{Inserted, MemoryBackend, NewJob, Result, Settled, Settlement, State};
use windlass_model::ops::host::{Host, Transaction};
use windlass_model::ops::wrong::{Slip, Wrong};
use windlass_model::ops::{self, Model, Real, Time, op};
use windlass_sqlite::{SqliteBackend, SqliteOptions};

use host::SqlHost;

/// Makes the same sequences each time.
fn runner() -> TestRunner {
    let config = Config::default();
    let rng = TestRng::deterministic_rng(config.rng_algorithm);
    TestRunner::new_with_rng(config, rng)
}

/// The first difference in so many sequences, the same ones each time, between two sides with a slip each.
async fn difference(slips: [Slip; 2], sequences: usize) -> Option<(usize, String)> {
    let mut runner = runner();
    for number in 1..=sequences {
        let ops = op::ops().new_tree(&mut runner).unwrap().current();
        let [model, real] = slips.map(|slip| {
            let clock = MemoryBackend::new();
            Model { backend: Arc::new(Wrong::new(clock.clone(), slip)), clock }
        });
        let Model { backend, clock } = real;
        let time = Time::Moved(Box::new(move |by| clock.advance(by)));
        if let Err(text) = ops::run(&model, &Real { backend, time, host: None }, &ops).await {
            return Some((number, text));
        }
    }
    None
}

#[tokio::test]
async fn a_backend_that_is_not_wrong_is_the_same() {
    assert_eq!(difference([Slip::None, Slip::None], 200).await, None);
}

#[tokio::test]
async fn each_slip_is_seen() {
    for slip in Slip::ALL {
        let found = difference([Slip::None, slip], 1_000).await;
        let (number, text) = found.unwrap_or_else(|| panic!("{slip:?} was not seen"));
        println!("{slip:?} is seen in sequence {number}: {}", text.lines().next().unwrap());
    }
}

/// Two that are wrong alike answer the same: of what a history shows, the checker knows better.
#[tokio::test]
async fn a_slip_of_both_sides_is_seen_by_the_checker() {
    let slips = [
        (Slip::SaysApplied, "Finish"),
        (Slip::SaysRecorded, "NoStaleFinish"),
        (Slip::NeverPromotes, "NothingLost"),
        (Slip::ShortensHistories, "StatesFollow"),
    ];
    for (slip, rule) in slips {
        let found = difference([slip, slip], 1_000).await;
        let (number, text) = found.unwrap_or_else(|| panic!("{slip:?} was not seen"));
        assert!(text.starts_with("the checker") && text.contains(rule), "{slip:?}: {text}");
        println!("{slip:?} is seen in sequence {number}: {}", text.lines().nth(1).unwrap());
    }
}

/// How transactions of the host's are wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HostSlip {
    /// Not at all.
    None,
    /// What is rolled back stays.
    Commits,
    /// What is committed is gone.
    RollsBack,
    /// Of a transaction that is rolled back the row stays.
    KeepsRow,
    /// Of a transaction that is rolled back the jobs stay.
    KeepsJobs,
    /// The row is not written.
    LosesRow,
    /// A stale settlement is said to be applied.
    SaysApplied,
    /// Of several jobs the last is not inserted.
    InsertsTooFew,
}

#[derive(Debug)]
struct Slipping {
    inner: Arc<dyn Host>,
    slip: HostSlip,
}

#[async_trait]
impl Host for Slipping {
    async fn begin(&self) -> Box<dyn Transaction> {
        let (inner, host) = (self.inner.begin().await, self.inner.clone());
        Box::new(Slipped { inner, host, slip: self.slip, row: String::new(), jobs: Vec::new() })
    }

    async fn rows(&self) -> Vec<String> {
        self.inner.rows().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

struct Slipped {
    inner: Box<dyn Transaction>,
    host: Arc<dyn Host>,
    slip: HostSlip,
    row: String,
    jobs: Vec<NewJob>,
}

#[async_trait]
impl Transaction for Slipped {
    async fn put_row(&mut self, text: &str) {
        text.clone_into(&mut self.row);
        if self.slip != HostSlip::LosesRow {
            self.inner.put_row(text).await;
        }
    }

    async fn insert(&mut self, jobs: &[NewJob]) -> Result<Vec<Inserted>> {
        self.jobs.extend_from_slice(jobs);
        match (self.slip, jobs) {
            (HostSlip::InsertsTooFew, [first @ .., last]) if !first.is_empty() => {
                let mut answers = self.inner.insert(first).await?;
                answers.push(Inserted::New(last.id));
                Ok(answers)
            }
            _ => self.inner.insert(jobs).await,
        }
    }

    async fn settle(&mut self, settlement: &Settlement) -> Result<Settled> {
        let answer = self.inner.settle(settlement).await?;
        Ok(match (self.slip, answer) {
            (HostSlip::SaysApplied, Settled::Lost) => Settled::Applied { state: State::Completed },
            (_, answer) => answer,
        })
    }

    async fn end(self: Box<Self>, commit: bool) {
        let really = match self.slip {
            HostSlip::Commits => true,
            HostSlip::RollsBack => false,
            _ => commit,
        };
        self.inner.end(really).await;
        if commit || !matches!(self.slip, HostSlip::KeepsRow | HostSlip::KeepsJobs) {
            return;
        }
        let mut late = self.host.begin().await;
        if self.slip == HostSlip::KeepsRow {
            late.put_row(&self.row).await;
        } else {
            // Some may be refused, as they were before.
            let _ = late.insert(&self.jobs).await;
        }
        late.end(true).await;
    }
}

/// The first difference on SQLite with a host that slips.
async fn host_difference(slip: HostSlip, sequences: usize) -> Option<(usize, String)> {
    let mut runner = runner();
    for number in 1..=sequences {
        let ops = op::ops().new_tree(&mut runner).unwrap().current();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.db");
        let backend = Arc::new(SqliteBackend::open(SqliteOptions::new(&path)).await.unwrap());
        let pool = SqlitePoolOptions::new().max_connections(1);
        let pool = pool.connect_lazy_with(SqliteConnectOptions::new().filename(path));
        let host = SqlHost::new(backend.clone(), pool, "BEGIN IMMEDIATE", "host".to_owned()).await;
        let inner: Arc<dyn Host> = Arc::new(host);
        let (clock, closing) = (backend.clone(), inner.clone());
        let time = Time::Moved(Box::new(move |by| clock.advance_clock(by)));
        let real = Real { backend, time, host: Some(Box::new(Slipping { inner, slip })) };
        let end = ops::run(&Model::default(), &real, &ops).await;
        closing.close().await;
        real.backend.close().await.unwrap();
        if let Err(text) = end {
            return Some((number, text));
        }
    }
    None
}

#[tokio::test]
async fn each_slip_of_a_host_is_seen() {
    assert_eq!(host_difference(HostSlip::None, 20).await, None);
    let slips = [
        HostSlip::Commits,
        HostSlip::RollsBack,
        HostSlip::KeepsRow,
        HostSlip::KeepsJobs,
        HostSlip::LosesRow,
        HostSlip::SaysApplied,
        HostSlip::InsertsTooFew,
    ];
    for slip in slips {
        let found = host_difference(slip, 100).await;
        let (number, text) = found.unwrap_or_else(|| panic!("{slip:?} was not seen"));
        println!("{slip:?} is seen in sequence {number}: {}", text.lines().nth(1).unwrap());
    }
}
