//! The page and its parts, which are in the program itself.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderName, header};
use axum::routing::{MethodRouter, get};

use crate::app::App;

/// Nothing from elsewhere, no scripts or styles in the markup, and no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/", part("text/html; charset=utf-8", include_str!("../assets/index.html")))
        .route("/app.js", part("text/javascript; charset=utf-8", include_str!("../assets/app.js")))
        .route("/app.css", part("text/css; charset=utf-8", include_str!("../assets/app.css")))
        .route("/icon.svg", part("image/svg+xml", include_str!("../assets/icon.svg")))
        .route("/openapi.json", part("application/json", include_str!("../assets/openapi.json")))
}

fn part(content_type: &'static str, text: &'static str) -> MethodRouter<Arc<App>> {
    let headers: [(HeaderName, &str); 4] = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    get(move || async move { (headers, text) })
}
