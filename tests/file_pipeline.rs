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
    let found = artifacts(&out);
    assert_eq!(
        found.keys().collect::<Vec<_>>(),
        ["file-000.txt", "file-000.txt~2", "file-000.txt~3"]
    );
    for (folder, names) in found {
        assert_eq!(names, ["file-000.txt.gz", "stats.json"], "in {folder}");
    }
}

#[test]
fn one_file_by_two_paths_is_one_job() {
    let dir = tempfile::tempdir().unwrap();
    let files = make_files(&dir.path().join("in"), 1);
    fs::create_dir(dir.path().join("in/sub")).unwrap();
    let around = dir.path().join("in/sub/../file-000.txt");
    let (_, summary) = run(&dir.path().join("out"), &[files[0].clone(), around]);
    assert_eq!(summary["files"], 1);
}

#[test]
fn going_on_without_files_adds_none() {
    let dir = tempfile::tempdir().unwrap();
    let files = make_files(&dir.path().join("in"), 3);
    let out = dir.path().join("out");
    let (_, first) = run(&out, &files);
    let (output, again) = run(&out, &[]);
    assert!(output.status.success());
    assert_eq!(again, first);
}

#[test]
fn a_second_one_on_the_same_folder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let files = make_files(&dir.path().join("in"), 1);
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    let lock = fs::File::create(out.join("lock")).unwrap();
    lock.lock().unwrap();
    let output = program().arg("--dir").arg(&out).args(&files).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("another file_pipeline works in `"), "{error}");
    drop(lock);
    assert!(run(&out, &files).0.status.success());
}

#[test]
fn what_is_in_the_way_is_kept_and_once_moved_the_file_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let files = make_files(&dir.path().join("in"), 1);
    let out = dir.path().join("out");
    let obstacle = out.join("artifacts/file-000.txt");
    fs::create_dir_all(&obstacle).unwrap();
    fs::write(obstacle.join("precious"), "not yours").unwrap();
    let (output, summary) = run(&out, &files);
    assert_eq!(output.status.code(), Some(1));
    let errors = summary["failures"][0]["errors"].to_string();
    assert!(errors.contains("artifacts/file-000.txt"), "{errors}");
    assert_eq!(fs::read_to_string(obstacle.join("precious")).unwrap(), "not yours");

    fs::rename(&obstacle, dir.path().join("moved")).unwrap();
    // The folder alone takes nothing up that was given up.
    assert_eq!(run(&out, &[]).0.status.code(), Some(1));
    let (output, summary) = run(&out, &files);
    assert!(output.status.success(), "{summary}");
    assert_eq!([&summary["files"], &summary["completed"]], [&Value::from(1), &Value::from(1)]);
    assert_each_exactly_once(&out, &files);
}

#[test]
fn a_file_that_was_missing_is_processed_once_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let files = [make_files(&dir.path().join("in"), 1).remove(0), dir.path().join("in/late.txt")];
    let out = dir.path().join("out");
    let output = program().arg("--dir").arg(&out).args(&files).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("not processed: "), "{text}");
    assert!(text.contains("name it again with `--dir "), "{text}");

    fs::write(&files[1], "better late than never").unwrap();
    for _ in 0..2 {
        let (output, summary) = run(&out, &files);
        assert!(output.status.success(), "{summary}");
        assert_eq!([&summary["files"], &summary["completed"]], [&Value::from(2), &Value::from(2)]);
    }
    assert_each_exactly_once(&out, &files);

    // Missing again for a while, it leaves nothing behind either.
    fs::rename(&files[1], dir.path().join("away")).unwrap();
    run(&out, &files);
    fs::rename(dir.path().join("away"), &files[1]).unwrap();
    let (output, summary) = run(&out, &files);
    assert!(output.status.success(), "{summary}");
    assert_eq!(summary["files"], 2);
}

#[test]
fn a_file_that_was_there_before_it_was_missing_is_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let files = make_files(&dir.path().join("in"), 1);
    let out = dir.path().join("out");
    run(&out, &files);
    let away = dir.path().join("away");
    fs::rename(&files[0], &away).unwrap();
    let (output, summary) = run(&out, &files);
    assert_eq!(output.status.code(), Some(1), "{summary}");
    fs::rename(&away, &files[0]).unwrap();
    let (output, summary) = run(&out, &files);
    assert!(output.status.success(), "{summary}");
    assert_eq!(summary["files"], 1, "{summary}");
    assert_each_exactly_once(&out, &files);
}

#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_discarded_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (output, summary) = run(&dir.path().join("out"), &[pipe, "/dev/zero".into()]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(summary["discarded"], 2);
    let failed = &summary["failures"][1];
    assert_eq!(failed["attempts"], 1);
    let error = failed["errors"][0].as_str().unwrap();
    assert!(error.contains("pipe` is not a regular file"), "{error}");
}

#[cfg(unix)]
#[test]
fn control_characters_of_names_do_not_reach_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("a\u{1b}[2Jb\u{9b}c");
    let out = dir.path().join("out\u{1b}x");
    let output = program().arg("--dir").arg(out).arg(missing).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains(r"a\u{1b}[2Jb\u{9b}c"), "{text}");
    assert!(!text.contains(['\u{1b}', '\u{9b}']), "{text:?}");
}

#[test]
fn a_reader_that_goes_away_ends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let files = make_files(&dir.path().join("in"), 2);
    let out = dir.path().join("out");
    let mut child = program();
    child.arg("--dir").arg(&out).args(&files).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(out.join("result.json").exists());
}

#[test]
fn as_json_the_folder_is_told_at_once_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let (output, _) = run(dir.path(), &make_files(&dir.path().join("in"), 1));
    let beside = String::from_utf8_lossy(&output.stderr);
    assert!(beside.starts_with("folder: "), "{beside}");
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
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let give_up = Instant::now() + Duration::from_secs(180);
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
    let give_up = Instant::now() + Duration::from_secs(180);
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
    let folder = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    for (name, blocked) in [("one", "artifacts"), ("two", "lock")] {
        let in_the_way = dir.path().join(name).join(blocked);
        fs::create_dir(dir.path().join(name)).unwrap();
        match blocked {
            "lock" => fs::create_dir(in_the_way).unwrap(),
            _ => fs::write(in_the_way, "").unwrap(),
        }
        fails_with(&["--dir", &folder(name)], &format!("{name}/{blocked}`: "));
    }
    let database = dir.path().join("jobs.db");
    fs::write(&database, "this is not a database, it only has its name".repeat(100)).unwrap();
    fails_with(&["--dir", dir.path().to_str().unwrap()], "jobs.db");
}
