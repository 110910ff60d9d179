//! The main job as a user runs it: the example program as a process of its own, killed and started again.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The example program, which cargo builds together with this test.
fn program() -> Command {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().parent().unwrap().join("examples/file_pipeline");
    assert!(path.exists(), "{} is missing: cargo build --examples --all-features", path.display());
    Command::new(path)
}

fn run(dir: &Path, files: &[PathBuf]) -> (Output, Value) {
    let output = program().arg("--dir").arg(dir).arg("--json").args(files).output().unwrap();
    let summary = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("no summary: {e}\n{}", String::from_utf8_lossy(&output.stderr)));
    (output, summary)
}

/// Files of growing size with known content.
fn make_files(folder: &Path, count: usize) -> Vec<PathBuf> {
    fs::create_dir_all(folder).unwrap();
    (0..count)
        .map(|n| {
            let path = folder.join(format!("file-{n:03}.txt"));
            fs::write(&path, format!("line {n} of many words\n").repeat(1 + n * 20)).unwrap();
            path
        })
        .collect()
}

/// Every artifact folder with the names in it.
fn artifacts(dir: &Path) -> BTreeMap<String, Vec<String>> {
    let names = |path: &Path| {
        let mut names: Vec<String> = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let root = dir.join("artifacts");
    names(&root).into_iter().map(|name| (name.clone(), names(&root.join(name)))).collect()
}

fn assert_each_exactly_once(dir: &Path, files: &[PathBuf]) {
    let found = artifacts(dir);
    assert_eq!(found.len(), files.len());
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap();
        assert_eq!(found[name], [format!("{name}.gz"), "stats.json".to_owned()], "{name}");
        let mut unpacked = Vec::new();
        let packed = fs::File::open(dir.join("artifacts").join(name).join(format!("{name}.gz")));
        flate2::read::GzDecoder::new(packed.unwrap()).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, fs::read(file).unwrap(), "{name}");
    }
}

#[test]
fn files_come_out_processed() {
    let dir = tempfile::tempdir().unwrap();
    let files = make_files(&dir.path().join("in"), 5);
    let out = dir.path().join("out");
    let (output, summary) = run(&out, &files);
    assert!(output.status.success());
    assert_eq!(
        [&summary["files"], &summary["completed"], &summary["discarded"]],
        [&Value::from(5), &Value::from(5), &Value::from(0)]
    );
    assert_each_exactly_once(&out, &files);
    let one = &summary["results"][1];
    assert_eq!([&one["lines"], &one["words"]], [&Value::from(21), &Value::from(105)]);
    let written: Value =
        serde_json::from_slice(&fs::read(out.join("result.json")).unwrap()).unwrap();
    assert_eq!(written, summary);

    // The same again: nothing is added.
    let (_, again) = run(&out, &files);
    assert_eq!(again, summary);
}

#[test]
fn without_files_the_documents_of_the_repository_are_processed() {
    let dir = tempfile::tempdir().unwrap();
    let (output, summary) = run(dir.path(), &[]);
    assert!(output.status.success());
    assert!(summary["files"].as_u64().unwrap() >= 5, "{summary}");
    assert!(dir.path().join("artifacts/README.md/README.md.gz").exists());
}

#[test]
fn a_file_that_cannot_be_processed_ends_discarded_with_its_errors() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = make_files(&dir.path().join("in"), 2);
    files.push(dir.path().join("in/missing.txt"));
    let (output, summary) = run(&dir.path().join("out"), &files);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!([&summary["completed"], &summary["discarded"]], [&Value::from(2), &Value::from(1)]);
    let failed = &summary["failures"][0];
    assert_eq!(failed["attempts"], 3);
    let errors = failed["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 3);
    assert!(errors[0].as_str().unwrap().contains("missing.txt"), "{errors:?}");
}

