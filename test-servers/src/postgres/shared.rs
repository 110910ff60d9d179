//! The server that all tests of a process share.

use tokio::sync::OnceCell;

use super::address::Postgres;
use super::server::PostgresServer;
use crate::error::Result;

enum Shared {
    Private(PostgresServer),
    Given(Postgres),
}

/// Also keeps a failure: else every test would try again, and take as long to fail.
static SHARED: OnceCell<Result<Shared>> = OnceCell::const_new();

pub(super) async fn get() -> Result<&'static Postgres> {
    match SHARED.get_or_init(make).await {
        Ok(Shared::Private(server)) => Ok(server),
        Ok(Shared::Given(address)) => Ok(address),
        Err(e) => Err(e.clone()),
    }
}

async fn make() -> Result<Shared> {
    let given = std::env::var("DATABASE_URL").unwrap_or_default();
    if given.starts_with("postgres:") || given.starts_with("postgresql:") {
        return Ok(Shared::Given(Postgres::new(&given)?));
    }
    // Nobody can break it, so nothing needs to survive; tests of crashes start servers of their own.
    let builder = PostgresServer::builder().setting("fsync", "off");
    Ok(Shared::Private(builder.setting("full_page_writes", "off").start().await?))
}
