//! Requests that come at a bad time or in a bad shape, and where results are had from.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::expect_used, unreachable_pub, reason = "modules of a test")]

mod support;

use std::sync::Arc;

use reqwest::redirect::Policy;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::postgres::PgPool;
use support::{Place, Service, User, builder, http, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use windlass::postgres::{PostgresBackend, PostgresOptions};
use windlass::storage::ObjectStorage;
use windlass::{Blob, Client, Context, Job, Outcome, Worker};
use windlass_test_servers::PostgresServer;

/// Sends all of a request before it reads anything of the answer.
async fn exchange(service: &Service, head: &str, body: &[u8]) -> String {
    let address = service.url.strip_prefix("http://").unwrap();
    let mut socket = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /api/v1/jobs/upload HTTP/1.1\r\nhost: {address}\r\ncontent-type: multipart/form-data; boundary=x\r\n{head}\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(body).await.unwrap();
    let mut answer = String::new();
    until("an answer has come", async || {
        let mut bytes = [0; 1024];
        let read = socket.read(&mut bytes).await.unwrap();
        answer.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        (read == 0 || answer.ends_with('}')).then_some(())
    })
    .await;
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_everything_before_reading_still_reads_the_answer() {
    let place = Place::local().await;
    let service = place.start(&["api", "--max-file", "1000000"]);
    let token = service.admin().await.token;
    // More than any socket takes in without a reader.
    let large = vec![b'x'; 15 << 20];
    let part =
        b"--x\r\ncontent-disposition: form-data; name=\"content_key\"; filename=\"a\"\r\n\r\n";
    let body = [&part[..], &large, b"\r\n--x--\r\n"].concat();
    for (token, status) in [(&*token, "413"), ("wrong", "401")] {
        let head = format!("authorization: Bearer {token}\r\ncontent-length: {}\r\n", body.len());
        let answer = exchange(&service, &head, &body).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(answer.contains("\"detail\""), "{answer}");
    }
    // One that waits to be asked for its body is not asked for it in vain.
    let waits = "authorization: Bearer wrong\r\nexpect: 100-continue\r\ncontent-length: 1000\r\n";
    let answer = exchange(&service, waits, b"").await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    place.until_blobs(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_what_its_type_says() {
    let place = Place::local().await;
    let service = place.start(&["api"]);
    let user = service.admin().await;
    let id = user.upload("content", "context").await;
    for path in ["/jobs", "/jobs/x", &format!("/jobs/{id}"), "/events", "/health", "/nowhere"] {
        let answer = user.get(path).send().await.unwrap();
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff", "{path}");
    }
    for path in ["/jobs/upload", "/auth/token", "/health", &format!("/jobs/{id}/cancel")] {
        let answer = user.post(path).send().await.unwrap();
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff", "{path}");
    }
    let bare = http().get(format!("{}/jobs", user.base)).send().await.unwrap();
    assert_eq!(bare.headers()["x-content-type-options"], "nosniff");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_are_redirected_to_where_clients_reach_the_storage() {
    let place = Place::servers().await;
    let inside = place.s3.as_ref().unwrap().url();
    let outside = inside.replace("127.0.0.1", "localhost");
    let service = place.start(&[]);
    let id = service.admin().await.upload("content", "context").await;
    service.admin().await.until(&id, "COMPLETED").await;
    let cases: [(&[&str], u16, &str); 4] = [
        (&["api", "--public-storage", &outside], 307, "http://localhost:"),
        (&["api", "--public-storage", &outside, "--results", "stream"], 200, ""),
        (&["api", "--results", "redirect"], 307, "http://127.0.0.1:"),
        (&["api"], 200, ""),
    ];
    for (args, status, at) in cases {
        let service = place.start(args);
        let user = service.admin().await;
        let still = builder().redirect(Policy::none()).build().unwrap();
        let path = format!("/jobs/{id}/result");
        let answer = User { http: still, ..user.clone() }.get(&path).send().await.unwrap();
        assert_eq!(answer.status(), status, "{args:?}");
        if let Some(url) = answer.headers().get("location") {
            let url = url.to_str().unwrap();
            assert!(url.starts_with(at) && url.contains("X-Amz-Signature"), "{args:?}");
        }
        let result: Value = user.get(&path).send().await.unwrap().json().await.unwrap();
        assert_eq!(result, user.job(&id).await["result_content"], "{args:?}");
    }
}

/// The service's own job, as far as this worker looks at it.
#[derive(Job, Serialize, Deserialize)]
#[job(kind = "compare", queue = "documents", output = Blob)]
struct Compare(Value);

/// A worker that stops in the middle of a completion.
struct Halting {
    client: Client<PostgresBackend>,
    pool: PgPool,
    settled: Notify,
    commit: Notify,
}

async fn complete(_: Compare, cx: Context<Arc<Halting>>) -> Outcome<Blob> {
    let halting = cx.state();
    let blob = cx.client().put_blob("{}").await?;
    let mut tx = halting.pool.begin().await?;
    halting.client.complete_in(&mut tx, &cx, &blob).await?;
    halting.settled.notify_one();
    halting.commit.notified().await;
    tx.commit().await?;
    Ok(blob)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_completes_meanwhile_is_neither_retried_nor_cancelled() {
    let mut place = Place::local().await;
    let server = PostgresServer::shared().await.unwrap();
    let url = server.url(&server.create_database().await.unwrap());
    place.database = Some(url.clone());
    let service = place.start(&["api"]);
    let user = service.admin().await;
    let backend = PostgresBackend::open(PostgresOptions::from_url(&url).unwrap()).await.unwrap();
    let storage = Arc::new(ObjectStorage::local(place.files()).await.unwrap());
    let client = Client::new(Arc::new(backend)).with_storage(storage);
    let pool = PgPool::connect(&url).await.unwrap();
    let (settled, commit) = (Notify::new(), Notify::new());
    let halting = Arc::new(Halting { client: client.clone(), pool: pool.clone(), settled, commit });
    let stop = CancellationToken::new();
    let worker = Worker::new(client.erase()).state(halting.clone()).register(complete);
    let worker = worker.queue("documents", 1).run_until(stop.clone().cancelled_owned());
    let worker = tokio::spawn(worker);
    for action in ["retry", "cancel"] {
        let id = user.upload("content", "context").await;
        halting.settled.notified().await;
        // The request sees a job that runs, and then has to wait for it.
        assert_eq!(user.job(&id).await["status"], "IN_PROGRESS");
        let post = user.post(&format!("/jobs/{id}/{action}"));
        let answer = tokio::spawn(post.send());
        until("the request waits", async || {
            let waiting = "SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock'";
            let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&pool).await.unwrap();
            (waiting > 0).then_some(())
        })
        .await;
        halting.commit.notify_one();
        assert_eq!(answer.await.unwrap().unwrap().status(), 409, "{action}");
        let job = user.until(&id, "COMPLETED").await;
        assert_eq!((&job["attempts"], &job["cancel_requested"]), (&1.into(), &false.into()));
        assert!(job["result_path"].is_string(), "{action}: {job}");
        assert_eq!(user.get(&format!("/jobs/{id}/result")).send().await.unwrap().status(), 200);
    }
    stop.cancel();
    worker.await.unwrap().unwrap();
}
