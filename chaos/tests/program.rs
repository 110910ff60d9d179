//! The program as a whole, for a few seconds.
#![allow(clippy::unwrap_used)]

use std::process::Command;

#[test]
fn a_short_run_on_sqlite_holds_every_rule_and_can_be_checked_again() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let program = env!("CARGO_BIN_EXE_windlass-chaos");
    let run = ["--backend", "sqlite", "--minutes", "0.15", "--seed", "1", "--keep", "--out", out];
    let ran = Command::new(program).args(run).output().unwrap();
    let (said, errors) =
        (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{said}{errors}");
    let line: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!((&line["backend"], &line["violations"]), (&"sqlite".into(), &0.into()), "{line}");
    assert!(line["jobs"].as_u64().unwrap() > 50, "{line}");
    let report = std::fs::read_to_string(folder.path().join("chaos.md")).unwrap();
    assert!(report.contains("Every rule holds."), "{report}");
    let kept = std::fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.path());
    let kept = kept.filter(|path| path.is_dir()).map(|path| path.join("sqlite")).next().unwrap();
    let check = || Command::new(program).arg("check").arg(&kept).status().unwrap();
    assert!(check().success());
    // A job that is gone from the store.
    let jobs = std::fs::read_to_string(kept.join("jobs.jsonl")).unwrap();
    let less: Vec<_> = jobs.lines().skip(1).collect();
    std::fs::write(kept.join("jobs.jsonl"), less.join("\n")).unwrap();
    assert_eq!(check().code(), Some(1));
}
