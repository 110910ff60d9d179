//! The small model: the sound fence holds in every order of events, and each that looks at less is found broken.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::time::Instant;

use stateright::{Checker, Expectation, HasDiscoveries, Model};
use windlass_model::small::{ATTEMPTS, FINAL, Flaw, Guard, NO_STALE, NOT_LOST, ONCE, Small};

/// Fewer states than this would mean that the model has lost some of its events.
const FLOOR: usize = 100_000;

/// One thread finds the shortest way.
fn check(
    model: Small,
    threads: usize,
    until: HasDiscoveries,
) -> (HashMap<&'static str, Vec<String>>, usize) {
    let begun = Instant::now();
    let checker = model.checker().threads(threads).finish_when(until).spawn_bfs().join();
    let states = checker.unique_state_count();
    let found = checker.discoveries().into_iter().map(|(name, path)| {
        let actions = path.into_actions().into_iter();
        (name, actions.map(|action| format!("{action:?}")).collect())
    });
    println!(
        "{:?} {:?} {:?}: {states} states in {:?}",
        model.guard,
        model.flaw,
        model.budget,
        begun.elapsed()
    );
    (found.collect(), states)
}

/// Explores until a property fails, and prints the shortest way there, which must lead over these events.
fn is_broken(model: Small, name: &'static str, over: &[&str]) {
    let (found, _) = check(model, 1, HasDiscoveries::AnyFailures);
    let path = found.get(name);
    let path = path.unwrap_or_else(|| panic!("{model:?} was not found broken: {found:?}"));
    println!("\"{name}\" fails with {:?} after {} events:", model.guard, path.len());
    for action in path {
        println!("  {action}");
    }
    for event in over {
        assert!(path.iter().any(|action| action.starts_with(event)), "{event} is not on the way");
    }
}

fn has_flaw(model: Small, flaw: Flaw, name: &'static str) {
    is_broken(Small { flaw: Some(flaw), ..model }, name, &[]);
}

/// Explores all there is, and gives the number of states.
fn holds(model: Small) -> usize {
    let (found, states) = check(model, 2, HasDiscoveries::AllFailures);
    for property in model.properties() {
        let path = found.get(property.name);
        match property.expectation {
            Expectation::Always => assert_eq!(path, None, "{} fails", property.name),
            _ => assert!(path.is_some(), "never happens: {}", property.name),
        }
    }
    states
}

#[test]
fn the_fence_of_the_library_holds_on_a_troubled_network() {
    let states = holds(Small::troubled(Guard::Sound));
    assert!(states > FLOOR, "only {states} states");
}

#[test]
fn the_fence_of_the_library_holds_when_processes_die() {
    let states = holds(Small::crashing(Guard::Sound));
    assert!(states > FLOOR, "only {states} states");
}

#[test]
fn the_fence_of_the_library_holds_over_a_failover_to_an_older_state() {
    let states = holds(Small::failing_over(Guard::Sound));
    assert!(states > FLOOR, "only {states} states");
}

#[test]
fn the_fence_of_the_library_holds_when_all_of_it_meets() {
    let states = holds(Small::everything(Guard::Sound));
    assert!(states > FLOOR, "only {states} states");
}

#[test]
fn a_fence_without_the_epoch_is_broken() {
    is_broken(Small::troubled(Guard::NoEpoch), NO_STALE, &[]);
}

#[test]
fn a_fence_without_the_claim_id_is_broken() {
    is_broken(Small::failing_over(Guard::NoClaimId), NO_STALE, &["Snapshot", "Restore"]);
}

#[test]
fn a_guard_by_the_clock_is_broken() {
    is_broken(Small::late(Guard::Clock), NO_STALE, &["Finish", "Expire", "Rescue"]);
}

#[test]
fn a_guard_by_the_state_alone_is_broken() {
    is_broken(Small::troubled(Guard::StateOnly), NO_STALE, &[]);
}

#[test]
fn a_fence_without_the_state_is_broken() {
    is_broken(Small::troubled(Guard::NoState), ONCE, &[]);
}

#[test]
fn without_a_rescue_jobs_are_lost() {
    has_flaw(Small::crashing(Guard::Sound), Flaw::NeverRescues, NOT_LOST);
}

#[test]
fn a_rescue_that_does_not_look_at_the_state_is_broken() {
    has_flaw(Small::crashing(Guard::Sound), Flaw::RescuesFinal, FINAL);
}

#[test]
fn an_attempt_that_is_not_given_back_is_found() {
    has_flaw(Small::crashing(Guard::Sound), Flaw::KeepsAttempts, ATTEMPTS);
}
