//! Several processes on one file: nobody sees "database is locked", nothing runs twice, and what a killed process leaves
//! behind is whole. The children are this very test program, started again for one ignored test.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::collections::HashSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{claim, completed, host, job, open, place, queue, request, worker};
use windlass_core::{
    Backend, JobFilter, Queue, Retention, Selector, Settled, State, StatsQuery, Store, Wake,
};

fn spawn(task: &str, path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .env("WINDLASS_TEST_TASK", task)
        .env("WINDLASS_TEST_PATH", path)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test]
#[ignore = "the body of the child processes"]
async fn child() {
    let task = std::env::var("WINDLASS_TEST_TASK").unwrap();
    let path = std::env::var("WINDLASS_TEST_PATH").unwrap();
    let path = Path::new(&path);
    match task.as_str() {
        "hammer" => hammer(path, 40).await,
        "forever" => hammer(path, usize::MAX).await,
        "fill" => fill(path).await,
        "insert" => {
            open(path).await.insert(&[job()]).await.unwrap();
        }
        other => panic!("unknown task {other}"),
    }
}

/// Inserts, claims and settles; every error is a failure.
async fn hammer(path: &Path, rounds: usize) {
    let backend = open(path).await;
    let w = worker(&backend).await;
    for _ in 0..rounds {
        backend.insert(&[job(), job(), job(), job(), job()]).await.unwrap();
        for lease in claim(&backend, w, 5).await {
            let answer = backend.settle(&[completed(&lease)]).await.unwrap();
            assert_eq!(answer, [Settled::Applied { state: State::Completed }]);
        }
    }
}

/// Four processes write as fast as they can.
#[tokio::test]
async fn f43_processes_hammer_one_file_without_an_error() {
    let (_folder, path) = place();
    open(&path).await.close().await.unwrap();
    let children: Vec<Child> = (0..4).map(|_| spawn("hammer", &path)).collect();
    for mut child in children {
        let status = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
        assert!(status.success(), "{status}");
    }
    let backend = open(&path).await;
    let w = worker(&backend).await;
    let left: Vec<_> = claim(&backend, w, 10_000).await.iter().map(completed).collect();
    backend.settle(&left).await.unwrap();
    let stats = backend.stats(&StatsQuery::default()).await.unwrap();
    assert_eq!(stats.in_state(State::Completed), 4 * 40 * 5);
    // Once each: a job that ran twice has two claims in its history.
    let attempts: i64 = sqlx::query_scalar("SELECT max(epoch) FROM windlass_finished")
        .fetch_one(&mut host(&path).await)
        .await
        .unwrap();
    assert_eq!(attempts, 1);
}

/// A process that waits is woken by the commit of another.
#[tokio::test]
async fn another_process_wakes_a_waiter() {
    let (_folder, path) = place();
    let backend = open(&path).await;
    let w = worker(&backend).await;
    assert!(claim(&backend, w, 1).await.is_empty());
    let waiter = {
        let backend = backend.clone();
        tokio::spawn(async move { backend.wait(&[queue()], Duration::from_secs(60)).await })
    };
    let mut other = spawn("insert", &path);
    assert_eq!(waiter.await.unwrap().unwrap(), Wake::Hint);
    assert!(tokio::task::spawn_blocking(move || other.wait()).await.unwrap().unwrap().success());
    assert_eq!(claim(&backend, w, 1).await.len(), 1);
}

/// A process that is killed among its commits leaves a whole database: every job is in one place, the counts are
/// right, and all of it can be finished by others.
#[tokio::test]
async fn a_process_killed_among_commits_leaves_everything_whole() {
    let (_folder, path) = place();
    let backend = open(&path).await;
    let mut known = 0;
    for _ in 0..4 {
        let mut writer = spawn("forever", &path);
        // Wait for its work to show, then kill it in the middle.
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        loop {
            let stats = backend.stats(&StatsQuery::default()).await.unwrap();
            let jobs: u64 = stats.counts.iter().map(|count| count.jobs).sum();
            if jobs > known + 100 {
                known = jobs;
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "the child does nothing");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        writer.kill().unwrap();
        tokio::task::spawn_blocking(move || writer.wait().unwrap()).await.unwrap();
    }
    let mut conn = host(&path).await;
    let check: String =
        sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut conn).await.unwrap();
    assert_eq!(check, "ok");
    let wrong: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM (
             SELECT queue, kind, state, count(*) AS n FROM windlass_records GROUP BY 1, 2, 3
         ) AS r FULL JOIN (SELECT * FROM windlass_counts WHERE jobs > 0) AS c USING (queue, kind, state)
         WHERE r.n IS NOT c.jobs",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    assert_eq!(wrong, 0, "counts differ from the rows");
    let twice: i64 =
        sqlx::query_scalar("SELECT count(*) FROM windlass_jobs JOIN windlass_finished USING (id)")
            .fetch_one(&mut conn)
            .await
            .unwrap();
    assert_eq!(twice, 0, "a job is in two places");
    finish_all(&backend).await;
}

