//! The conformance suite: what every backend is held to, one file per behaviour, one case per statement.
//!
//! A backend implements [`Harness`] in a test target and names it in one line per macro; each case becomes a
//! test of its own, named after file and behaviour:
//!
//! ```ignore
//! windlass_core::conformance!(MyHarness);
//! windlass_core::conformance_transactional!(MyHarness);
//! windlass_core::conformance_outbox!(MyHarness);
//! windlass_core::conformance_storage!(MyStorageHarness);
//! ```
//!
//! What a backend can't pass is skipped in plain sight: the test stays in the list, ignored, with its reason.
//!
//! ```ignore
//! windlass_core::conformance!(MyHarness, skip: { wake::an_insert_wakes_a_waiter => "it polls only" });
//! ```
//!
//! **Time.** Cases never assume what the clock shows. What must expire gets a short span and
//! [`Harness::advance`]; what must not expire gets an hour. A worker's lease is always an hour, so that none runs out on a slow machine
//! before the case has used it; [`Harness::expire`] ends it.
//!
//! **A new case** is an `async fn` in the file of its behaviour and a line in the list in `registry.rs`; the compiler reports
//! a case that is missing from the list as dead code.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a case fails by panicking")]
#![allow(missing_docs, reason = "the name of a case is its statement")]

mod harness;
#[macro_use]
mod registry;
mod support;

mod backend;
mod batch_insert;
mod blobs;
mod bystanders;
mod cancel;
mod change;
mod claim;
mod claim_kinds;
mod claim_order;
mod concurrency;
mod deadline;
mod delete;
mod depth;
mod feed;
mod fence;
mod filters;
mod follow_ups;
mod heartbeat;
mod history;
mod idempotent_insert;
mod insert;
mod large;
mod limits;
mod list;
mod lost_reply;
mod notes;
mod outbox;
mod pause;
mod quarantine;
mod queue_settings;
mod reschedule;
mod rescue;
mod retention;
mod retry;
mod settle_batch;
mod settle_outcomes;
mod snooze_release;
mod start_time;
mod stats;
mod storage_list;
mod storage_read;
mod storage_support;
mod storage_write;
mod transaction;
mod two_handles;
mod unique;
mod unique_lost;
mod unique_replace;
mod wake;
mod worker_lease;

pub use harness::{Harness, StorageHarness, TransactionalHarness, run, run_storage};

macro_rules! publish {
    ($($module:ident { $($case:ident)* })*) => {
        $(
            pub mod $module {
                pub use super::super::$module::{$($case),*};
            }
        )*
    };
}

/// The cases as functions, for the macros and for who wants to run a single one.
pub mod cases {
    __conformance_cases!(publish);
    __conformance_transactional_cases!(publish);
    __conformance_outbox_cases!(publish);
    __conformance_storage_cases!(publish);
}

macro_rules! names {
    ($($module:ident { $($case:ident)* })*) => {
        &[$($(concat!(stringify!($module), "::", stringify!($case))),*),*]
    };
}

/// The names of the cases that [`conformance!`](crate::conformance!) generates.
pub const CASES: &[&str] = __conformance_cases!(names);
/// The names of the cases that [`conformance_transactional!`](crate::conformance_transactional!) generates.
pub const TRANSACTIONAL_CASES: &[&str] = __conformance_transactional_cases!(names);
/// The names of the cases that [`conformance_outbox!`](crate::conformance_outbox!) generates.
pub const OUTBOX_CASES: &[&str] = __conformance_outbox_cases!(names);
/// The names of the cases that [`conformance_storage!`](crate::conformance_storage!) generates.
pub const STORAGE_CASES: &[&str] = __conformance_storage_cases!(names);
