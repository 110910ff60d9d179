//! The list of state changes in a job's row.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| windlass_core::fuzzing::trail(data));
