//! The program as a whole, for a few seconds.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_windlass-chaos");
/// Servers that can not be started are given up after a while, each.
const PATIENCE: Duration = Duration::from_secs(240);

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
    assert!(report.contains("Every other worker was of another build: `"), "{report}");
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

fn end_once_jobs_are_claimed(running: Child, folder: &Path) -> Output {
    let begun = Instant::now();
    while !claims(folder) {
        assert!(begun.elapsed() < PATIENCE, "nobody claims a job");
        std::thread::sleep(Duration::from_millis(50));
    }
    let pid = Pid::from_raw(i32::try_from(running.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    running.wait_with_output().unwrap()
}

#[test]
fn a_run_that_is_told_to_end_reports_what_it_has_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let running =
        sqlite("60", folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let ran = end_once_jobs_are_claimed(running, folder.path());
    let (line, said) = line(&ran);
    assert_eq!(ran.status.code(), Some(2), "{said}");
    assert_eq!((&line["violations"], line["error"].is_null()), (&0.into(), false), "{line}");
    assert!(line["jobs"].as_u64().unwrap() > 0, "{line}");
    assert!(report(folder.path()).contains("Not to the end"), "{said}");
}

#[test]
fn rounds_bring_each_kind_of_fault() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(["--setting", "sqlite", "--rounds", "1", "--seed", "1", "--out"]);
    let ran = command.arg(folder.path()).output().unwrap();
    let (line, said) = line(&ran);
    assert!(ran.status.success(), "{said}");
    assert!(line["faults"].as_u64().unwrap() >= 5, "{line}");
    let report = report(folder.path());
    assert!(!report.contains("met nothing"), "{report}");
    assert!(report.contains("--rounds 1"), "{report}");
}

/// Of three backends one can't be started, and the end comes while the first is run: each has a line.
#[test]
fn a_backend_that_does_not_start_keeps_no_other_from_being_run_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(["--minutes", "60", "--seed", "1", "--out"]).arg(folder.path());
    command.env("WINDLASS_TEST_POSTGRES_BIN", "/none");
    let running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let ran = end_once_jobs_are_claimed(running, folder.path());
    assert_eq!(ran.status.code(), Some(2));
    let said = String::from_utf8(ran.stdout).unwrap();
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let backends: Vec<_> = lines.iter().map(|line| line["backend"].as_str().unwrap()).collect();
    assert_eq!(backends, ["sqlite", "postgres", "redis"]);
    assert!(lines[0]["jobs"].as_u64().unwrap() > 0, "{said}");
    assert!(lines[1]["error"].as_str().unwrap().contains("can't be run"), "{said}");
    assert!(!lines[2]["error"].is_null(), "{said}");
    assert!(report(folder.path()).contains("it can't be run"));
}

#[test]
fn a_folder_that_can_not_be_made_is_told_in_each_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let ran = sqlite("0.1", &file.join("below")).output().unwrap();
    let (line, said) = line(&ran);
    assert_eq!(ran.status.code(), Some(2), "{said}");
    assert_eq!((&line["backend"], line["error"].is_null()), (&"sqlite".into(), false), "{line}");
}

#[test]
fn a_simulation_that_found_something_ends_all_with_a_failure() {
    for (ended, code) in [("1", 1), ("2", 2)] {
        let folder = tempfile::tempdir().unwrap();
        let simulation = folder.path().join("simulation.md");
        std::fs::write(&simulation, "\n## simulation\n\nA seed broke a rule.\n").unwrap();
        let mut command = sqlite("0.1", folder.path());
        command.args(["--simulation-ended", ended, "--simulation"]).arg(&simulation);
        let ran = command.output().unwrap();
        let (line, said) = line(&ran);
        assert_eq!(ran.status.code(), Some(code), "{said}");
        // What was run holds all the same.
        assert!(line["error"].is_null(), "{line}");
        assert!(report(folder.path()).contains("A seed broke a rule."), "{said}");
    }
}

#[test]
fn a_run_that_can_not_begin_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let ran = sqlite("0.1", folder.path()).arg("--second-build").arg("/none").output().unwrap();
    let (line, said) = line(&ran);
    assert_eq!(ran.status.code(), Some(2), "{said}");
    assert!(!line["error"].is_null(), "{line}");
}

/// Before anything is run: neither a line nor a report.
#[test]
fn what_can_not_be_run_for_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = [
        "--minutes=0",
        "--minutes=-1",
        "--minutes=nan",
        "--minutes=inf",
        "--minutes=1e300",
        "--rate=0",
        "--rounds=0",
        "--bakend=sqlite",
    ];
    for argument in wrong {
        let out = folder.path().join("out");
        let ran = Command::new(PROGRAM).arg(argument).arg("--out").arg(&out).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(2), "{argument}: {said}");
        assert!(ran.stdout.is_empty() && !out.exists(), "{argument}: {said}");
        assert!(!said.contains("panicked"), "{argument}: {said}");
    }
}

#[test]
fn which_servers_are_needed_is_told_without_a_run() {
    let told = |arguments: &[&str]| {
        let ran = Command::new(PROGRAM).arg("--only-check").args(arguments).output().unwrap();
        assert!(ran.status.success(), "{arguments:?}");
        String::from_utf8(ran.stdout).unwrap()
    };
    assert_eq!(told(&["--out", "sqlite"]), "servers: sqlite postgres redis\n");
    assert_eq!(told(&["--out", "check", "--backend", "postgres"]), "servers: postgres\n");
    assert_eq!(told(&["--setting", "failover"]), "servers: redis\n");
    assert_eq!(told(&["check", "folder"]), "");
}

#[test]
fn a_simulation_that_was_told_to_end_lets_all_be_told_and_nothing_be_run() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(["--told-to-end", "--simulation-ended", "130", "--seed", "1", "--out"]);
    let ran = command.arg(folder.path()).output().unwrap();
    let (_, said) = line(&ran);
    assert_eq!(ran.status.code(), Some(2), "{said}");
    let lines = String::from_utf8(ran.stdout).unwrap();
    assert_eq!(lines.lines().count(), 3, "{said}");
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["error"], "it was told to end before", "{said}");
    }
    assert!(report(folder.path()).contains("it was told to end before"));
}