/// Rescues what the killed processes held, runs everything, and prunes it.
async fn finish_all(backend: &windlass_sqlite::SqliteBackend) {
    backend.advance_clock(common::HOUR * 2);
    while backend.maintain(1_000).await.unwrap().more {}
    let w = worker(backend).await;
    let mut seen = HashSet::new();
    loop {
        let leases = backend.claim(&request(w, 500)).await.unwrap().leases;
        if leases.is_empty() {
            break;
        }
        assert!(leases.iter().all(|lease| seen.insert(lease.key.job)), "claimed twice");
        let outcomes: Vec<_> = leases.iter().map(completed).collect();
        backend.settle(&outcomes).await.unwrap();
    }
    let stats = backend.stats(&StatsQuery::default()).await.unwrap();
    assert!(stats.counts.iter().all(|count| count.state == State::Completed), "{stats:?}");
    let mut keep = Retention::keep_all();
    keep.completed = Some(Duration::ZERO);
    while backend.prune(&keep, 1_000).await.unwrap().more {}
    let rest = Selector::Filter(JobFilter::default());
    let all = windlass_core::ChangeRequest::new(rest, windlass_core::Change::Delete);
    let deleted = backend.change(&all).await.unwrap();
    assert_eq!(deleted.count, 0);
}

/// A disk that takes no more (here: a file size limit on the process): an error that says so, the process lives on,
/// what was answered stays, and with room again everything goes on.
#[cfg(unix)]
#[tokio::test]
async fn a_full_disk_is_a_transient_error_and_nothing_is_lost() {
    let (_folder, path) = place();
    open(&path).await.close().await.unwrap();
    let program = std::env::current_exe().unwrap();
    // The signal is ignored, so that a write above the limit fails instead of ending the process.
    let script = "trap '' XFSZ; ulimit -f 3000; exec \"$0\" --exact child --ignored --nocapture";
    let mut filler = Command::new("sh")
        .args(["-c", script])
        .arg(program)
        .env("WINDLASS_TEST_TASK", "fill")
        .env("WINDLASS_TEST_PATH", &path)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let status = tokio::task::spawn_blocking(move || filler.wait().unwrap()).await.unwrap();
    assert!(status.success(), "{status}");
    let mut conn = host(&path).await;
    let check: String =
        sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut conn).await.unwrap();
    assert_eq!(check, "ok");
    let answered: u64 =
        std::fs::read_to_string(path.with_extension("answered")).unwrap().parse().unwrap();
    let backend = open(&path).await;
    let kept = backend.stats(&StatsQuery::default()).await.unwrap().in_state(State::Available);
    assert!(answered > 0 && kept >= answered, "{answered} inserts were answered, {kept} are there");
    backend.insert(&[job()]).await.unwrap();
}

/// Inserts until the disk is full, and shows that reading goes on.
async fn fill(path: &Path) {
    let backend = open(path).await;
    let mut answered = 0;
    let error = loop {
        let batch: Vec<_> = (0..50).map(|_| job()).collect();
        match backend.insert(&batch).await {
            Ok(_) => answered += 50,
            Err(error) => break error,
        }
        assert!(answered < 1_000_000, "the limit has no effect");
    };
    assert!(error.is_transient(), "{error:?}");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("disk"), "{cause}");
    backend.stats(&StatsQuery::default()).await.unwrap();
    std::fs::write(path.with_extension("answered"), answered.to_string()).unwrap();
}
