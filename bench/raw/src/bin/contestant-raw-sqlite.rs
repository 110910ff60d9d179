//! The loop of [`Sqlite`], as a program.

use windlass_bench_contestant::{Result, main_of};
use windlass_bench_raw::{Raw, Sqlite};

fn main() -> Result<()> {
    main_of::<Raw<Sqlite>>()
}
