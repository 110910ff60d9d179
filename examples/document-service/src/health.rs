//! Whether what the service depends on is there.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::app::App;

const PATIENCE: Duration = Duration::from_secs(3);

pub async fn check(State(app): State<Arc<App>>) -> (StatusCode, Json<Value>) {
    let storage = async {
        // Without its marker it is another storage, or an empty one.
        app.jobs.storage().head(&app.marker).await.is_ok_and(|found| found.is_some())
    };
    let (database, jobs, storage) = tokio::join!(
        answers(async { app.data.ping().await.is_ok() }),
        answers(async { app.jobs.ping().await.is_ok() }),
        answers(storage),
    );
    let up = database && jobs && storage;
    let text = |up| if up { "ok" } else { "down" };
    let status = if up { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({"status": text(up), "database": text(database), "jobs": text(jobs), "storage": text(storage)});
    (status, Json(body))
}

async fn answers(question: impl Future<Output = bool>) -> bool {
    tokio::time::timeout(PATIENCE, question).await.unwrap_or(false)
}
