//! Jobs as they are packed for Redis, and entries of the feed there.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| windlass_redis::fuzzing::records(data));