#[test]
fn two_files_of_one_name_do_not_share_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = make_files(&dir.path().join("a"), 1);
    files.extend(make_files(&dir.path().join("b"), 1));
    let out = dir.path().join("out");
    assert_eq!(run(&out, &files).1["completed"], 2);
    let more = make_files(&dir.path().join("c"), 1);
    assert_eq!(run(&out, &more).1["completed"], 3);
    let folders: Vec<String> = artifacts(&out).into_keys().collect();
    assert_eq!(folders, ["file-000.txt", "file-000.txt~2", "file-000.txt~3"]);
}

#[test]
fn killed_in_mid_run_and_started_again_it_finishes_the_rest_and_doubles_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let files = make_files(&dir.path().join("in"), 150);
    let out = dir.path().join("out");
    // Kill it twice, each time when some more artifacts are there but not all.
    for at_least in [10, 60] {
        let mut child = program()
            .arg("--dir")
            .arg(&out)
            .args(["--json", "--concurrency", "2"])
            .args(&files)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let give_up = Instant::now() + Duration::from_secs(60);
        let done = || fs::read_dir(out.join("artifacts")).map_or(0, Iterator::count);
        while done() < at_least {
            assert!(Instant::now() < give_up, "no progress: {} artifacts", done());
            assert!(child.try_wait().unwrap().is_none(), "it ended before it was killed");
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
        assert!(done() < files.len(), "it was killed too late to show anything");
        assert!(!out.join("result.json").exists());
    }
    let (output, summary) = run(&out, &files);
    assert!(output.status.success(), "{summary}");
    assert_eq!([&summary["files"], &summary["completed"]], [&Value::from(150), &Value::from(150)]);
    assert_each_exactly_once(&out, &files);
    assert!(!out.join("work").exists(), "work folders were left");
}

#[test]
fn asked_to_stop_it_gives_its_jobs_back_and_goes_on_later() {
    let dir = tempfile::tempdir().unwrap();
    let files = make_files(&dir.path().join("in"), 150);
    let out = dir.path().join("out");
    let mut child = program();
    child.arg("--dir").arg(&out).args(["--json", "--concurrency", "1"]).args(&files);
    let child = child.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let give_up = Instant::now() + Duration::from_secs(60);
    while fs::read_dir(out.join("artifacts")).map_or(0, Iterator::count) < 5 {
        assert!(Instant::now() < give_up, "no progress");
        std::thread::sleep(Duration::from_millis(1));
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("interrupted"), "{error}");
    let (output, summary) = run(&out, &files);
    assert!(output.status.success(), "{summary}");
    assert_each_exactly_once(&out, &files);
}

#[cfg(unix)]
#[test]
fn odd_names_of_files_and_folders_work() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().unwrap();
    for (n, odd) in ["a?b=c", "p%20q", "#%zz", "with space", "é"].into_iter().enumerate() {
        let folder = dir.path().join(odd);
        let mut files = make_files(&folder, 1);
        let long = folder.join("n".repeat(254));
        let not_utf8 = folder.join(std::ffi::OsStr::from_bytes(b"\xff\xfe.txt"));
        for file in [long, not_utf8] {
            fs::write(&file, format!("content {n}")).unwrap();
            files.push(file);
        }
        let (output, summary) = run(&folder.join("out"), &files);
        assert!(output.status.success(), "{odd}: {summary}");
        assert_eq!(summary["completed"], 3, "{odd}: {summary}");
    }
}

#[test]
fn bad_input_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a-file");
    fs::write(&file, "x").unwrap();
    let fails_with = |args: &[&str], text: &str| {
        let output = program().args(args).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(text), "{error}");
    };
    fails_with(&["--dir", file.join("below").to_str().unwrap()], "a-file");
    fails_with(&["--dir", dir.path().to_str().unwrap(), "--database", "nonsense:x"], "nonsense");
    fails_with(&["--concurrency", "0"], "concurrency");
    let database = dir.path().join("jobs.db");
    fs::write(&database, "this is not a database, it only has its name".repeat(100)).unwrap();
    fails_with(&["--dir", dir.path().to_str().unwrap()], "jobs.db");
}
