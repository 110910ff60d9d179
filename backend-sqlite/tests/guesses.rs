//! Inserts that begin without a look guess what it would have shown. Whatever has changed by somebody else's hand, they notice.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{claim, completed, host, job, kind, open, place, queue, worker};
use sqlx::{AssertSqlSafe, Executor as _, SqliteConnection};
use tempfile::TempDir;
use windlass_core::{
    Backend as _, ClaimRequest, Error, Inserted, Kind, KindSlots, Lease, NewJob, Queue as _,
    QueueChange, QueueName, QueueSlots, Settled, State, Store as _,
};
use windlass_sqlite::SqliteBackend;

/// A backend whose next insert guesses, and a connection of somebody else.
async fn guessing() -> (TempDir, SqliteBackend, SqliteConnection) {
    let (folder, path) = place();
    let backend = open(&path).await;
    for _ in 0..3 {
        backend.insert(&[job()]).await.unwrap();
    }
    (folder, backend, host(&path).await)
}

async fn tick(conn: &mut SqliteConnection, column: &str) -> i64 {
    let query = AssertSqlSafe(format!("SELECT {column} FROM windlass_tick"));
    sqlx::query_scalar(query).fetch_one(conn).await.unwrap()
}

#[tokio::test]
async fn nothing_that_counts_up_steps_back() {
    for column in ["now", "seq", "turn", "config"] {
        let (_folder, backend, mut conn) = guessing().await;
        let query = format!("UPDATE windlass_tick SET {column} = {column} + 3600000000");
        conn.execute(AssertSqlSafe(query)).await.unwrap();
        let raised = tick(&mut conn, column).await;
        let answers = backend.insert(&[job()]).await.unwrap();
        assert!(matches!(answers[..], [Inserted::New(_)]));
        let now = tick(&mut conn, column).await;
        assert!(now >= raised, "{column} stepped back from {raised} to {now}");
    }
}

#[tokio::test]
async fn a_job_that_is_stored_is_a_duplicate() {
    let (_folder, backend, _conn) = guessing().await;
    let waiting = job();
    backend.insert(std::slice::from_ref(&waiting)).await.unwrap();
    let again = backend.insert(std::slice::from_ref(&waiting)).await.unwrap();
    assert_eq!(again, [Inserted::Duplicate { existing: waiting.id }]);

    let w = worker(&backend).await;
    let leases = claim(&backend, w, 10).await;
    let settlements: Vec<_> = leases.iter().map(completed).collect();
    backend.settle(&settlements).await.unwrap();
    for _ in 0..3 {
        backend.insert(&[job()]).await.unwrap();
    }
    let finished = backend.insert(std::slice::from_ref(&waiting)).await.unwrap();
    assert_eq!(finished, [Inserted::Duplicate { existing: waiting.id }]);
}

#[tokio::test]
async fn a_queue_that_is_full_takes_no_more() {
    let (_folder, backend, mut conn) = guessing().await;
    let query = "INSERT INTO windlass_queues (name, paused, max_depth) VALUES (?1, 0, 3)";
    sqlx::query(query).bind(queue().as_str()).execute(&mut conn).await.unwrap();
    let error = backend.insert(&[job()]).await.unwrap_err();
    assert!(matches!(error, Error::QueueFull { depth: 3, .. }), "{error}");
}

/// Calls at the same time share a guess, and all of them get their own answers from the look that follows a wrong one.
#[tokio::test]
async fn calls_that_guessed_together_are_all_answered() {
    let (_folder, backend, mut conn) = guessing().await;
    let stored = job();
    backend.insert(std::slice::from_ref(&stored)).await.unwrap();
    conn.execute("UPDATE windlass_tick SET seq = seq + 10").await.unwrap();
    let calls = (0..16).map(|n| {
        let (backend, job) = (backend.clone(), if n == 7 { stored.clone() } else { job() });
        async move { (n, job.id, backend.insert(&[job]).await.unwrap()) }
    });
    for (n, id, answers) in futures_util::future::join_all(calls).await {
        let expected = match n {
            7 => Inserted::Duplicate { existing: id },
            _ => Inserted::New(id),
        };
        assert_eq!(answers, [expected]);
    }
}

