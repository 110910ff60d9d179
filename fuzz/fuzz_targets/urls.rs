//! URLs of backends and of buckets.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    windlass_core::fuzzing::s3_url(data);
    windlass_postgres::fuzzing::url(data);
    windlass_redis::fuzzing::url(data);
    windlass_sqlite::fuzzing::url(data);
});
