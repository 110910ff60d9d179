//! Jobs on their way.

use std::collections::HashSet;
use std::fs;

use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Place, form, job_id, remove, until};

pub async fn two_files_become_a_result(place: Place) {
    let service = place.start(&[]);
    let user = service.admin().await;
    let id = user.upload("alpha beta gamma\ndelta\n", "alpha beta gamma\nepsilon\n").await;
    let job = user.until(&id, "COMPLETED").await;
    assert_eq!((&job["attempts"], &job["errors"]), (&json!(1), &json!([])));
    assert_eq!(job["progress"]["done"], 4);
    assert!(job["created_at"].as_str() <= job["finished_at"].as_str());
    assert_eq!(job["payload"]["content_name"], "content.txt");
    for key in [&job["payload"]["content_key"], &job["payload"]["context_key"], &job["result_path"]]
    {
        assert!(place.files().join(key.as_str().unwrap()).exists(), "{key}");
    }
    let result = &job["result_content"];
    assert_eq!((&result["content"]["lines"], &result["content"]["words"]), (&json!(2), &json!(4)));
    assert_eq!(result["comparison"]["similarity"], 0.75);
    assert_eq!(result["comparison"]["shared_terms"][0]["term"], "alpha");
    let diff = result["comparison"]["diff"].as_str().unwrap();
    assert!(diff.contains("-delta\n+epsilon"), "{diff}");
    let steps: Vec<_> =
        job["timeline"].as_array().unwrap().iter().map(|step| &step["what"]).collect();
    let expected = [
        "received",
        "attempt 1 begins",
        "downloading content",
        "downloading context",
        "comparing",
        "uploading result.json",
    ];
    for step in expected {
        assert!(steps.iter().any(|found| **found == step), "{step} in {steps:?}");
    }

    let log = service.log();
    let of_job: Vec<_> = log.lines().filter(|line| line.contains(&id)).collect();
    let sequence = [
        "downloading content",
        "downloading context",
        "comparing",
        "uploading result.json",
        "completing",
    ];
    assert_eq!(of_job.len(), sequence.len() + 1, "{log}");
    // The worker may be quicker than who says this.
    assert!(of_job.iter().any(|line| line.contains("documents received")), "{log}");
    let worked = of_job.iter().filter(|line| !line.contains("documents received"));
    assert!(worked.zip(sequence).all(|(line, step)| line.contains(step)), "{log}");

    // Through the API: nobody has said that clients reach the storage.
    let path = format!("/api/v1/jobs/{id}/result");
    let artifact = user.get(&format!("/jobs/{id}/result")).send().await.unwrap();
    assert_eq!((artifact.status(), artifact.url().path()), (StatusCode::OK, &*path));
    for (name, value) in [
        ("content-type", "application/json"),
        ("content-disposition", "attachment; filename=\"result.json\""),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(artifact.headers()[name], value);
    }
    assert_eq!(&artifact.json::<Value>().await.unwrap(), result);

    // A result that is gone hides nothing else of the job.
    let kept = place.files().join(job["result_path"].as_str().unwrap());
    fs::rename(&kept, kept.with_extension("away")).unwrap();
    let without = user.job(&id).await;
    assert_eq!(
        (&without["status"], &without["result_content"]),
        (&json!("COMPLETED"), &Value::Null)
    );
    assert_eq!(without["timeline"], job["timeline"]);
    fs::rename(kept.with_extension("away"), &kept).unwrap();

    let listed = user.json("/jobs?status=COMPLETED").await;
    assert_eq!(listed["items"][0]["job_id"], id.as_str());
    assert!(listed["items"][0].get("result_content").is_none());
    assert_eq!(user.json("/jobs?status=FAILED").await, json!({"items": [], "next": null}));
    for wrong in ["/jobs?status=DONE", "/jobs?limit=0", "/jobs?limit=x", "/jobs?after=x"] {
        assert_eq!(user.get(wrong).send().await.unwrap().status(), 422, "{wrong}");
    }
}

