//! Two files in, one job out.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, TryStreamExt};
use multer::{Constraints, Field, Multipart, SizeLimit};
use serde_json::json;
use windlass::storage::ByteStream;
use windlass::{Blob, BlobKey, Draft, JobId, Storage};

use crate::app::App;
use crate::auth::User;
use crate::compare::{Compare, Document};
use crate::data::{Added, NewDocument};
use crate::error::Failed;
use crate::view;

/// The parts of a request.
const PARTS: [&str; 2] = ["content_key", "context_key"];
/// Bytes that may come between those of the files: headers of parts, parts that nobody asked for. The parser keeps what it can't make out yet.
const AROUND: u64 = 1 << 20;
/// Characters of a file's name that are kept.
const LONGEST_NAME: usize = 200;
const LONGEST_KEY: usize = 255;
const LONGEST_TYPE: usize = 255;

pub async fn upload(
    State(app): State<Arc<App>>,
    user: User,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failed> {
    let key = idempotency_key(&headers)?;
    let mut uploaded =
        Uploaded { storage: app.jobs.storage().clone(), keys: Vec::new(), taken: false };
    let around = Around::default();
    let parts = multipart(&app, &headers, body, around.clone())?;
    let mut files = receive(&app, parts, around, &mut uploaded).await?;
    let [content, context] = PARTS.map(|part| {
        files
            .remove(part)
            .ok_or_else(|| Failed::unprocessable(format!("the file `{part}` is missing")))
    });
    let (content, context) = (content?, context?);

    let id = JobId::new();
    let digest = format!("{}-{}", content.blob.sha256, context.blob.sha256);
    let job = Compare { content, context };
    let payload = view::payload(&job);
    let job = Draft::new(job).id(id).tag(user.tag());
    let document =
        NewDocument { owner: &user.id, idempotency_key: key, digest: &digest, payload: &payload };
    let added = app.data.add_document(document, job, id, |taken| uploaded.taken = taken).await?;
    let (id, repeated) = match added {
        Added::New => (id, "false"),
        Added::Before { job, same: true } => (job, "true"),
        Added::Before { same: false, .. } => {
            return Err(Failed::unprocessable(
                "the `Idempotency-Key` was used before, for other files",
            ));
        }
    };
    tracing::info!(job = %id, repeated, "documents received");
    let headers = [
        (header::LOCATION.as_str(), format!("/api/v1/jobs/{id}")),
        ("idempotency-replayed", repeated.to_owned()),
    ];
    let body = json!({"job_id": id, "status": "PENDING"});
    Ok((StatusCode::CREATED, headers, Json(body)).into_response())
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Failed> {
    let Some(header) = headers.get("idempotency-key") else { return Ok(None) };
    let key = header.to_str().ok().filter(|key| (1..=LONGEST_KEY).contains(&key.len()));
    let why = || Failed::unprocessable("`Idempotency-Key` takes 1 to 255 visible ASCII characters");
    key.map(Some).ok_or_else(why)
}

/// Bytes that have come since the last ones of a file.
#[derive(Clone, Default)]
struct Around(Arc<AtomicU64>);

impl Around {
    fn check(&self, more: usize) -> Result<(), TooMuch> {
        let before = self.0.fetch_add(more as u64, Ordering::Relaxed);
        if before.saturating_add(more as u64) > AROUND { Err(TooMuch) } else { Ok(()) }
    }

    fn begin_anew(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct TooMuch;

impl std::fmt::Display for TooMuch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("more than a multipart body needs")
    }
}

impl Error for TooMuch {}

fn multipart(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    around: Around,
) -> Result<Multipart<'static>, Failed> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let boundary = multer::parse_boundary(content_type.unwrap_or_default());
    let boundary = boundary.map_err(|_| {
        Failed::unprocessable(
            "send `multipart/form-data` with the files `content_key` and `context_key`",
        )
    })?;
    let whole = app.max_file.saturating_mul(2).saturating_add(AROUND);
    let limits = Constraints::new().size_limit(SizeLimit::new().whole_stream(whole));
    let body = body.into_data_stream().map(move |bytes| {
        let bytes = bytes?;
        around.check(bytes.len())?;
        Ok::<_, Box<dyn Error + Send + Sync>>(bytes)
    });
    Ok(Multipart::with_constraints(body, boundary, limits))
}

/// Stores the files as they come.
async fn receive(
    app: &App,
    mut parts: Multipart<'static>,
    around: Around,
    uploaded: &mut Uploaded,
) -> Result<BTreeMap<&'static str, Document>, Failed> {
    let mut files = BTreeMap::new();
    while let Some(field) = parts.next_field().await.map_err(broken)? {
        let Some(part) = PARTS.into_iter().find(|part| field.name() == Some(*part)) else {
            continue;
        };
        let name = plain_name(field.file_name().unwrap_or(part));
        let content_type = field.content_type().map(ToString::to_string);
        if content_type.as_ref().is_some_and(|name| name.len() > LONGEST_TYPE) {
            return Err(Failed::unprocessable(format!(
                "the content type of `{part}` is longer than {LONGEST_TYPE} bytes"
            )));
        }
        let mut put = app.jobs.put_blob(chunks(field, part, app.max_file, around.clone()));
        if let Some(content_type) = content_type {
            put = put.content_type(content_type);
        }
        let blob: Blob = put.await?;
        uploaded.keys.push(blob.key.clone());
        if files.insert(part, Document { name, blob }).is_some() {
            return Err(Failed::unprocessable(format!("the file `{part}` is there twice")));
        }
    }
    Ok(files)
}

