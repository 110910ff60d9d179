//! An empty server's data, made once by each process: `initdb` takes more than a second, a copy takes a tenth of it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::server::PASSWORD;
use crate::error::Result;
use crate::home::{Home, run};

/// By the folder of the programs, that is, by version. Never dropped; the watchdogs remove them.
static TEMPLATES: Mutex<Option<HashMap<PathBuf, Home>>> = Mutex::new(None);

/// Where a PostgreSQL server lives.
pub(super) fn home() -> Result<Home> {
    Home::new("postgres", "QUIT", "postgres", "postgresql")
}

/// Fills the data folder of a new server. Those that start at the same time wait for the first, which is faster than doing the same.
pub(super) fn fill(home: &Home, bin: &Path, data: &Path) -> Result<()> {
    let mut templates = TEMPLATES.lock().unwrap_or_else(PoisonError::into_inner);
    let templates = templates.get_or_insert_default();
    if !templates.contains_key(bin) {
        templates.insert(bin.to_owned(), make(bin)?);
    }
    let Some(template) = templates.get(bin) else { return Ok(()) };
    let from = template.path().join("data").join(".");
    run(home.command(Path::new("cp")).args(["-a", "--reflink=auto"]).arg(from).arg(data))
}

fn make(bin: &Path) -> Result<Home> {
    let home = home()?;
    let data = home.make_folder("data")?;
    let password = home.write("password", PASSWORD)?;
    let mut initdb = home.command(&bin.join("initdb"));
    initdb.arg("--pgdata").arg(data).arg("--pwfile").arg(password);
    // Fast, as nothing needs to survive a power cut before a server is up.
    initdb.args(["--username=postgres", "--auth=scram-sha-256", "--no-sync"]);
    run(initdb.args(["--encoding=UTF8", "--locale=C.UTF-8"]))?;
    Ok(home)
}
