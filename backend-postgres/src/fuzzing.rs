//! Properties of what parses here. The tests of this crate check them on bounded inputs, the targets in `fuzz/` without an end.
//!
//! Rows come through the driver, from a server: `tests/damaged_columns.rs` has those.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a property fails by panicking")]

use std::error::Error;

pub use crate::wake::notice;

use crate::PostgresOptions;

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

/// URLs.
pub fn url(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // What is no login and looks like the name of a parameter is told, to help with a slip.
    let _ = PostgresOptions::from_url(&text);
    // The same behind a login, with the secret in no other place.
    let rest = text.split_once("://").map_or(&*text, |(_, rest)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    if rest.contains(MARK) {
        return;
    }
    let url = format!("postgres://app:{MARK}@{rest}");
    match PostgresOptions::from_url(&url) {
        Ok(options) => assert!(!format!("{options:?}").contains(MARK), "{options:?}"),
        Err(error) => check_told(&error),
    }
    let direct = PostgresOptions::from_url("postgres://app@db/app").unwrap().direct_url(&url);
    match direct {
        Ok(options) => assert!(!format!("{options:?}").contains(MARK), "{options:?}"),
        Err(error) => check_told(&error),
    }
}

#[cfg(test)]
mod tests {
    use windlass_test_inputs::check;

    #[test]
    fn urls_are_read_or_refused() {
        check("urls", super::url);
    }

    #[test]
    fn notices_read_back() {
        check("postgres_notice", super::notice);
    }
}
