//! What processes tell each other through Postgres.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| windlass_postgres::fuzzing::notice(data));