/// The bytes of a file, up to the limit.
fn chunks(field: Field<'static>, part: &'static str, limit: u64, around: Around) -> ByteStream {
    let field = field.map_err(broken);
    field
        .scan(0, move |length: &mut u64, chunk: windlass::Result<_>| {
            let checked = chunk.and_then(|chunk: bytes::Bytes| {
                around.begin_anew();
                *length += chunk.len() as u64;
                if *length <= limit {
                    return Ok(chunk);
                }
                let (what, hint) =
                    (format!("the file `{part}` in bytes").into(), "send a smaller one".into());
                Err(windlass::Error::LimitExceeded { what, actual: *length, limit, hint })
            });
            std::future::ready(Some(checked))
        })
        .boxed()
}

/// The last part of what may be a path, without what would spoil a page or a terminal.
fn plain_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain: String = last.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
    if plain.trim_matches(['.', ' ']).is_empty() { "unnamed".to_owned() } else { plain }
}

/// Files that are deleted again unless their job takes them over.
struct Uploaded {
    storage: Arc<dyn Storage>,
    keys: Vec<BlobKey>,
    taken: bool,
}

impl Drop for Uploaded {
    /// Also for a request whose client has gone.
    fn drop(&mut self) {
        let (storage, keys) = (self.storage.clone(), std::mem::take(&mut self.keys));
        if self.taken || keys.is_empty() {
            return;
        }
        tokio::spawn(async move {
            if let Err(error) = storage.delete(&keys).await {
                // The library prunes what no job refers to, a day later.
                tracing::warn!(
                    error = crate::error::with_causes(&error),
                    "files of a failed request are still there"
                );
            }
        });
    }
}

/// A body that can't be read on.
fn broken(error: multer::Error) -> windlass::Error {
    match error {
        multer::Error::StreamSizeExceeded { limit } => windlass::Error::LimitExceeded {
            what: "the request in bytes".into(),
            actual: limit.saturating_add(1),
            limit,
            hint: "send smaller files, and no others".into(),
        },
        multer::Error::StreamReadFailed(source) if source.is::<TooMuch>() => {
            windlass::Error::LimitExceeded {
                what: "bytes of the request beside its files".into(),
                actual: AROUND + 1,
                limit: AROUND,
                hint: "send the two files and nothing else".into(),
            }
        }
        other => windlass::Error::invalid("multipart body", other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_spoil_no_page() {
        windlass_test_inputs::check("service_text", |data| {
            let name = plain_name(&String::from_utf8_lossy(data));
            assert!(!name.is_empty() && name.chars().count() <= LONGEST_NAME);
            assert!(!name.contains(['/', '\\']) && !name.contains(char::is_control));
            assert!(!matches!(&*name, "." | ".."));
        });
    }
}
