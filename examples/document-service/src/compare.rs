//! The job: two documents are read and compared, and what comes out is stored as `result.json`.

use std::time::Duration;

use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use serde_json::json;
use windlass::{Blob, Context, Job, LogLevel, Outcome, Progress, Retention, Worker};

use crate::app::App;
use crate::error::with_causes;
use crate::text::{self, Profile};

/// The settings of a worker: after a crash its jobs are taken up again when the lease has run out.
const LEASE: Duration = Duration::from_secs(5);
const HEARTBEAT: Duration = Duration::from_secs(1);

#[derive(Job, Serialize, Deserialize)]
#[job(
    kind = "compare",
    queue = "documents",
    max_attempts = 3,
    timeout = "10m",
    backoff(base = "500ms", max = "10s"),
    output = Blob
)]
pub struct Compare {
    pub content: Document,
    pub context: Document,
}

/// A file that was uploaded.
#[derive(Serialize, Deserialize)]
pub struct Document {
    pub name: String,
    pub blob: Blob,
}

/// Runs jobs until the program is to end.
pub async fn work(app: &App, concurrency: u32) -> windlass::Result<()> {
    tracing::info!(concurrency, "the worker takes jobs");
    // Whatever ends the one half of the program ends the other.
    let _ended = app.stop.clone().drop_guard();
    let mut retention = Retention::keep_all();
    retention.events = Retention::default().events;
    Worker::new(&app.jobs)
        .state(app.slow)
        .register(compare)
        .queue(Compare::QUEUE, concurrency)
        .options(|o| {
            (o.lease, o.heartbeat, o.retention) = (LEASE, HEARTBEAT, Some(retention));
            o.drain = Duration::from_secs(8);
        })
        .run_until(app.stop.cancelled())
        .await
}

/// Nothing here has to be brought to an end: a job that is to stop is dropped where it is.
async fn compare(job: Compare, cx: Context<Duration>) -> Outcome<Blob> {
    tokio::select! {
        done = make_result(job, &cx) => done,
        cause = cx.cancelled() => Err(format!("stopped: {cause}").into()),
    }
}

async fn make_result(job: Compare, cx: &Context<Duration>) -> Outcome<Blob> {
    let Compare { content, context } = job;
    step(cx, 0, "downloading content").await;
    let content_profile = download(&content, cx).await?;
    step(cx, 1, "downloading context").await;
    let context_profile = download(&context, cx).await?;
    step(cx, 2, "comparing").await;
    let result = json!({
        "content": figures(&content, &content_profile),
        "context": figures(&context, &context_profile),
        "comparison": tokio::task::spawn_blocking(move || {
            text::compare((&content.name, &content_profile), (&context.name, &context_profile))
        })
        .await?,
    });
    step(cx, 3, "uploading result.json").await;
    let result = serde_json::to_vec_pretty(&result)?;
    let result = cx.client().put_blob(result).content_type("application/json").await;
    let result = result.map_err(|e| masked("written", e))?;
    step(cx, 4, "completing").await;
    Ok(result)
}

/// Tells everybody how far the job is.
async fn step(cx: &Context<Duration>, done: u64, what: &str) {
    tracing::info!("{what}");
    cx.log(LogLevel::Info, what);
    cx.progress(Progress { done, total: Some(4), message: Some(what.to_owned()) });
    tokio::time::sleep(*cx.state()).await;
}

/// Reads a file as a stream; only what a diff needs is kept.
async fn download(document: &Document, cx: &Context<Duration>) -> Outcome<Profile> {
    let mut profile = Profile::default();
    let opened = cx.client().open_blob(&document.blob).await;
    let mut chunks = opened.map_err(|e| masked("read", e))?.stream;
    while let Some(chunk) = chunks.try_next().await.map_err(|e| masked("read", e))? {
        for piece in chunk.chunks(text::STRIDE) {
            profile.add(piece);
            tokio::task::yield_now().await;
        }
    }
    profile.finish();
    Ok(profile)
}

/// Users see why their jobs failed. Where our storage is concerns us alone, and stands in the log.
fn masked(what: &str, error: windlass::Error) -> String {
    match error {
        windlass::Error::NotFound { .. } | windlass::Error::Corrupt { .. } => error.to_string(),
        error => {
            tracing::warn!(error = with_causes(&error), "a file can't be {what}");
            format!("a file can't be {what}: the storage does not work")
        }
    }
}

fn figures(document: &Document, profile: &Profile) -> serde_json::Value {
    json!({
        "name": document.name,
        "bytes": document.blob.len,
        "sha256": document.blob.sha256,
        "lines": profile.lines,
        "words": profile.words,
        "distinct_terms": profile.terms.len(),
        "binary": profile.binary,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_users_see_does_not_tell_where_the_storage_is() {
        let source = "error sending request for http://objects:7070/documents".into();
        let away = windlass::Error::Unavailable { backend: "s3", during: "get", source };
        assert_eq!(masked("read", away), "a file can't be read: the storage does not work");
        let gone = windlass::Error::NotFound { what: "blob blobs/a".into() };
        assert!(masked("read", gone).contains("not found"));
    }
}
