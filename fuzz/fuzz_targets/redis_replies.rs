//! Replies of a Redis server.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| windlass_redis::fuzzing::replies(data));
