//! What `connect` does for `sqlite:`.

use windlass_core::{Client, Error, Limits, Result};

pub(crate) async fn connect(_url: &str, _limits: Limits) -> Result<Client> {
    Err(Error::Config("the SQLite backend is not there yet".into()))
}
