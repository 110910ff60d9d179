//! Properties of everything here that parses. The tests of this crate check them on bounded inputs, the targets in `fuzz/` without an end.
//!
//! Whatever the server or the host gives: nothing panics, what was written reads back as it was, and no error tells of the content.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a property fails by panicking")]

mod like;
mod records;
mod replies;

use std::error::Error;

pub use records::records;
pub use replies::replies;

use crate::RedisOptions;

/// Stands for what no error may show.
const MARK: &str = "hunter2";

/// Panics when an error tells of the content.
fn check_told(error: &dyn Error) {
    let mut text = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(" {error} {error:?}"));
        cause = error.source();
    }
    assert!(!text.contains(MARK), "it tells of the content: {text}");
}

/// URLs. Those that name files are left out: what stands in those is another matter.
pub fn url(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if !names_a_file(&text)
        && let Err(error) = RedisOptions::from_url(&text)
    {
        check_told(&error);
    }
    // The same behind a login, with the secret in no other place.
    let rest = text.split_once("://").map_or(&*text, |(_, rest)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    if rest.contains(MARK) {
        return;
    }
    for scheme in ["redis", "redis+sentinel", "redis+cluster"] {
        let url = format!("{scheme}://app:{MARK}@{rest}");
        if names_a_file(&url) {
            continue;
        }
        match RedisOptions::from_url(&url) {
            Ok(options) => assert!(!format!("{options:?}").contains(MARK), "{options:?}"),
            Err(error) => check_told(&error),
        }
    }
}

fn names_a_file(url: &str) -> bool {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let mut names = url::form_urlencoded::parse(query.as_bytes());
    names.any(|(name, _)| matches!(&*name, "ca" | "cert" | "key"))
}

#[cfg(test)]
mod tests {
    use windlass_test_inputs::check;

    #[test]
    fn urls_are_read_or_refused() {
        check("urls", super::url);
    }

    #[test]
    fn records_read_back() {
        check("redis_records", super::records);
    }

    #[test]
    fn replies_of_every_shape_are_read_or_refused() {
        check("redis_replies", super::replies);
    }
}
