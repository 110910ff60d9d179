//! `docs/failures.md` tells the truth about the tests that hold each of its lines.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The failures that the page must have a line for.
const FAILURES: std::ops::RangeInclusive<u32> = 1..=52;

/// Adds the names of all functions in the Rust files under a folder.
fn gather(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let named = text.split("fn ").skip(1).map(|rest| {
                rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
            });
            names.extend(named.map(str::to_owned));
        }
    }
}

/// The failures that a test's name begins with: `f03_f14_…` names 3 and 14.
fn failures_of(name: &str) -> Vec<u32> {
    let parts = name.split('_').map(|part| part.strip_prefix('f')?.parse().ok());
    parts.map_while(|number| number).collect()
}

#[test]
fn every_line_of_the_list_of_failures_is_held_by_tests_that_name_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut functions = BTreeSet::new();
    for folder in ["src", "tests", "core", "backend-sqlite", "backend-postgres", "backend-redis"] {
        gather(&root.join(folder), &mut functions);
    }
    let page = fs::read_to_string(root.join("docs/failures.md")).unwrap();
    let mut lines: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for line in page.lines().filter_map(|line| line.strip_prefix("| F")) {
        let columns: Vec<&str> = line.trim_end_matches(" |").split(" | ").collect();
        let [number, _, answer, tests] = columns[..] else { panic!("F{line}: not four columns") };
        let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        let number = number.parse().unwrap();
        assert_eq!(named.is_empty(), answer.starts_with("not yet:"), "F{number}");
        for name in &named {
            assert!(functions.contains(*name), "F{number}: there is no test `{name}`");
            assert!(failures_of(name).contains(&number), "F{number}: `{name}` names another");
        }
        assert_eq!(lines.insert(number, named), None, "F{number} is there twice");
    }
    assert!(lines.keys().copied().eq(FAILURES), "{:?}", lines.keys());
    for name in functions.iter().filter(|name| name.starts_with('f')) {
        for number in failures_of(name) {
            let told = lines.get(&number).is_some_and(|tests| !tests.is_empty());
            assert!(told, "`{name}` covers F{number}, of which the page says that nothing does");
        }
    }
}
