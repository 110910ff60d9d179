//! The loop of [`Redis`], as a program.

use windlass_bench_contestant::{Result, main_of};
use windlass_bench_raw::{Raw, Redis};

fn main() -> Result<()> {
    main_of::<Raw<Redis>>()
}
