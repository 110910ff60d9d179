//! What the document service makes of a text.
#![no_main]

#[allow(dead_code, reason = "a part of a program")]
#[path = "../../examples/document-service/src/text.rs"]
mod text;

libfuzzer_sys::fuzz_target!(|data: &[u8]| text::property(data));
