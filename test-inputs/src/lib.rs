//! Bounded inputs for properties of everything that parses: the seeds in `fuzz/seeds`, what comes of them when they are changed here and there, and bytes that
//! mean nothing. The same properties run without a bound under `scripts/fuzz`.
//!
//! The same numbers give the same inputs, so that what failed once fails again.
#![forbid(unsafe_code)]

use std::panic::{RefUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use fastrand::Rng;

/// Inputs per property besides the seeds. Under Miri each costs a thousand times as much.
const RUNS: u64 = if cfg!(miri) { 24 } else { 4_000 };
/// The longest input made here.
const LONGEST: usize = 2_048;
/// Numbers at which arithmetic ends.
const EDGES: [i64; 8] = [0, -1, 1, i64::MAX, i64::MIN, u32::MAX as i64, i32::MAX as i64, 1 << 53];

/// Runs a property on the seeds of a target, each as it is, then on inputs made from them. A property fails by panicking.
///
/// # Panics
/// When the property does, after telling of the input; and when the target has no seeds.
pub fn check(target: &str, property: impl Fn(&[u8]) + RefUnwindSafe) {
    let seeds = seeds(target);
    for (path, seed) in &seeds {
        run(&format!("the seed {}", path.display()), seed, &property);
    }
    for number in 0..RUNS {
        let input = input(&mut Rng::with_seed(number), &seeds);
        run(&format!("input {number} of the target {target}"), &input, &property);
    }
}

fn run(what: &str, input: &[u8], property: &(impl Fn(&[u8]) + RefUnwindSafe)) {
    if let Err(panic) = catch_unwind(|| property(input)) {
        eprintln!("{what} fails: b\"{}\"", input.escape_ascii());
        resume_unwind(panic);
    }
}

/// What is kept for a target: a file for each input.
#[allow(clippy::expect_used, reason = "a test fails by panicking")]
fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let entries = std::fs::read_dir(&folder).expect("each target has a folder of seeds");
    let paths = entries.map(|entry| entry.expect("a folder can be read").path());
    let mut seeds: Vec<_> = paths
        .map(|path| (path.clone(), std::fs::read(path).expect("a seed can be read")))
        .collect();
    assert!(!seeds.is_empty(), "the target {target} has no seeds");
    seeds.sort();
    seeds
}

/// An input: bytes that mean nothing, or a seed that was changed here and there.
fn input(rng: &mut Rng, seeds: &[(PathBuf, Vec<u8>)]) -> Vec<u8> {
    if rng.u8(..) < 64 {
        let length = rng.usize(..256);
        return std::iter::repeat_with(|| rng.u8(..)).take(length).collect();
    }
    let mut bytes = seeds[rng.usize(..seeds.len())].1.clone();
    for _ in 0..rng.usize(1..6) {
        change(rng, &mut bytes, seeds);
    }
    bytes.truncate(LONGEST);
    bytes
}

/// Changes bytes in one place.
fn change(rng: &mut Rng, bytes: &mut Vec<u8>, seeds: &[(PathBuf, Vec<u8>)]) {
    let at = rng.usize(..=bytes.len());
    let end = (at + rng.usize(..16)).min(bytes.len());
    match rng.u8(..8) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..end)),
        2 => bytes.insert(at, rng.u8(..)),
        3 => {
            let again = bytes[at..end].to_vec();
            bytes.splice(at..at, again);
        }
        4 => {
            let other = &seeds[rng.usize(..seeds.len())].1;
            let from = rng.usize(..=other.len());
            let to = (from + rng.usize(..32)).min(other.len());
            bytes.splice(at..end, other[from..to].iter().copied());
        }
        5 => {
            let number = EDGES[rng.usize(..EDGES.len())];
            let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            bytes.splice(at..at + digits, number.to_string().into_bytes());
        }
        6 => {
            let odd: [&[u8]; 8] =
                [b"\0", b"\"", b"\\", b"\xff", b"%", b"\n", "é".as_bytes(), b"\x1f"];
            bytes.splice(at..end, odd[rng.usize(..odd.len())].iter().copied());
        }
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << rng.u8(..8);
            }
        }
    }
}
