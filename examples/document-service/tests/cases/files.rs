//! What is uploaded, and what becomes of it.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;
use reqwest::Body;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use crate::support::{Place, User, file, form, http, job_id, until};

async fn send(user: &User, form: Form) -> (u16, Value) {
    let answer = user.post("/jobs/upload").multipart(form).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

pub async fn requests_that_fail_leave_no_files(place: Place) {
    let service = place.start(&["api", "--max-file", "100000"]);
    let user = service.admin().await;
    let large = vec![b'x'; 100_001];
    let one = || Form::new().part("content_key", file("a", "content"));
    let cases = [
        (422, one()),
        (422, Form::new().part("context_key", file("a", "context"))),
        (422, Form::new().text("other", "text")),
        (422, one().part("content_key", file("b", "content"))),
        (413, one().part("context_key", file("b", large.clone()))),
        (
            413,
            Form::new().part("content_key", file("b", large)).part("context_key", file("c", "x")),
        ),
    ];
    for (expected, form) in cases {
        let (status, body) = send(&user, form).await;
        assert_eq!(status, expected, "{body}");
        assert!(body["detail"].is_string(), "{body}");
    }
    let bodies = [
        ("multipart/form-data; boundary=x", "--x\r\nnonsense"),
        ("multipart/form-data; boundary=x", ""),
        ("multipart/form-data", "--x\r\n"),
        ("application/json", "{}"),
    ];
    for (content_type, body) in bodies {
        let post = user.post("/jobs/upload").header("content-type", content_type);
        assert_eq!(post.body(body).send().await.unwrap().status(), 422, "{content_type} {body}");
    }
    for key in ["", &"x".repeat(256)] {
        let post = user.post("/jobs/upload").header("idempotency-key", key);
        assert_eq!(post.multipart(form("a", "b")).send().await.unwrap().status(), 422);
    }
    // A client that goes away in the middle of the second file.
    let broken = stream::iter([Ok("context"), Err(std::io::Error::other("gone"))]);
    let broken = Part::stream(Body::wrap_stream(broken)).file_name("b");
    let sent = user.post("/jobs/upload").multipart(one().part("context_key", broken)).send().await;
    assert!(sent.is_err());
    // More than everything that may come.
    let endless = stream::repeat_with(|| Ok::<_, std::io::Error>(vec![0; 64 << 10]));
    let endless = Form::new().part("other", Part::stream(Body::wrap_stream(endless)));
    match user.post("/jobs/upload").multipart(endless).send().await {
        Ok(answer) => assert_eq!(answer.status(), 413),
        // Still sending, it may not see the answer.
        Err(error) => assert!(error.is_request() || error.is_body(), "{error:?}"),
    }

    // What never becomes a part is refused before much of it has come, however large files may be.
    let service = place.start(&["api", "--max-file", "1000000000"]);
    let user = service.admin().await;
    for start in ["", "--x\r\ncontent-disposition: form-data; name=\"content_key\"\r\nx: "] {
        let sent = Arc::new(AtomicUsize::new(0));
        let counter = sent.clone();
        let rest = stream::repeat_with(move || {
            counter.fetch_add(64 << 10, Ordering::Relaxed);
            Ok::<_, std::io::Error>(vec![b'x'; 64 << 10])
        });
        let body = stream::iter([Ok(start.as_bytes().to_vec())]).chain(rest.take(1_600));
        let post =
            user.post("/jobs/upload").header("content-type", "multipart/form-data; boundary=x");
        match post.body(Body::wrap_stream(body)).send().await {
            Ok(answer) => assert_eq!(answer.status(), 413),
            Err(error) => assert!(error.is_request() || error.is_body(), "{error:?}"),
        }
        let sent = sent.load(Ordering::Relaxed);
        assert!(sent < 32 << 20, "{sent} bytes were taken");
    }
    let long = one().part(
        "context_key",
        file("b", "context").mime_str(&format!("a/{}", "b".repeat(300))).unwrap(),
    );
    assert_eq!(send(&user, long).await.0, 422);

    place.until_blobs(0).await;
    assert_eq!(user.json("/jobs").await["items"], json!([]));
}

pub async fn an_idempotency_key_gives_one_job(place: Place) {
    let service = place.start(&["api"]);
    let user = service.admin().await;
    let send = |key: &str, content: &str| {
        let post = user.post("/jobs/upload").header("idempotency-key", key);
        post.multipart(form(content, "context")).send()
    };
    let at_once = join_all((0..8).map(|_| send("key", "content"))).await;
    let mut ids = Vec::new();
    for answer in at_once {
        ids.push(job_id(answer.unwrap()).await);
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    let again = send("key", "content").await.unwrap();
    assert_eq!(again.headers()["idempotency-replayed"], "true");
    assert_eq!(job_id(again).await, ids[0]);
    assert_eq!(send("key", "other content").await.unwrap().status(), 422);
    assert_ne!(job_id(send("another key", "content").await.unwrap()).await, ids[0]);
    until("both are listed", async || {
        let listed = user.json("/jobs").await;
        (listed["items"].as_array().unwrap().len() == 2).then_some(())
    })
    .await;
    place.until_blobs(4).await;

    // Keys of different users never meet.
    let password = place.add_user("other@example.org");
    let other = service.sign_in("other@example.org", &password).await;
    let post = other.post("/jobs/upload").header("idempotency-key", "key");
    let id = job_id(post.multipart(form("content", "context")).send().await.unwrap()).await;
    assert_ne!(id, ids[0]);
}

pub async fn strange_files_are_taken_as_they_are(place: Place) {
    let mut service = place.start(&[]);
    let user = service.admin().await;
    let binary: Vec<u8> =
        (0..200_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let long_line = "word".repeat(500_000);
    let cases: [(&str, &str, Vec<u8>); 9] = [
        ("../../etc/passwd", "passwd", b"root".to_vec()),
        ("..\\..\\windows\\win.ini", "win.ini", b"ini".to_vec()),
        ("/", "unnamed", b"slash".to_vec()),
        ("..", "unnamed", b"dots".to_vec()),
        (
            "<img src=x onerror=alert(1)>.txt",
            "<img src=x onerror=alert(1)>.txt",
            b"markup".to_vec(),
        ),
        ("empty.txt", "empty.txt", Vec::new()),
        ("picture.txt", "picture.txt", binary),
        ("not-utf-8.txt", "not-utf-8.txt", b"caf\xe9 \xff\xfe".to_vec()),
        ("long.txt", "long.txt", long_line.into_bytes()),
    ];
    for (name, shown, content) in cases {
        let files = Form::new()
            .part("content_key", file(name, content.clone()))
            .part("context_key", file(name, content.clone()));
        let (status, body) = send(&user, files).await;
        assert_eq!(status, 201, "{name}: {body}");
        let job = user.until(body["job_id"].as_str().unwrap(), "COMPLETED").await;
        assert_eq!(job["payload"]["content_name"], shown);
        assert_eq!(job["result_content"]["content"]["bytes"], content.len());
        let key = job["payload"]["content_key"].as_str().unwrap();
        assert_eq!(fs::read(place.files().join(key)).unwrap(), content, "{name}");
        assert_eq!(job["result_content"]["content"]["binary"], name == "picture.txt");
    }
    // A file of many parts.
    let large = vec![b'a'; 30 << 20];
    let files =
        Form::new().part("content_key", file("large", large)).part("context_key", file("b", "b"));
    let (status, body) = send(&user, files).await;
    assert_eq!(status, 201, "{body}");
    let job = user.until(body["job_id"].as_str().unwrap(), "COMPLETED").await;
    assert_eq!(job["result_content"]["content"]["bytes"], 30 << 20);
    assert!(service.is_running());
}

pub async fn health_tells_what_is_down(mut place: Place) {
    let service = place.start(&["api"]);
    let health = format!("{}/api/v1/health", service.url);
    let answer = http().get(&health).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let up = json!({"status": "ok", "database": "ok", "jobs": "ok", "storage": "ok"});
    assert_eq!(answer.json::<Value>().await.unwrap(), up);
    match place.s3.take() {
        Some(server) => drop(server),
        None => fs::remove_dir_all(place.files()).unwrap(),
    }
    let answer = until("the storage is missed", async || {
        let answer = http().get(&health).send().await.unwrap();
        (answer.status() == 503).then_some(answer)
    })
    .await;
    let body: Value = answer.json().await.unwrap();
    assert_eq!([&body["status"], &body["storage"], &body["database"]], ["down", "down", "ok"]);
}
