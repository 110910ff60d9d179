//! Runs random sequences against fresh backends of one kind.

use std::time::{Duration, Instant};

use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestRunner};
use windlass_model::ops::{self, Real, op};

/// `WINDLASS_MODEL_CASES` says how many sequences; without it, as many as fit into `time`, but no fewer than 20. Sequences that failed once are
/// run first: their seeds stand in `regressions`.
pub(crate) fn check<F, G>(regressions: &'static str, time: Duration, open: F)
where
    F: Fn() -> G,
    G: Future<Output = (Real, Box<dyn std::any::Any>)>,
{
    let fixed = std::env::var("WINDLASS_MODEL_CASES").ok().map(|text| text.parse().unwrap());
    let config = Config {
        cases: fixed.unwrap_or(10_000),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(regressions))),
        max_shrink_iters: 1_000,
        ..Config::default()
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (begun, count, steps) =
        (Instant::now(), std::cell::Cell::new(0u32), std::cell::Cell::new(0));
    let outcome = TestRunner::new(config).run(&op::ops(), |ops| {
        if fixed.is_none() && count.get() >= 20 && begun.elapsed() > time {
            return Ok(());
        }
        count.set(count.get() + 1);
        steps.set(steps.get() + ops.len());
        runtime.block_on(async {
            let (real, _kept) = open().await;
            let end = ops::run(&real, &ops).await;
            real.backend.close().await.unwrap();
            end.map_err(TestCaseError::fail)
        })
    });
    println!("{} sequences of {} operations in {:?}", count.get(), steps.get(), begun.elapsed());
    if let Err(error) = outcome {
        panic!("{error}");
    }
    assert!(count.get() >= 20, "only {} sequences", count.get());
}
