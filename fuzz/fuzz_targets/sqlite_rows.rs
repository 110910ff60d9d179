//! Rows of a SQLite database.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| windlass_sqlite::fuzzing::rows(data));
