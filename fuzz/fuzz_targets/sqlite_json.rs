//! The JSON in which statements on SQLite answer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| windlass_sqlite::fuzzing::json(data));
