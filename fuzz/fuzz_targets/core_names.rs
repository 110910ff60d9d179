//! Names, keys, ids, cursors and positions.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| windlass_core::fuzzing::names(data));
