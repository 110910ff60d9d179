//! The comparison turns red for a backend that is wrong in one way, and stays green for one that is not.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, TestRng, TestRunner};
use windlass_core::MemoryBackend;
use windlass_model::ops::wrong::{Slip, Wrong};
use windlass_model::ops::{self, Model, Real, Time, op};

/// The first difference in so many sequences, the same ones each time, between two sides with a slip each.
async fn difference(slips: [Slip; 2], sequences: usize) -> Option<(usize, String)> {
    let config = Config::default();
    let rng = TestRng::deterministic_rng(config.rng_algorithm);
    let mut runner = TestRunner::new_with_rng(config, rng);
    for number in 1..=sequences {
        let ops = op::ops().new_tree(&mut runner).unwrap().current();
        let [model, real] = slips.map(|slip| {
            let clock = MemoryBackend::new();
            Model { backend: Arc::new(Wrong::new(clock.clone(), slip)), clock }
        });
        let Model { backend, clock } = real;
        let time = Time::Moved(Box::new(move |by| clock.advance(by)));
        if let Err(text) = ops::run(&model, &Real { backend, time }, &ops).await {
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
