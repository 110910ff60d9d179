//! The comparison turns red for a backend that is wrong in one way, and stays green for one that is not.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, TestRng, TestRunner};
use windlass_core::MemoryBackend;
use windlass_model::ops::wrong::{Slip, Wrong};
use windlass_model::ops::{self, Real, Time, op};

/// The first difference in so many sequences, the same ones each time.
async fn difference(slip: Slip, sequences: usize) -> Option<(usize, String)> {
    let config = Config::default();
    let rng = TestRng::deterministic_rng(config.rng_algorithm);
    let mut runner = TestRunner::new_with_rng(config, rng);
    for number in 1..=sequences {
        let ops = op::ops().new_tree(&mut runner).unwrap().current();
        let memory = MemoryBackend::new();
        let clock = memory.clone();
        let time = Time::Moved(Box::new(move |by| clock.advance(by)));
        let real = Real { backend: Arc::new(Wrong::new(memory, slip)), time };
        if let Err(text) = ops::run(&real, &ops).await {
            return Some((number, text));
        }
    }
    None
}

#[tokio::test]
async fn a_backend_that_is_not_wrong_is_the_same() {
    assert_eq!(difference(Slip::None, 200).await, None);
}

#[tokio::test]
async fn each_slip_is_seen() {
    for slip in Slip::ALL {
        let (number, text) =
            difference(slip, 1_000).await.unwrap_or_else(|| panic!("{slip:?} was not seen"));
        println!("{slip:?} is seen in sequence {number}: {}", text.lines().next().unwrap());
    }
}
