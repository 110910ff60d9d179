//! Entries of the event feed.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| windlass_core::fuzzing::feed(data));
