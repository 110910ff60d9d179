//! Opens the backend.

use std::sync::Arc;

use redis::{ErrorKind, RedisError};
use windlass_core::{Backoff, Limits, Result};

use super::{Inner, preflight};
use crate::RedisBackend;
use crate::aside::Aside;
use crate::copies::{Copied, is_unknown_command};
use crate::error::{certificate_error, translate};
use crate::link::{Line, Link, Patience, Reply};
use crate::ops::plain::singles;
use crate::options::{RedisOptions, config, tls};
use crate::pack::pack;
use crate::route::Route;
use crate::script::Scripts;
use crate::wake::Hub;
use crate::wire::{maybe_bytes, text};

/// The way in which keys are laid out. Another one has another number.
const LAYOUT: &str = "1";
/// The oldest server, whose scripts say what they may do.
const OLDEST: u32 = 7;
/// Attempts after which the pause no longer grows.
const PAUSES: u32 = 16;

impl RedisBackend {
    /// Opens the server.
    ///
    /// # Errors
    /// [`Error::Config`](windlass_core::Error::Config) naming the way out: a user or password that is refused, a server before version 7.0, a
    /// namespace with another layout, settings that give less than the [`durability`](RedisOptions::durability) demanded. [`Error::Unavailable`](windlass_core::Error::Unavailable) when the server can't be reached. None shows the password.
    pub async fn open(options: RedisOptions) -> Result<Self> {
        options.check_wait()?;
        tls::prepare(&options.connect)?;
        let patience =
            Patience { connect: options.connect_timeout, response: options.response_timeout };
        let namespace = format!("{{{}}}", options.namespace);
        let route = Arc::new(Route::new(&options, namespace.clone()));
        let copies = options.copies;
        let copied =
            copies.is_wanted().then(|| Copied::new(Link::new(route.clone(), patience), copies));
        let inner = Inner {
            scripts: Scripts::new(),
            main: Link::new(route.clone(), patience),
            reads: Link::new(route.clone(), patience),
            copied,
            aside: Aside::new(route.clone()),
            hub: Hub::new(route, namespace.clone(), options.listen),
            singles: singles(),
            limits: limits(&options.limits),
            pauses: pauses(),
            namespace,
            options,
        };
        check(&inner).await?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Opens the server that a URL names, see [`RedisOptions::from_url`].
    ///
    /// # Errors
    /// Those of [`RedisOptions::from_url`] and [`open`](Self::open).
    pub async fn connect(url: &str) -> Result<Self> {
        Self::open(RedisOptions::from_url(url)?).await
    }
}

/// What the scripts need to know of the limits.
fn limits(limits: &Limits) -> Vec<u8> {
    let farthest = limits.delay.as_secs();
    pack(&(limits.errors, limits.state_events_per_job, limits.events_per_job, farthest))
}

fn pauses() -> Vec<u8> {
    let pause = |attempt| windlass_core::kit::micros(Backoff::default().delay(attempt, 0.5));
    pack(&(1..=PAUSES).map(pause).collect::<Vec<_>>())
}

async fn check(inner: &Inner) -> Result<()> {
    let wrong = |error| explain(&inner.options, error);
    let mut info = redis::cmd("INFO");
    info.arg("server");
    let told = text(inner.main.send(&info).await.map_err(wrong)?)?;
    let version = told.lines().find_map(|line| line.strip_prefix("redis_version:"));
    let major = version.and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    if major.is_some_and(|major| major < OLDEST) {
        return Err(config(format!(
            "the server is of version {}: it must be {OLDEST}.0 or newer",
            version.unwrap_or_default().trim()
        )));
    }
    check_wait(inner).await?;
    let mut found = layout(inner).await.map_err(wrong)?;
    if found.is_none() {
        // A server at its `maxmemory` refuses this, which is why it is not tried where it would change nothing.
        let mut set = redis::cmd("HSETNX");
        set.arg(&inner.namespace).arg("layout").arg(LAYOUT);
        inner.main.send(&set).await.map_err(wrong)?;
        found = layout(inner).await.map_err(wrong)?;
    }
    if found.as_deref() != Some(LAYOUT.as_bytes()) {
        return Err(config(format!(
            "the namespace `{}` holds jobs in a layout that this version of the library doesn't know: use a newer version, or another namespace",
            inner.options.namespace
        )));
    }
    preflight::check(inner, wrong).await
}

/// The layout of the namespace, if it has one yet.
async fn layout(inner: &Inner) -> Reply<Option<Vec<u8>>> {
    let mut found = redis::cmd("HGET");
    found.arg(&inner.namespace).arg("layout");
    let found = inner.main.send(&found).await?;
    let odd = |_| RedisError::from((ErrorKind::Parse, "the layout has another shape"));
    maybe_bytes(found).map_err(odd)
}

/// Whether the server can wait as the options want it.
async fn check_wait(inner: &Inner) -> Result<()> {
    if !inner.options.copies.on_disk {
        return Ok(());
    }
    let mut wait = redis::cmd("WAITAOF");
    wait.arg(1).arg(0).arg(1);
    match inner.main.send(&wait).await {
        Ok(_) => Ok(()),
        Err(error) => match why_no_wait(&error) {
            Some(why) => Err(config(why)),
            None => Err(explain(&inner.options, error)),
        },
    }
}

/// What keeps a server from waiting for disks until somebody changes it.
fn why_no_wait(error: &RedisError) -> Option<&'static str> {
    if is_unknown_command(error) {
        return Some(
            "a wait for disks is asked for (`wait_on_disk`), and the server knows no `WAITAOF`: it must be of version 7.2 or newer",
        );
    }
    error.detail()?.contains("appendonly is disabled").then_some(
        "a wait for disks is asked for (`wait_on_disk`), and the server writes no append-only file (`appendonly no`): set it to `yes`",
    )
}

