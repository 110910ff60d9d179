//! [`Storage::list`]: byte order, prefixes, pages; and keys that come back as they went in.

use std::collections::BTreeSet;

use super::StorageHarness;
use super::storage_support::{assert_holds, bytes, key, names, put};
use crate::Storage;

/// In byte order. A walk through folders, or an order that knows letters, gives another.
const ORDERED: [&str; 12] =
    ["Z", "a-b/x", "a-b/y", "a.b", "a/0", "a/a/a", "a/b", "a0", "a:b", "aB", "a_b", "ab"];

async fn put_ordered(storage: &dyn Storage) {
    for name in ORDERED.iter().rev() {
        put(storage, name, &bytes(3, 1)).await;
    }
}

pub async fn list_is_in_byte_order<H: StorageHarness>(h: H) {
    let storage = h.storage();
    put_ordered(&*storage).await;
    assert_eq!(names(&*storage, "", None, 100).await, ORDERED);
}

pub async fn pages_follow_one_another<H: StorageHarness>(h: H) {
    let storage = h.storage();
    put_ordered(&*storage).await;
    for limit in 1..=ORDERED.len() {
        let mut all: Vec<String> = Vec::new();
        loop {
            let page = names(&*storage, "", all.last().map(String::as_str), limit).await;
            assert!(page.len() <= limit, "{} in a page of {limit}", page.len());
            if page.is_empty() {
                break;
            }
            all.extend(page);
        }
        assert_eq!(all, ORDERED, "in pages of {limit}");
    }
    assert!(names(&*storage, "", None, 0).await.is_empty(), "a page of none");
    assert_eq!(names(&*storage, "", Some("a/a"), 2).await, ["a/a/a", "a/b"], "after no blob");
    assert_eq!(names(&*storage, "a/", Some("a/a/a"), 9).await, ["a/b"], "after and prefix");
    assert_eq!(names(&*storage, "a/", Some("Z"), 1).await, ["a/0"], "after stands before");
    assert!(names(&*storage, "a/", Some("ab"), 9).await.is_empty(), "after stands behind");
}

pub async fn a_prefix_is_any_text<H: StorageHarness>(h: H) {
    let storage = h.storage();
    put_ordered(&*storage).await;
    let long = "a".repeat(2_000);
    for prefix in [
        "", "a", "a-", "a-b", "a-b/", "a-b/x", "a-b/xx", "a.", "a/", "a/a", "a/a/", "a/a/a", "a:",
        "b", "Z", "/", "a//", "a/.", "a/..", "..", "é", "%", "_", "a%", "*", "a b", "\\", "#",
        &long,
    ] {
        let expected: Vec<_> =
            ORDERED.into_iter().filter(|name| name.starts_with(prefix)).collect();
        assert_eq!(names(&*storage, prefix, None, 100).await, expected, "prefix {prefix:?}");
    }
}

pub async fn keys_come_back_as_they_went_in<H: StorageHarness>(h: H) {
    let storage = h.storage();
    let wide = format!("{}/{}", "w".repeat(200), "x".repeat(200));
    let deep = format!("{}d", "d/".repeat(255));
    let odd = ["A:1-2_3/x.y", "..x/y.", "-", "...", "_:", ".hidden/.x", "x.tmp", "0", &wide, &deep];
    for (n, name) in odd.iter().enumerate() {
        put(&*storage, name, &bytes(n + 1, 1)).await;
    }
    let expected: BTreeSet<&str> = odd.into();
    assert_eq!(names(&*storage, "", None, 100).await, Vec::from_iter(expected));
    for (n, name) in odd.iter().enumerate() {
        assert_holds(&*storage, name, &bytes(n + 1, 1)).await;
    }
    storage.delete(&odd.map(key)).await.unwrap();
    assert!(names(&*storage, "", None, 100).await.is_empty());
}
