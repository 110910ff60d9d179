//! `docs/failures.md` tells the truth about the tests that hold each of its lines.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The failures that the page must have a line for.
const FAILURES: std::ops::RangeInclusive<u32> = 1..=52;

/// The backends on which each line must be held.
const BACKENDS: [&str; 3] = ["SQLite", "Postgres", "Redis"];

/// The backends on which the tests of a file run.
fn backends_of(path: &str) -> &'static [&'static str] {
    let in_any = |places: &[&str]| places.iter().any(|place| path.starts_with(place));
    match () {
        () if in_any(&["core/src/conformance/", "tests/worker_cases/"]) => &BACKENDS,
        () if in_any(&["backend-sqlite/", "tests/sqlite"]) => &["SQLite"],
        () if in_any(&["backend-postgres/", "tests/postgres"]) => &["Postgres"],
        () if in_any(&["backend-redis/", "tests/redis"]) => &["Redis"],
        () => &[],
    }
}

/// Functions, and the backends on which they run.
type Functions = BTreeMap<String, BTreeSet<&'static str>>;

/// Adds all functions in the Rust files under a folder.
fn gather(root: &Path, folder: &Path, functions: &mut Functions) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(root, &path, functions);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let backends = backends_of(path.strip_prefix(root).unwrap().to_str().unwrap());
            for rest in text.split("fn ").skip(1) {
                let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next();
                functions.entry(name.unwrap_or_default().to_owned()).or_default().extend(backends);
            }
        }
    }
}

/// The backends that a line says it does not concern: `…; not SQLite, not Redis: why`.
fn spared(tests: &str) -> BTreeSet<&'static str> {
    let Some((_, reason)) = tests.split_once("; not ") else { return BTreeSet::new() };
    let (names, why) = reason.split_once(": ").unwrap();
    assert!(why.len() > 10, "no reason: {tests}");
    let name = |name: &str| *BACKENDS.iter().find(|known| **known == name).unwrap();
    names.split(", not ").map(name).collect()
}

/// The failures that a test's name begins with: `f03_f14_…` names 3 and 14.
fn failures_of(name: &str) -> Vec<u32> {
    let parts = name.split('_').map(|part| part.strip_prefix('f')?.parse().ok());
    parts.map_while(|number| number).collect()
}

#[test]
fn every_line_of_the_list_of_failures_is_held_by_tests_that_name_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut functions = Functions::new();
    let folders = [
        "src",
        "tests",
        "compile-fail",
        "core",
        "backend-sqlite",
        "backend-postgres",
        "backend-redis",
    ];
    for folder in folders {
        gather(root, &root.join(folder), &mut functions);
    }
    let page = fs::read_to_string(root.join("docs/failures.md")).unwrap();
    let mut lines: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for line in page.lines().filter_map(|line| line.strip_prefix("| F")) {
        let columns: Vec<&str> = line.trim_end_matches(" |").split(" | ").collect();
        let [number, _, answer, tests] = columns[..] else { panic!("F{line}: not four columns") };
        let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        let number = number.parse().unwrap();
        assert_eq!(named.is_empty(), answer.starts_with("not yet:"), "F{number}");
        let mut on: BTreeSet<&str> = BTreeSet::new();
        for name in &named {
            let backends = functions.get(*name);
            on.extend(backends.unwrap_or_else(|| panic!("F{number}: there is no test `{name}`")));
            assert!(failures_of(name).contains(&number), "F{number}: `{name}` names another");
        }
        let spared = spared(tests);
        for backend in BACKENDS.iter().filter(|_| !named.is_empty()) {
            let held = on.contains(backend) != spared.contains(backend);
            assert!(held, "F{number} needs either a test on {backend} or a reason to have none");
        }
        assert_eq!(lines.insert(number, named), None, "F{number} is there twice");
    }
    assert!(lines.keys().copied().eq(FAILURES), "{:?}", lines.keys());
    for name in functions.keys().filter(|name| name.starts_with('f')) {
        for number in failures_of(name) {
            let told = lines.get(&number).is_some_and(|tests| !tests.is_empty());
            assert!(told, "`{name}` covers F{number}, of which the page says that nothing does");
        }
    }
}
