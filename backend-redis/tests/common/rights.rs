//! The rights of users.

/// How the user of the suite stands in a URL.
pub(crate) const AS: &str = "app:secret-word@";

/// The rights in the README, for a namespace.
pub(crate) fn rights(namespace: &str) -> Vec<String> {
    let readme = include_str!("../../README.md");
    let section = readme.split("## What the user of an ACL needs").nth(1).unwrap();
    let block = section.split("```").nth(1).unwrap().trim_start_matches("text");
    block.replace("NAMESPACE", namespace).split_whitespace().map(str::to_owned).collect()
}
