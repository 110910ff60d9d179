//! What a request is answered when it can't be fulfilled.

use std::error::Error;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// A status, and what to tell the client about it.
#[derive(Debug)]
pub struct Failed {
    status: StatusCode,
    detail: String,
}

impl Failed {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into() }
    }

    pub fn unprocessable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// A fault of ours: what it is goes to the log.
    pub fn internal(error: impl ToString) -> Self {
        tracing::error!(error = error.to_string(), "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error")
    }

    /// Something we depend on is away.
    fn unavailable(error: &(dyn Error + 'static)) -> Self {
        tracing::warn!(error = with_causes(error), "a request can't be served");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "temporarily unavailable, try again")
    }
}

pub fn no_such_job() -> Failed {
    Failed::new(StatusCode::NOT_FOUND, "no such job")
}

pub fn unauthorized(detail: &str) -> Failed {
    Failed::new(StatusCode::UNAUTHORIZED, detail)
}

pub async fn unknown_path() -> Failed {
    Failed::new(StatusCode::NOT_FOUND, "nothing is here; see /openapi.json")
}

pub async fn wrong_method() -> Failed {
    Failed::new(StatusCode::METHOD_NOT_ALLOWED, "not by this method; see /openapi.json")
}

/// An error with what led to it, in one line.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl Error for Failed {}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        let away = match &error {
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::Tls(_) => true,
            // Postgres is going away, or takes nobody in; SQLite's file is locked for long.
            sqlx::Error::Database(e) => e.code().is_some_and(|code| {
                ["57P", "08", "53"].iter().any(|class| code.starts_with(class)) || code == "5"
            }),
            _ => false,
        };
        if away { Self::unavailable(&error) } else { Self::internal(with_causes(&error)) }
    }
}

impl From<windlass::Error> for Failed {
    fn from(error: windlass::Error) -> Self {
        use windlass::Error::{Invalid, LimitExceeded, NotFound};
        match &error {
            Invalid { .. } => Self::unprocessable(error.to_string()),
            LimitExceeded { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
            NotFound { .. } => Self::new(StatusCode::NOT_FOUND, error.to_string()),
            _ if error.is_transient() => Self::unavailable(&error),
            _ => Self::internal(with_causes(&error)),
        }
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(json!({"detail": self.detail}))).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
        }
        response
    }
}
