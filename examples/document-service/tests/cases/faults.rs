//! What breaks, and what must not break with it.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use reqwest::Body;
use reqwest::multipart::{Form, Part};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use windlass::{Context, Draft, Job, JobFilter, JobId, Outcome, Worker};

use crate::support::{Place, file, form, job_id, until};

pub async fn a_commit_that_fails_leaves_nothing(place: Place) {
    let mut service = place.start(&["api"]);
    service.forgiven = true;
    let user = service.admin().await;
    // Only the commit finds out.
    place
        .execute(
            "CREATE TABLE absent (id INTEGER PRIMARY KEY);
            CREATE TABLE refusals (id INTEGER REFERENCES absent (id) DEFERRABLE INITIALLY DEFERRED);
            CREATE TRIGGER refuse AFTER INSERT ON documents BEGIN INSERT INTO refusals VALUES (1); END",
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$;
            CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON documents DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION refuse()",
        )
        .await;
    let send = || {
        let post = user.post("/jobs/upload").header("idempotency-key", "key");
        post.multipart(form("content", "context")).send()
    };
    let answer = send().await.unwrap();
    assert_eq!(answer.status(), 500);
    assert_eq!(answer.json::<Value>().await.unwrap(), json!({"detail": "internal error"}));
    place.until_blobs(0).await;
    assert_eq!(place.documents().await, 0);
    assert_eq!(user.json("/jobs").await["items"], json!([]));
    let client = place.client().await;
    assert_eq!(client.list(JobFilter::default()).await.unwrap().items, []);

    // The same request may succeed later.
    place.execute("DROP TRIGGER refuse", "DROP TRIGGER refuse ON documents").await;
    let id = job_id(send().await.unwrap()).await;
    until("the job is listed", async || {
        (user.json("/jobs").await["items"][0]["job_id"] == id.as_str()).then_some(())
    })
    .await;
    assert_eq!((place.documents().await, place.blobs().len()), (1, 2));
}

pub async fn a_file_that_breaks_off_leaves_no_parts(place: Place) {
    let service = place.start(&["api", "--max-file", "30000000"]);
    let user = service.admin().await;
    let chunk = || Ok::<_, std::io::Error>(vec![b'x'; 1 << 20]);
    let large = |end: Vec<std::io::Result<Vec<u8>>>| {
        let (go, wait) = oneshot::channel::<()>();
        let begun = stream::repeat_with(chunk).take(20);
        // The rest only when the first parts are stored.
        let rest = async move {
            let _ = wait.await;
            stream::iter(end)
        };
        let rest = stream::once(rest).flatten();
        let part = Part::stream(Body::wrap_stream(begun.chain(rest))).file_name("large");
        (go, Form::new().part("context_key", file("small", "text")).part("content_key", part))
    };
    // A client that goes away, and one that sends too much.
    for gone in [true, false] {
        let end = if gone {
            vec![Err(std::io::Error::other("gone"))]
        } else {
            (0..10).map(|_| chunk()).collect()
        };
        let (go, form) = large(end);
        let sent = tokio::spawn(user.post("/jobs/upload").multipart(form).send());
        until("parts are stored", async || (!place.parts().is_empty()).then_some(())).await;
        go.send(()).unwrap();
        let answer = sent.await.unwrap();
        assert!(if gone { answer.is_err() } else { answer.unwrap().status() == 413 });
        until("no parts are left", async || place.parts().is_empty().then_some(())).await;
        place.until_blobs(0).await;
    }
    assert_eq!(user.json("/jobs").await["items"], json!([]));
}

/// A job under the name of the service's own that is none of them.
#[derive(Job, Serialize, Deserialize)]
#[job(kind = "compare", queue = "documents")]
struct Stranger {
    nonsense: u32,
}

async fn answers_nothing(_: Stranger, _: Context<()>) -> Outcome {
    Ok(())
}

pub async fn a_job_that_can_not_be_read_hides_no_other(place: Place) {
    let service = place.start(&["api"]);
    let user = service.admin().await;
    let (good, damaged) =
        (user.upload("content", "context").await, user.upload("content", "context").await);
    let client = place.client().await;
    let [id, whole] = [&damaged, &good].map(|id| id.parse::<JobId>().unwrap());
    let record = until("both jobs are there", async || {
        client.get(whole).await.unwrap()?;
        client.get(id).await.unwrap()
    })
    .await;
    let payload = user.job(&damaged).await["payload"].clone();
    assert!(client.delete(id).await.unwrap());
    let tag = record.tags[0].as_str();
    client.enqueue(Draft::new(Stranger { nonsense: 1 }).id(id).tag(tag)).await.unwrap();
    let alien = client.enqueue(Draft::new(Stranger { nonsense: 2 }).tag(tag)).await.unwrap();

    let listed = user.json("/jobs").await["items"].clone();
    let found: Vec<_> = listed.as_array().unwrap().iter().map(|job| &job["job_id"]).collect();
    assert_eq!(found, [&json!(alien.id()), &json!(damaged), &json!(good)]);
    assert_eq!((&listed[0]["payload"], &listed[1]["payload"]), (&Value::Null, &payload));
    assert_eq!(
        (&listed[1]["status"], &user.job(&damaged).await["payload"]),
        (&json!("PENDING"), &payload)
    );
    assert!(service.log().contains("a part of a job can't be read"), "{}", service.log());

    // Nor one with a result that is none.
    assert_eq!(user.post(&format!("/jobs/{good}/cancel")).send().await.unwrap().status(), 202);
    let stop = CancellationToken::new();
    let worker = Worker::new(&client).register(answers_nothing).queue("documents", 1);
    let worker = tokio::spawn(worker.run_until(stop.clone().cancelled_owned()));
    let job = user.until(&damaged, "COMPLETED").await;
    assert_eq!((&job["result_path"], &job["result_content"]), (&Value::Null, &Value::Null));
    assert!(job["timeline"].as_array().unwrap().iter().any(|step| step["what"] == "completed"));
    assert_eq!(user.json("/jobs").await["items"].as_array().unwrap().len(), 3);
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(60), worker).await.unwrap().unwrap().unwrap();
}

/// Users learn that it failed; the log alone says where and why.
pub async fn a_storage_that_fails_does_not_tell_where_it_is(place: Place) {
    let mut service = place.start(&["api"]);
    service.forgiven = true;
    let user = service.admin().await;
    let id = user.upload("content", "context").await;
    let waiting = user.until(&id, "PENDING").await;
    let file = place.files().join(waiting["payload"]["content_key"].as_str().unwrap());
    // A link that leads to itself can't be opened, whoever tries.
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(&file, &file).unwrap();
    let mut worker = place.start(&["worker"]);
    worker.forgiven = true;
    let job = user.until(&id, "FAILED").await;
    let folder = place.dir.path().to_str().unwrap();
    assert_eq!(job["errors"][0]["message"], "a file can't be read: the storage does not work");
    assert!(!job.to_string().contains(folder), "{job}");
    assert!(worker.log().contains(folder));
}
