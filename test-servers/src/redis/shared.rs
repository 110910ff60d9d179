//! The server that all tests of a process share.

use tokio::sync::OnceCell;

use super::server::{Redis, RedisServer};
use crate::error::Result;

enum Shared {
    Private(RedisServer),
    Given(Redis),
}

/// Also keeps a failure: else every test would try again, and take as long to fail.
static SHARED: OnceCell<Result<Shared>> = OnceCell::const_new();

pub(super) async fn get() -> Result<&'static Redis> {
    match SHARED.get_or_init(make).await {
        Ok(Shared::Private(server)) => Ok(server),
        Ok(Shared::Given(address)) => Ok(address),
        Err(e) => Err(e.clone()),
    }
}

async fn make() -> Result<Shared> {
    let given = std::env::var("REDIS_URL").unwrap_or_default();
    if given.starts_with("redis:") {
        return Ok(Shared::Given(Redis::new(&given)));
    }
    // Nobody can break it, so nothing needs to survive; tests of crashes start servers of their own.
    let builder = RedisServer::builder().setting("appendfsync", "no");
    Ok(Shared::Private(builder.start().await?))
}
