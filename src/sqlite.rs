//! What `connect` does for `sqlite:`.

use std::sync::Arc;

use windlass_core::{Client, Limits, Result};
use windlass_sqlite::{SqliteBackend, SqliteOptions};

pub(crate) async fn connect(url: &str, limits: Limits) -> Result<Client> {
    let backend = SqliteBackend::open(SqliteOptions::from_url(url)?.limits(limits)).await?;
    Ok(Client::new(Arc::new(backend)))
}
