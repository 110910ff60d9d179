//! Args and results, and the blobs that they refer to.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| windlass_core::fuzzing::payload(data));