pub async fn a_step_that_fails_is_retried_and_then_given_up(place: Place) {
    let service = place.start(&["api"]);
    let user = service.admin().await;
    let id = user.upload("content", "context").await;
    let waiting = user.until(&id, "PENDING").await;
    let result = user.get(&format!("/jobs/{id}/result")).send().await.unwrap();
    assert_eq!(result.status(), 409);
    let key = &waiting["payload"]["context_key"];
    remove(&place.files(), key);
    let _worker = place.start(&["worker"]);
    let job = user.until(&id, "FAILED").await;
    assert_eq!((&job["attempts"], &job["state"]), (&json!(3), &json!("discarded")));
    let errors = job["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 3);
    assert!(errors[0]["message"].as_str().unwrap().contains("not found"), "{errors:?}");
    assert_eq!(user.get(&format!("/jobs/{id}/result")).send().await.unwrap().status(), 409);

    // Mended, and tried again.
    fs::write(place.files().join(key.as_str().unwrap()), "context").unwrap();
    let retried = user.post(&format!("/jobs/{id}/retry")).send().await.unwrap();
    assert_eq!(retried.status(), 202);
    let job = until("the job is completed", async || {
        let job = user.job(&id).await;
        (job["status"] == "COMPLETED").then_some(job)
    })
    .await;
    assert_eq!(job["attempts"], 4);
    let again = user.post(&format!("/jobs/{id}/retry")).send().await.unwrap();
    assert_eq!(again.status(), 409);
    assert_eq!(user.job(&id).await["result_content"], job["result_content"]);
}

pub async fn jobs_are_cancelled_and_retried(place: Place) {
    let service = place.start(&["api"]);
    let user = service.admin().await;
    let id = user.upload("content", "context").await;
    let cancel = async |expected: u16| {
        until("the job is cancelled", async || {
            let answer = user.post(&format!("/jobs/{id}/cancel")).send().await.unwrap();
            let status = answer.status();
            let body: Value = answer.json().await.unwrap();
            // It may still be on its way to its queue.
            if body["detail"].as_str().is_some_and(|text| text.contains("on its way")) {
                return None;
            }
            assert_eq!(status, expected, "{body}");
            Some(())
        })
        .await;
    };
    cancel(202).await;
    let job = user.until(&id, "FAILED").await;
    assert_eq!(
        (&job["state"], &job["errors"][0]["kind"]),
        (&json!("cancelled"), &json!("cancelled"))
    );
    cancel(409).await;
    let retried = user.post(&format!("/jobs/{id}/retry")).send().await.unwrap();
    assert_eq!(retried.json::<Value>().await.unwrap()["status"], "PENDING");

    // A job that runs is asked to stop.
    let _worker = place.start(&["worker", "--slow", "60000"]);
    until("the job runs", async || (user.job(&id).await["status"] == "IN_PROGRESS").then_some(()))
        .await;
    cancel(202).await;
    let job = until("the job has stopped", async || {
        let job = user.job(&id).await;
        (job["status"] == "FAILED").then_some(job)
    })
    .await;
    assert_eq!(job["state"], "cancelled");
}

pub async fn a_job_whose_worker_was_killed_is_completed_by_another(place: Place) {
    let service = place.start(&["api"]);
    let user = service.admin().await;
    let id = user.upload("content", "context").await;
    let worker = place.start(&["worker", "--slow", "600000"]);
    user.until(&id, "IN_PROGRESS").await;
    worker.kill_9();
    let _worker = place.start(&["worker"]);
    let job = user.until(&id, "COMPLETED").await;
    assert_eq!(job["attempts"], 2);
    assert_eq!(job["errors"][0]["kind"], "crash");
}

pub async fn two_hundred_uploads_at_once_lose_nothing(place: Place) {
    let mut service = place.start(&[]);
    let user = service.admin().await;
    let uploads = (0..200).map(|n| {
        let user = user.clone();
        async move {
            let files = form(&format!("content {n}"), &format!("context {n}"));
            job_id(user.post("/jobs/upload").multipart(files).send().await.unwrap()).await
        }
    });
    let mut ids = join_all(uploads).await;
    // The oldest first: each has its time from when the one before was done.
    ids.sort_unstable();
    for id in &ids {
        user.until(id, "COMPLETED").await;
    }
    let ids: HashSet<String> = ids.into_iter().collect();
    assert_eq!(ids.len(), 200);
    let (mut listed, mut next) = (Vec::new(), String::new());
    loop {
        let page = user.json(&format!("/jobs?limit=30{next}")).await;
        let items = page["items"].as_array().unwrap();
        listed.extend(items.iter().map(|job| job["job_id"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["next"].as_str() else { break };
        next = format!("&after={cursor}");
    }
    assert!(listed.is_sorted_by(|newer, older| newer > older), "newest first");
    assert_eq!(listed.into_iter().collect::<HashSet<_>>(), ids);
    let blobs: HashSet<String> = place.blobs().into_iter().collect();
    let mut again = 0;
    for id in &ids {
        let job = user.job(id).await;
        for key in
            [&job["payload"]["content_key"], &job["payload"]["context_key"], &job["result_path"]]
        {
            let name = key.as_str().unwrap().strip_prefix("blobs/").unwrap();
            assert!(blobs.contains(name), "{key} of {id}");
        }
        again += job["attempts"].as_u64().unwrap() - 1;
    }
    // A run whose lease was lost may have left a result, which is pruned later.
    assert!(
        (600..=600 + again).contains(&(blobs.len() as u64)),
        "{} files, {again} runs more",
        blobs.len()
    );
    assert!(service.is_running());
}