/// Completions of jobs that this process claimed are written without being read: as the claim saw them.
async fn running(count: u32) -> (TempDir, SqliteBackend, SqliteConnection, Vec<Lease>) {
    let (folder, backend, conn) = guessing().await;
    backend.insert(&(3..count).map(|_| job()).collect::<Vec<_>>()).await.unwrap();
    let w = worker(&backend).await;
    let leases = claim(&backend, w, count).await;
    (folder, backend, conn, leases)
}

#[tokio::test]
async fn f01_a_completion_notices_what_became_of_its_job() {
    for change in ["state = 2", "epoch = epoch + 1", "claim_id = randomblob(16)"] {
        let (_folder, backend, mut conn, leases) = running(4).await;
        let query = AssertSqlSafe(format!("UPDATE windlass_jobs SET {change} WHERE id = ?"));
        let query = sqlx::query(query).bind(leases[1].key.job.as_bytes().to_vec());
        query.execute(&mut conn).await.unwrap();
        let settlements: Vec<_> = leases.iter().map(completed).collect();
        let answers = backend.settle(&settlements).await.unwrap();
        let applied = Settled::Applied { state: State::Completed };
        assert_eq!(answers[1], Settled::Lost, "{change}");
        assert!([0, 2, 3].iter().all(|n| answers[*n] == applied), "{change}: {answers:?}");
        let again = backend.settle(&settlements).await.unwrap();
        assert_eq!(again[0], Settled::Already { state: State::Completed }, "{change}");
    }
}

#[tokio::test]
async fn f07_a_completion_passes_over_a_job_that_cannot_be_read() {
    for column in
        ["attempt", "max_attempts", "snoozes", "crashes", "changes", "notes", "kind", "queue"]
    {
        let (_folder, backend, mut conn, leases) = running(3).await;
        let value = if ["kind", "queue"].contains(&column) { "x'ff'" } else { "'x'" };
        let query = format!("UPDATE windlass_jobs SET {column} = {value} WHERE id = ?");
        let query = sqlx::query(AssertSqlSafe(query));
        let query = query.bind(leases[0].key.job.as_bytes().to_vec());
        query.execute(&mut conn).await.unwrap();
        let settlements: Vec<_> = leases.iter().map(completed).collect();
        let answers = backend.settle(&settlements).await.unwrap();
        let applied = Settled::Applied { state: State::Completed };
        assert_eq!(answers, [Settled::Lost, applied.clone(), applied], "{column}");
    }
}

#[tokio::test]
async fn a_completion_steps_back_behind_nothing_that_counts_up() {
    for column in ["now", "seq", "turn", "config"] {
        let (_folder, backend, mut conn, leases) = running(3).await;
        backend.settle(&[completed(&leases[0])]).await.unwrap();
        let query = format!("UPDATE windlass_tick SET {column} = {column} + 3600000000");
        conn.execute(AssertSqlSafe(query)).await.unwrap();
        let raised = tick(&mut conn, column).await;
        let answers = backend.settle(&[completed(&leases[1])]).await.unwrap();
        assert_eq!(answers, [Settled::Applied { state: State::Completed }]);
        let now = tick(&mut conn, column).await;
        assert!(now >= raised, "{column} stepped back from {raised} to {now}");
    }
}

/// The jobs of the last claim's only kind are picked in the same go as the look, and the look has the last word.
#[tokio::test]
async fn a_claim_takes_what_is_ready_now_whatever_was_ready_before() {
    let (_folder, backend, _conn, leases) = running(3).await;
    assert_eq!(leases.len(), 3);
    let w = worker(&backend).await;
    let other = || NewJob::new(Kind::new("other").unwrap(), queue(), job().args);
    let kinds = |limit| {
        let slots = |kind| KindSlots { kind, limit };
        vec![slots(kind()), slots(Kind::new("other").unwrap())]
    };
    let ask =
        |limit, kinds| ClaimRequest::new(w, vec![QueueSlots { queue: queue(), limit }], kinds);
    let (first, second, third) = (other(), job(), job());
    backend.insert(&[first.clone(), second.clone(), third.clone()]).await.unwrap();
    let taken = async |request: ClaimRequest| {
        let leases = backend.claim(&request).await.unwrap().leases;
        leases.into_iter().map(|lease| lease.key.job).collect::<Vec<_>>()
    };
    assert_eq!(taken(ask(2, kinds(None))).await, [first.id, second.id]);
    assert_eq!(taken(ask(2, kinds(Some(1)))).await, [third.id]);
    let mut change = QueueChange::default();
    change.paused = Some(true);
    backend.insert(&[job()]).await.unwrap();
    backend.configure_queue(&queue(), &change).await.unwrap();
    assert!(taken(ask(2, kinds(None))).await.is_empty(), "the queue is paused");
}

