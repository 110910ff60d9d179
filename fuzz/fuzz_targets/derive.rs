//! What stands in `#[job(…)]`. The files are part of this program, since a crate of macros can't be linked.
#![no_main]

#[path = "../../macros/src/attributes.rs"]
mod attributes;
#[path = "../../macros/src/backoff.rs"]
mod backoff;
#[path = "../../macros/src/expand.rs"]
mod expand;
#[path = "../../macros/src/unique.rs"]
mod unique;
#[path = "../../macros/src/value.rs"]
mod value;

libfuzzer_sys::fuzz_target!(|data: &[u8]| expand::property(data));
