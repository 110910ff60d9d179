//! The loop of [`Postgres`], as a program.

use windlass_bench_contestant::{Result, main_of};
use windlass_bench_raw::{Postgres, Raw};

fn main() -> Result<()> {
    main_of::<Raw<Postgres>>()
}
