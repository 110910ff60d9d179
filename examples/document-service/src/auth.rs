//! Who asks: passwords are exchanged for tokens, tokens come with each request.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, FromRequestParts, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL};
use axum::http::request::Parts;
use axum::response::IntoResponse;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::app::App;
use crate::error::{Failed, unauthorized};
use crate::password;

/// Hashing a longer one would only cost time.
pub const LONGEST_PASSWORD: usize = 1024;

/// The form of OAuth2's password grant.
#[derive(Deserialize)]
pub struct Login {
    username: String,
    password: String,
}

pub async fn token(
    State(app): State<Arc<App>>,
    form: Result<Form<Login>, FormRejection>,
) -> Result<impl IntoResponse, Failed> {
    let Form(login) = form.map_err(|e| Failed::unprocessable(e.body_text()))?;
    let wrong = || unauthorized("wrong username or password");
    // Databases take no NUL in a text.
    if login.password.len() > LONGEST_PASSWORD || login.username.contains('\0') {
        return Err(wrong());
    }
    let user = app.data.user(&login.username).await?;
    let (id, hashed) = user.unzip();
    if !password::verify(login.password, hashed).await? {
        return Err(wrong());
    }
    let token = password::generate();
    let lifetime = app.token_ttl.as_secs();
    let expires_at = Timestamp::now().as_second().saturating_add_unsigned(lifetime);
    app.data.add_token(&digest(&token), &id.unwrap_or_default(), expires_at).await?;
    let body = json!({"access_token": token, "token_type": "bearer", "expires_in": lifetime});
    Ok(([(CACHE_CONTROL, "no-store")], Json(body)))
}

/// The user whose token came with the request.
pub struct User {
    pub id: String,
    pub expires_at: i64,
}

impl User {
    /// The tag of this user's jobs.
    pub fn tag(&self) -> String {
        format!("user-{}", self.id)
    }
}

impl FromRequestParts<Arc<App>> for User {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failed> {
        let header = parts.headers.get(AUTHORIZATION).and_then(|header| header.to_str().ok());
        let token = header.and_then(|header| header.split_once(' '));
        let Some((_, token)) = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        else {
            return Err(unauthorized(
                "a bearer token is needed: POST /api/v1/auth/token gives one",
            ));
        };
        match app.data.token(&digest(token.trim())).await? {
            Some((id, expires_at)) => Ok(Self { id, expires_at }),
            None => Err(unauthorized("the token is unknown or has expired: sign in again")),
        }
    }
}

fn digest(token: &str) -> String {
    let digest = Sha256::digest(token.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
