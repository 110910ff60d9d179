//! Runs random sequences against fresh backends of one kind.

mod kept;

use std::cell::{Cell, RefCell};
use std::time::Instant;

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{
    Config, FileFailurePersistence, RngAlgorithm, TestCaseError, TestRng, TestRunner,
};
use windlass_model::ops::{self, Model, Real, Seen, op};

/// The same `cases` sequences each time, so that a check of a change doesn't depend on luck; `WINDLASS_MODEL_SEED` makes them others, and
/// `WINDLASS_MODEL_CASES` more or fewer. What differed once is run first: sequences that are kept, and seeds that stand in `regressions`. `more`
/// says what must come beside [`ANSWERS`].
pub(crate) fn check<F, G>(regressions: &'static str, cases: u32, more: &[&'static str], open: F)
where
    F: Fn() -> G,
    G: Future<Output = (Real, Box<dyn std::any::Any>)>,
{
    let enough = cases;
    let cases = number("WINDLASS_MODEL_CASES", enough);
    let seed = number("WINDLASS_MODEL_SEED", SEED);
    let config = Config {
        cases,
        // Of an excursion the seed is printed.
        failure_persistence: (seed == SEED)
            .then(|| Box::new(FileFailurePersistence::Direct(regressions)) as _),
        max_shrink_iters: 5_000,
        max_shrink_time: 120_000,
        ..Config::default()
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (begun, count, steps) = (Instant::now(), Cell::new(0u32), Cell::new(0));
    let seen = RefCell::new(Seen::new());
    let add = |answers: Seen| {
        for (what, times) in answers {
            *seen.borrow_mut().entry(what).or_default() += times;
        }
    };
    for (name, ops) in kept::sequences() {
        match runtime.block_on(once(&open, &ops)) {
            Ok(answers) => add(answers),
            Err(text) => panic!("the sequence kept as \"{name}\": {text}"),
        }
    }
    let rescued = leases(seed, &mut |ops: &[op::Op]| {
        let seen = runtime.block_on(once(&open, ops));
        seen.unwrap_or_else(|text| panic!("{text}\nin the sequence {ops:?}"))
    });
    assert!(rescued > 0, "no lease ran out under a job");
    let outcome = TestRunner::new_with_rng(config, random(seed)).run(&op::ops(), |ops| {
        count.set(count.get() + 1);
        steps.set(steps.get() + ops.len());
        let end = runtime.block_on(once(&open, &ops));
        add(end.map_err(TestCaseError::fail)?);
        Ok(())
    });
    println!("{} sequences of {} operations in {:?}", count.get(), steps.get(), begun.elapsed());
    if let Err(error) = outcome {
        panic!("WINDLASS_MODEL_SEED={seed} WINDLASS_MODEL_CASES={cases}: {error}");
    }
    let seen = seen.into_inner();
    println!("answers: {seen:?}");
    // Answers that never came were never compared.
    let rare = rare(&seen, more);
    assert!(
        cases < enough || rare.is_empty(),
        "{rare:?} never came in {} sequences: {seen:?}",
        count.get()
    );
}

/// What the environment says, if it does.
fn number(name: &str, default: u32) -> u32 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn random(seed: u32) -> TestRng {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&seed.to_le_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}

/// Some sequences in which a lease runs out: each takes seconds where that is waited for. Answers how many jobs were rescued.
fn leases(seed: u32, run: &mut dyn FnMut(&[op::Op]) -> Seen) -> u64 {
    let mut runner = TestRunner::new_with_rng(Config::default(), random(seed));
    let sequences = (0..LEASES).map(|_| op::leases().new_tree(&mut runner).unwrap().current());
    let rescued = |seen: Seen| {
        let whats = ["rescued", "rescued for a key"];
        whats.iter().filter_map(|what| seen.get(what)).sum::<u64>()
    };
    sequences.map(|ops| rescued(run(&ops))).sum()
}

/// What never came.
fn rare(seen: &Seen, more: &[&'static str]) -> Vec<&'static str> {
    let all = ANSWERS.iter().chain(more).copied();
    all.filter(|what| seen.get(what).is_none_or(|n| *n == 0)).collect()
}

/// One sequence on a fresh backend.
async fn once<F, G>(open: &F, ops: &[op::Op]) -> Result<Seen, String>
where
    F: Fn() -> G,
    G: Future<Output = (Real, Box<dyn std::any::Any>)>,
{
    let (real, _kept) = open().await;
    let end = ops::run(&Model::default(), &real, ops).await;
    if let Some(host) = &real.host {
        host.close().await;
    }
    real.backend.close().await.unwrap();
    end
}

/// Of the sequences that a check runs.
const SEED: u32 = 1;
/// Of those in which a lease runs out.
const LEASES: usize = 5;

/// What the sequences must bring about.
const ANSWERS: [&str; 23] = [
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
    "rescued for a key",
    "jobs pruned",
    "blobs to delete",
    "a page with more after it",
];
/// And where there are transactions of the host's.
pub(crate) const TRANSACTIONS: [&str; 3] =
    ["a transaction committed", "a transaction rolled back", "refused in a transaction"];
