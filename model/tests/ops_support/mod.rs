//! Runs random sequences against fresh backends of one kind.

mod kept;

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestRunner};
use windlass_model::ops::{self, Model, Real, Seen, op};

/// `WINDLASS_MODEL_CASES` says how many sequences; without it, as many as fit into `time`, but no fewer than 20, and more of them, for up to five times
/// as long, until all [`ANSWERS`] came. Sequences that failed once are run first: their seeds stand in `regressions`.
pub(crate) fn check<F, G>(regressions: &'static str, time: Duration, open: F)
where
    F: Fn() -> G,
    G: Future<Output = (Real, Box<dyn std::any::Any>)>,
{
    let fixed = std::env::var("WINDLASS_MODEL_CASES").ok().map(|text| text.parse().unwrap());
    let config = Config {
        cases: fixed.unwrap_or(10_000),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(regressions))),
        max_shrink_iters: 5_000,
        max_shrink_time: 120_000,
        ..Config::default()
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (begun, count, steps) = (Instant::now(), Cell::new(0u32), Cell::new(0));
    // What is shrunk must run, however late it is: a sequence that is passed over would count as good.
    let failed = Cell::new(false);
    let seen = RefCell::new(Seen::new());
    for (name, ops) in kept::sequences() {
        if let Err(text) = runtime.block_on(once(&open, &ops)) {
            panic!("the sequence kept as \"{name}\": {text}");
        }
    }
    let outcome = TestRunner::new(config).run(&op::ops(), |ops| {
        let time = if rare(&seen.borrow()).is_empty() { time } else { 5 * time };
        let late = fixed.is_none() && count.get() >= 20 && begun.elapsed() > time;
        if late && !failed.get() {
            return Ok(());
        }
        count.set(count.get() + 1);
        steps.set(steps.get() + ops.len());
        let end = runtime.block_on(once(&open, &ops));
        failed.set(failed.get() || end.is_err());
        for (what, times) in end.map_err(TestCaseError::fail)? {
            *seen.borrow_mut().entry(what).or_default() += times;
        }
        Ok(())
    });
    println!("{} sequences of {} operations in {:?}", count.get(), steps.get(), begun.elapsed());
    if let Err(error) = outcome {
        panic!("{error}");
    }
    let seen = seen.into_inner();
    println!("answers: {seen:?}");
    assert!(count.get() >= 20, "only {} sequences", count.get());
    // Answers that never came were never compared.
    if count.get() >= 100 {
        let rare = rare(&seen);
        assert!(rare.is_empty(), "{rare:?} never came in {} sequences: {seen:?}", count.get());
    }
}

/// What never came.
fn rare(seen: &Seen) -> Vec<&'static str> {
    ANSWERS.into_iter().filter(|what| seen.get(what).is_none_or(|n| *n == 0)).collect()
}

/// One sequence on a fresh backend.
async fn once<F, G>(open: &F, ops: &[op::Op]) -> Result<Seen, String>
where
    F: Fn() -> G,
    G: Future<Output = (Real, Box<dyn std::any::Any>)>,
{
    let (real, _kept) = open().await;
    let end = ops::run(&Model::default(), &real, ops).await;
    real.backend.close().await.unwrap();
    end
}

/// What a hundred sequences must bring about.
const ANSWERS: [&str; 22] = [
    "inserted",
    "a duplicate",
    "replaced",
    "rejected",
    "a full queue",
    "claimed",
    "a worker without a lease",
    "settled",
    "settled before",
    "a stale settlement refused",
    "a settlement refused",
    "recorded",
    "a stale record refused",
    "a lost key",
    "a cancelled key",
    "an orphaned key",
    "changed",
    "promoted",
    "rescued",
    "jobs pruned",
    "blobs to delete",
    "a page with more after it",
];
