//! The file pipeline on a server: the example program with another `--database` and nothing else changed.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The example program, which cargo builds together with this test.
fn program(dir: &Path, url: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().parent().unwrap().join("examples/file_pipeline");
    assert!(path.exists(), "{} is missing: cargo build --examples --all-features", path.display());
    let mut command = Command::new(path);
    command.arg("--dir").arg(dir).args(["--json", "--database", url]);
    command
}

/// Files of growing size with known content.
fn make_files(folder: &Path, count: usize) -> Vec<PathBuf> {
    fs::create_dir_all(folder).unwrap();
    let path = |n: usize| {
        let path = folder.join(format!("file-{n:03}.txt"));
        fs::write(&path, format!("line {n} of many words\n").repeat(1 + n * 20)).unwrap();
        path
    };
    (0..count).map(path).collect()
}

fn artifacts(dir: &Path) -> usize {
    fs::read_dir(dir.join("artifacts")).map_or(0, Iterator::count)
}

fn assert_each_exactly_once(dir: &Path, files: &[PathBuf]) {
    assert_eq!(artifacts(dir), files.len());
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let folder = dir.join("artifacts").join(name);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "{name}");
        let packed = fs::File::open(folder.join(format!("{name}.gz"))).unwrap();
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(packed).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, fs::read(file).unwrap(), "{name}");
    }
}

/// Killed in mid-run and started again, it finishes the rest and doubles nothing; what it says holds no password.
pub(crate) fn killed_twice_it_finishes(url: &str, password: &str) {
    let dir = tempfile::tempdir().unwrap();
    let files = make_files(&dir.path().join("in"), 150);
    let out = dir.path().join("out");
    // Kill it twice, each time when some more artifacts are there but not all.
    for at_least in [10, 60] {
        let mut program = program(&out, url);
        program.args(["--concurrency", "2"]).args(&files);
        let mut child = program.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let give_up = Instant::now() + Duration::from_secs(180);
        while artifacts(&out) < at_least {
            assert!(Instant::now() < give_up, "no progress: {} artifacts", artifacts(&out));
            assert!(child.try_wait().unwrap().is_none(), "it ended before it was killed");
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
        assert!(artifacts(&out) < files.len(), "it was killed too late to show anything");
        assert!(!out.join("result.json").exists());
    }
    let output = program(&out, url).args(&files).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    assert!(!error.contains(password), "F52");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!([&summary["files"], &summary["completed"]], [&Value::from(150), &Value::from(150)]);
    assert_each_exactly_once(&out, &files);
    assert!(!out.join("jobs.db").exists(), "the jobs were on the server");
    // The same again: nothing is added.
    let again = program(&out, url).args(&files).output().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&again.stdout).unwrap(), summary);
}