fn chain(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(chain).unwrap_or_default();
    format!("{error}: {cause}")
}

/// A job that stands twice in a batch is read in between, so that a wrong guess shows before the COMMIT.
#[tokio::test]
async fn a_guess_that_goes_wrong_before_the_commit_is_run_again() {
    let (_folder, backend, mut conn, leases) = running(3).await;
    conn.execute("UPDATE windlass_tick SET seq = seq + 10").await.unwrap();
    let twice = [completed(&leases[0]), completed(&leases[0])];
    let state = State::Completed;
    let expected = [Settled::Applied { state }, Settled::Already { state }];
    assert_eq!(backend.settle(&twice).await.unwrap(), expected);
}

#[tokio::test]
async fn the_error_of_a_wrong_guess_is_nobodys_answer() {
    let (_folder, backend, mut conn, leases) = running(3).await;
    let now = tick(&mut conn, "now").await;
    conn.execute("UPDATE windlass_tick SET now = 'x'").await.unwrap();
    let twice = [completed(&leases[0]), completed(&leases[0])];
    // The guess fails, and then the run that reads does not get to begin.
    let error = chain(&backend.settle(&twice).await.unwrap_err());
    assert!(!error.contains("guessed wrong"), "{error}");
    let query = sqlx::query("UPDATE windlass_tick SET now = ?").bind(now);
    query.execute(&mut conn).await.unwrap();
    assert!(matches!(backend.settle(&twice).await.unwrap()[0], Settled::Applied { .. }));
}

/// A settlement that does not guess the tick is written as remembered all the same, and read when that fails.
#[tokio::test]
async fn f01_a_completion_that_guesses_nothing_notices_what_became_of_its_job() {
    let (_folder, backend, mut conn, leases) = running(3).await;
    conn.execute("UPDATE windlass_tick SET seq = seq + 10").await.unwrap();
    backend.ping().await.unwrap();
    conn.execute("UPDATE windlass_jobs SET epoch = epoch + 1").await.unwrap();
    assert_eq!(backend.settle(&[completed(&leases[0])]).await.unwrap(), [Settled::Lost]);
}

/// Two queues, and a backend whose last claim found one kind ready in the second of them alone.
async fn ready_in_the_second() -> (TempDir, SqliteBackend, [QueueName; 2]) {
    let (folder, path) = place();
    let backend = open(&path).await;
    let queues = ["a", "b"].map(|name| QueueName::new(name).unwrap());
    backend.insert(&[of(&queues[1])]).await.unwrap();
    assert_eq!(claim_from(&backend, &queues, None).await, [queues[1].clone()]);
    (folder, backend, queues)
}

fn of(queue: &QueueName) -> NewJob {
    NewJob::new(kind(), queue.clone(), job().args)
}

/// From which queues a claim takes its jobs.
async fn claim_from(
    backend: &SqliteBackend,
    queues: &[QueueName],
    limit: Option<u32>,
) -> Vec<QueueName> {
    let w = worker(backend).await;
    let slots = queues.iter().map(|queue| QueueSlots { queue: queue.clone(), limit: 5 });
    let request = ClaimRequest::new(w, slots.collect(), vec![KindSlots { kind: kind(), limit }]);
    let leases = backend.claim(&request).await.unwrap().leases;
    leases.into_iter().map(|lease| lease.queue).collect()
}

#[tokio::test]
async fn f17_a_claim_that_guesses_takes_no_more_than_its_kind_has_room_for() {
    let (_folder, backend, [a, b]) = ready_in_the_second().await;
    backend.insert(&[of(&a), of(&b), of(&b)]).await.unwrap();
    assert_eq!(claim_from(&backend, &[a.clone(), b.clone()], Some(2)).await, [a, b]);
}

#[tokio::test]
async fn a_claim_that_guesses_takes_from_the_queue_where_jobs_are() {
    let (_folder, backend, [a, b]) = ready_in_the_second().await;
    backend.insert(&[of(&a)]).await.unwrap();
    assert_eq!(claim_from(&backend, &[a.clone(), b], None).await, [a]);
}
