//! Entries of an outbox.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| windlass_core::fuzzing::parcel(data));
