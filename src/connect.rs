//! A URL chooses the backend.

use std::sync::Arc;

use windlass_core::{Client, Error, Limits, MemoryBackend, Result};

/// Opens the backend that the URL names, with the default limits: `memory:` or, each with its
/// feature, `sqlite:jobs.db`, `postgres://user@host/database` and `redis://host/0` (also `redis+sentinel:`, `redis+cluster:`,
/// `redis+unix:` and, with `redis-tls`, `rediss:`).
///
/// The memory backend is new and empty at each call; clone the client to share one. For the calls that only some
/// backends have (enqueuing in the host's transaction), open that backend by its own type.
///
/// # Errors
/// [`Error::Config`] for a URL that names no backend of this build, and what the backend finds wrong with the rest of it.
pub async fn connect(url: impl AsRef<str>) -> Result<Client> {
    connect_with(url, Limits::default()).await
}

/// [`connect`] with other limits. Every process on the same jobs should use the same.
///
/// # Errors
/// As for [`connect`].
pub async fn connect_with(url: impl AsRef<str>, limits: Limits) -> Result<Client> {
    let url = url.as_ref();
    // The rest of a URL may hold a password: errors name the scheme alone.
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err(no_scheme());
    };
    match scheme {
        "memory" if rest.trim_matches('/').is_empty() => {
            Ok(Client::new(Arc::new(MemoryBackend::with_limits(limits))))
        }
        "memory" => Err(Error::Config("nothing belongs behind `memory:` in its URL".into())),
        #[cfg(feature = "sqlite")]
        "sqlite" => {
            let options = windlass_sqlite::SqliteOptions::from_url(url)?.limits(limits);
            Ok(Client::new(Arc::new(windlass_sqlite::SqliteBackend::open(options).await?)))
        }
        #[cfg(not(feature = "sqlite"))]
        "sqlite" => Err(Error::Config(
            "`sqlite:` is not in this build: enable the feature `sqlite` of the crate `windlass`"
                .into(),
        )),
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => {
            let options = windlass_postgres::PostgresOptions::from_url(url)?.limits(limits);
            Ok(Client::new(Arc::new(windlass_postgres::PostgresBackend::open(options).await?)))
        }
        #[cfg(not(feature = "postgres"))]
        "postgres" | "postgresql" => Err(Error::Config(
            "`postgres:` is not in this build: enable the feature `postgres` of the crate `windlass`"
                .into(),
        )),
        #[cfg(feature = "redis")]
        "redis" | "rediss" | "redis+sentinel" | "rediss+sentinel" | "redis+cluster" | "rediss+cluster"
        | "redis+unix" => {
            let options = windlass_redis::RedisOptions::from_url(url)?.limits(limits);
            Ok(Client::new(Arc::new(windlass_redis::RedisBackend::open(options).await?)))
        }
        #[cfg(not(feature = "redis"))]
        "redis" | "rediss" | "redis+sentinel" | "rediss+sentinel" | "redis+cluster" | "rediss+cluster"
        | "redis+unix" => Err(Error::Config(
            "`redis:` is not in this build: enable the feature `redis` of the crate `windlass`"
                .into(),
        )),
        other if is_scheme(other) => {
            Err(Error::Config(format!("`{other}:` names no backend; {}", schemes()).into()))
        }
        other if is_scheme(&other.to_ascii_lowercase()) && other.len() > 1 => {
            Err(Error::Config(format!("schemes are written in lower case; {}", schemes()).into()))
        }
        _ => Err(no_scheme()),
    }
}

/// Also for the path of a file, with or without a drive's letter, and for text that is no URL at all.
fn no_scheme() -> Error {
    let why = format!(
        "the database URL has no scheme; a file is named with its scheme before it, as in `sqlite:jobs.db`; {}",
        schemes()
    );
    Error::Config(why.into())
}

/// Whether text before a colon is a scheme, and not half of somebody's password.
fn is_scheme(text: &str) -> bool {
    text.len() <= 16
        && !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'+')
}

/// What this build knows, and what would add the rest.
fn schemes() -> String {
    let all = [
        ("sqlite", "`sqlite:path/to/jobs.db`", cfg!(feature = "sqlite")),
        ("postgres", "`postgres://user@host/database`", cfg!(feature = "postgres")),
        ("redis", "`redis://host/0`", cfg!(feature = "redis")),
    ];
    let mut text = "this build knows `memory:`".to_owned();
    for (_, url, _) in all.iter().filter(|(_, _, known)| *known) {
        text.push_str(", ");
        text.push_str(url);
    }
    for (feature, url, _) in all.iter().filter(|(_, _, known)| !*known) {
        text.push_str(&format!("; the feature `{feature}` adds {url}"));
    }
    text
}
