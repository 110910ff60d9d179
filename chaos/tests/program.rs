//! The program as a whole, for a few seconds.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_windlass-chaos");
const PATIENCE: Duration = Duration::from_secs(60);

fn sqlite(minutes: &str, folder: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["--backend", "sqlite", "--minutes", minutes, "--seed", "1", "--keep", "--out"]);
    command.arg(folder);
    command
}

/// The last line, and all that was said.
fn line(ran: &Output) -> (Value, String) {
    let (said, errors) =
        (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    let line = said.lines().last().map(serde_json::from_str);
    (line.unwrap_or_else(|| panic!("{errors}")).unwrap(), format!("{said}{errors}"))
}

fn report(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("chaos.md")).unwrap()
}

#[test]
fn a_short_run_on_sqlite_holds_every_rule_and_can_be_checked_again() {
    let folder = tempfile::tempdir().unwrap();
    let ran = sqlite("0.15", folder.path()).output().unwrap();
    let (line, said) = line(&ran);
    assert!(ran.status.success(), "{said}");
    assert_eq!((&line["backend"], &line["violations"]), (&"sqlite".into(), &0.into()), "{line}");
    assert!(line["jobs"].as_u64().unwrap() > 0, "{line}");
    let report = report(folder.path());
    assert!(report.contains("Every rule holds."), "{report}");
    let kept = std::fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.path());
    let kept = kept.filter(|path| path.is_dir()).map(|path| path.join("sqlite")).next().unwrap();
    let check = || Command::new(PROGRAM).arg("check").arg(&kept).status().unwrap();
    assert!(check().success());
    // A job that is gone from the store.
    let jobs = std::fs::read_to_string(kept.join("jobs.jsonl")).unwrap();
    let less: Vec<_> = jobs.lines().skip(1).collect();
    std::fs::write(kept.join("jobs.jsonl"), less.join("\n")).unwrap();
    assert_eq!(check().code(), Some(1));
}

#[test]
fn workers_of_another_build_run_jobs_beside_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other");
    std::fs::copy(PROGRAM, &other).unwrap();
    let ran = sqlite("0.1", folder.path()).arg("--second-build").arg(&other).output().unwrap();
    let (_, said) = line(&ran);
    assert!(ran.status.success(), "{said}");
    let report = report(folder.path());
    assert!(report.contains("Every other worker was of another build."), "{report}");
    assert!(report.contains("handlers began in another build."), "{report}");
    assert!(report.contains("--second-build"), "{report}");
}

/// Whether a worker's history tells of a claim.
fn claims(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| {
        let path = entry.path();
        let claims =
            || std::fs::read_to_string(&path).is_ok_and(|text| text.contains("\"claimed\""));
        if path.is_dir() { self::claims(&path) } else { claims() }
    })
}

#[test]
fn a_run_that_is_told_to_end_reports_what_it_has_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let running =
        sqlite("60", folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while !claims(folder.path()) {
        assert!(begun.elapsed() < PATIENCE, "nobody claims a job");
        std::thread::sleep(Duration::from_millis(50));
    }
    let pid = Pid::from_raw(i32::try_from(running.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let ran = running.wait_with_output().unwrap();
    let (line, said) = line(&ran);
    assert_eq!(ran.status.code(), Some(2), "{said}");
    assert_eq!((&line["violations"], line["error"].is_null()), (&0.into(), false), "{line}");
    assert!(line["jobs"].as_u64().unwrap() > 0, "{line}");
    assert!(report(folder.path()).contains("Not to the end"), "{said}");
}

#[test]
fn a_run_that_can_not_begin_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let ran = sqlite("0.1", folder.path()).arg("--second-build").arg("/none").output().unwrap();
    let (line, said) = line(&ran);
    assert_eq!(ran.status.code(), Some(2), "{said}");
    assert!(!line["error"].is_null(), "{line}");
}
