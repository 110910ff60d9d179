//! Jobs: listed, shown, cancelled, retried, and their results.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use futures_util::stream::{FuturesOrdered, TryStreamExt};
use serde::{Deserialize, Serialize};
use windlass::storage::PresignMethod;
use windlass::{JobFilter, JobId, JobQuery, JobRecord, Tag};

use crate::app::App;
use crate::auth::User;
use crate::compare::Compare;
use crate::error::{Failed, no_such_job};
use crate::view::{self, Detail, View};

type Answer<T> = Result<T, Failed>;
type Shared = State<Arc<App>>;

const PAGE: usize = 20;
const LARGEST_PAGE: usize = 100;
/// How long a presigned URL works.
const PRESIGNED: Duration = Duration::from_secs(300);

#[derive(Deserialize)]
pub struct Listing {
    status: Option<String>,
    limit: Option<usize>,
    /// What an earlier page gave as `next`.
    after: Option<String>,
}

#[derive(Serialize)]
pub struct Listed {
    items: Vec<View>,
    next: Option<String>,
}

pub async fn list(
    State(app): Shared,
    user: User,
    listing: Result<Query<Listing>, QueryRejection>,
) -> Answer<Json<Listed>> {
    let Query(listing) = listing.map_err(|e| Failed::unprocessable(e.body_text()))?;
    let mut filter = JobFilter::default().kind_of::<Compare>()?.tag(Tag::new(user.tag())?);
    if let Some(status) = &listing.status {
        let states = view::states(status).ok_or_else(|| {
            Failed::unprocessable("`status` is PENDING, IN_PROGRESS, COMPLETED or FAILED")
        })?;
        filter = filter.states(states.iter().copied());
    }
    let limit = listing.limit.unwrap_or(PAGE);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Err(Failed::unprocessable(format!("`limit` is from 1 to {LARGEST_PAGE}")));
    }
    let after = listing.after.map(|cursor| cursor.parse()).transpose()?;
    let page = app.jobs.list(JobQuery::from(filter).limit(limit).after(after)).await?;
    let items = page.items.into_iter().map(|record| View::of(&app, &user, record));
    let items = items.collect::<FuturesOrdered<_>>().try_collect().await?;
    Ok(Json(Listed { items, next: page.next.map(|cursor| cursor.to_string()) }))
}

pub async fn show(State(app): Shared, user: User, Path(id): Path<String>) -> Answer<Json<Detail>> {
    Ok(Json(detail(&app, &user, &id).await?))
}

pub async fn cancel(
    State(app): Shared,
    user: User,
    Path(id): Path<String>,
) -> Answer<(StatusCode, Json<Detail>)> {
    let record = find(&app, &user, &id).await?.ok_or_else(on_its_way)?;
    let asked = app.jobs.cancel_because(record.id, "cancelled by its owner").await?;
    let detail = detail(&app, &user, &id).await?;
    // Asked for a second time, it is on its way to its end; what was read before may be over by now.
    if !asked && !detail.job.cancel_requested {
        return Err(Failed::conflict("the job has ended"));
    }
    Ok((StatusCode::ACCEPTED, Json(detail)))
}

pub async fn retry(
    State(app): Shared,
    user: User,
    Path(id): Path<String>,
) -> Answer<(StatusCode, Json<Detail>)> {
    let record = find(&app, &user, &id).await?.ok_or_else(on_its_way)?;
    // A completed job would lose its result, also one that completes just now.
    if !app.jobs.retry_unless_completed(record.id).await? {
        return Err(Failed::conflict("only a job that failed, or waits, is retried"));
    }
    Ok((StatusCode::ACCEPTED, Json(detail(&app, &user, &id).await?)))
}

/// The artifact, or where it can be had from the storage itself.
pub async fn result(State(app): Shared, user: User, Path(id): Path<String>) -> Answer<Response> {
    let record = find(&app, &user, &id).await?.ok_or_else(on_its_way)?;
    let output = app.jobs.output::<Compare>(&record).await?;
    let blob =
        output.ok_or_else(|| Failed::conflict("the job has no result: it is not COMPLETED"))?;
    if let Some(public) = &app.public {
        let url = public.presign(&blob.key, PresignMethod::Get, PRESIGNED).await?;
        return Ok(
            ([(header::CACHE_CONTROL, "no-store")], Redirect::temporary(&url)).into_response()
        );
    }
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"result.json\""),
    ];
    let length = [(header::CONTENT_LENGTH, blob.len)];
    let body = app.jobs.open_blob(&blob).await?.stream;
    Ok((headers, length, Body::from_stream(body)).into_response())
}

async fn detail(app: &App, user: &User, id: &str) -> Answer<Detail> {
    if let Some(record) = find(app, user, id).await? {
        return Detail::of(app, user, record).await;
    }
    let id = id.parse().map_err(|_| no_such_job())?;
    let (at, payload) = app.data.document(&user.id, id).await?.ok_or_else(no_such_job)?;
    let job = View::on_its_way(id, at, payload);
    Ok(Detail { job, result_content: None, timeline: Vec::new() })
}

/// The job of a document of this user; `None` while it is on its way to where it runs.
async fn find(app: &App, user: &User, id: &str) -> Answer<Option<JobRecord>> {
    let id: JobId = id.parse().map_err(|_| no_such_job())?;
    app.data.document(&user.id, id).await?.ok_or_else(no_such_job)?;
    Ok(app.jobs.get(id).await?)
}

fn on_its_way() -> Failed {
    Failed::conflict("the job is on its way to its queue: try again")
}
