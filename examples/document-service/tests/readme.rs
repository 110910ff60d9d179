//! What the README says, done.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::expect_used, unreachable_pub, reason = "modules of a test")]

mod support;

use std::path::Path;
use std::process::Command;

use support::Place;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lines_with_curl_work_as_pasted() {
    let readme = include_str!("../README.md");
    let (_, lines) = readme.split_once("tests/readme.rs. -->\n```sh\n").unwrap();
    let (lines, _) = lines.split_once("```").unwrap();
    assert_eq!(lines.lines().count(), 10);
    let place = Place::local().await;
    let service = place.start(&[]);
    let lines = lines.replace("http://127.0.0.1:8080", &service.url);
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    // As pasted: each line after the other, in one shell; a line that fails ends it.
    let script = format!("set -e\n{lines}");
    let mut shell = Command::new("bash");
    let output = shell.args(["-c", &script]).current_dir(repository).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said} {}", String::from_utf8_lossy(&output.stderr));
    for part in [
        "\"result_content\":{",
        "\"similarity\":",
        "\"items\":[",
        "the job has ended",
        "only a job that failed",
        "\"storage\":\"ok\"",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
}