/// An error while opening.
fn explain(options: &RedisOptions, error: RedisError) -> windlass_core::Error {
    let user = options.connect.redis_settings().username().unwrap_or("default").to_owned();
    let refused = matches!(error.code(), Some("NOAUTH" | "WRONGPASS"))
        || error.kind() == ErrorKind::AuthenticationFailed;
    if refused {
        return config(format!(
            "the server does not let the user `{user}` in: check name and password in the URL"
        ));
    }
    if error.code() == Some("NOPERM") {
        return config(format!(
            "the user `{user}` lacks a right, see the list of rights in the documentation of windlass-redis; the server says: {}",
            error.detail().unwrap_or_default()
        ));
    }
    if error.code() == Some("WRONGTYPE") {
        return config(format!(
            "the key of the namespace `{}` holds something else: choose another namespace",
            options.namespace
        ));
    }
    if error.kind() == ErrorKind::MasterNameNotFoundBySentinel {
        return config(format!(
            "no Sentinel knows the service: check its name in {}",
            options.places()
        ));
    }
    if let Some(why) = certificate_error(&error) {
        return config(format!(
            "the certificate of {} is not accepted ({why}): name the authority that signed it (`ca` in the URL), and the server as its certificate does",
            options.places()
        ));
    }
    if error.kind() == ErrorKind::InvalidClientConfig {
        return config(format!(
            "the connection to {} can't be made as it is described",
            options.places()
        ));
    }
    translate("open", error)
}

#[cfg(test)]
mod tests {
    use redis::ServerErrorKind;

    use super::*;

    fn told(detail: &str) -> RedisError {
        RedisError::from((ErrorKind::Server(ServerErrorKind::ResponseError), "", detail.to_owned()))
    }

    /// As servers of 7.0 and 7.2 say it.
    #[test]
    fn a_server_that_never_syncs_is_told_at_opening() {
        let old = told("unknown command 'WAITAOF', with args beginning with: '1' '0' '1' ");
        assert!(why_no_wait(&old).unwrap().contains("7.2"));
        let off = "WAITAOF cannot be used when numlocal is set but appendonly is disabled.";
        assert!(why_no_wait(&told(off)).unwrap().contains("`appendonly no`"));
        let replica = "WAITAOF cannot be used with replica instances.";
        assert_eq!(why_no_wait(&told(replica)), None);
    }
}
