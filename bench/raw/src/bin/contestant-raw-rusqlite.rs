//! The loop of [`Rusqlite`], as a program.

use windlass_bench_contestant::{Result, main_of};
use windlass_bench_raw::{Raw, Rusqlite};

fn main() -> Result<()> {
    main_of::<Raw<Rusqlite>>()
}
