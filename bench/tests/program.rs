//! What the program refuses, before it builds or measures anything.

use std::process::Command;

/// Runs it, and answers what it said as it failed.
fn refused(args: &[&str]) -> String {
    let ended = Command::new(env!("CARGO_BIN_EXE_windlass-bench")).args(args).output().unwrap();
    assert!(!ended.status.success(), "{ended:?}");
    String::from_utf8(ended.stderr).unwrap()
}

#[cfg(debug_assertions)]
#[test]
fn an_unoptimised_build_measures_nothing() {
    // It would end here in any case, by the name.
    let said = refused(&["--systems", "nobody"]);
    assert!(said.contains("--release"), "{said}");
}

#[test]
fn an_unknown_system_is_told_with_the_known_ones() {
    let said = refused(&["--quick", "--backend", "redis", "--systems", "nobody"]);
    assert!(said.contains("`nobody`") && said.contains("oxana"), "{said}");
}

#[test]
fn a_file_that_cannot_be_written_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("is a file");
    std::fs::write(&file, "").unwrap();
    let json = file.join("rows.json");
    let said = refused(&["--quick", "--systems", "nobody", "--json", json.to_str().unwrap()]);
    assert!(!said.contains("nobody"), "{said}");
}
