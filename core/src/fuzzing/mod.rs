//! Properties of everything here that parses. The tests of this crate check them on bounded inputs, the targets in `fuzz/` without an end.
//!
//! Whatever the bytes are: nothing panics, what was written reads back as it was, what could be read can be written and read again, and no error tells of the content
//! ([`MARK`] stands for it).
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a property fails by panicking")]

mod feed;
mod made;
mod names;
mod parcel;
mod payload;
mod trail;

use std::error::Error;

pub use feed::feed;
pub use names::names;
pub use parcel::parcel;
pub use payload::payload;
pub use trail::trail;

use crate::storage::place::Place;

/// Stands in seeds for what no error may show.
pub const MARK: &str = "hunter2";

/// All that an error tells to who prints it.
pub fn told(error: &dyn Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(" {error} {error:?}"));
        cause = error.source();
    }
    text
}

/// Panics when an error tells of the content.
fn check_told(error: &dyn Error) {
    let told = told(error);
    assert!(!told.contains(MARK), "it tells of the content: {told}");
}

/// URLs of a bucket.
pub fn s3_url(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for url in [text.to_string(), format!("s3://app:{MARK}@bucket/{}", text.replace(MARK, ""))] {
        match Place::parse(&url) {
            Ok(place) => {
                assert!(!place.bucket.is_empty() && !place.bucket.contains(['@', '/']));
                assert!(place.endpoint.is_none_or(|at| at.starts_with("http")));
                assert!(place.region.is_none_or(|name| !name.is_empty()));
                assert!(place.prefix.is_none_or(|key| !key.as_str().ends_with('/')));
            }
            Err(error) => assert!(!told(&error).contains(&format!("{MARK}@")), "{error:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use windlass_test_inputs::check;

    #[test]
    fn names_read_back() {
        check("core_names", super::names);
    }

    #[test]
    fn payloads_read_back() {
        check("core_payload", super::payload);
    }

    #[test]
    fn entries_of_the_feed_read_back() {
        check("core_feed", super::feed);
    }

    #[test]
    fn trails_read_back() {
        check("core_trail", super::trail);
    }

    #[test]
    fn entries_of_an_outbox_read_back() {
        check("core_parcel", super::parcel);
    }

    #[test]
    fn urls_of_buckets_are_read_or_refused() {
        check("urls", super::s3_url);
    }
}
