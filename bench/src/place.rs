//! Where the databases are that are measured.

use tempfile::TempDir;
use windlass_test_servers::{PostgresServer, RedisServer};

use crate::work::Result;

/// Makes databases of one backend.
pub enum Place {
    Memory,
    Sqlite,
    /// A server of the program's own, gone with it.
    Postgres(PostgresServer),
    /// The same.
    Redis(RedisServer),
}

/// A fresh database.
pub struct Database {
    pub url: String,
    /// Its name on the server.
    name: Option<String>,
    /// Its folder, gone with it.
    _folder: Option<TempDir>,
}

impl Place {
    pub async fn open(backend: &str) -> Result<Self> {
        Ok(match backend {
            "memory" => Self::Memory,
            "postgres" => Self::Postgres(PostgresServer::builder().start().await?),
            "redis" => Self::Redis(
                RedisServer::builder().setting("appendfsync", "everysec").start().await?,
            ),
            _ => Self::Sqlite,
        })
    }

    pub async fn create(&self) -> Result<Database> {
        let database = |url, name, _folder| Database { url, name, _folder };
        Ok(match self {
            Self::Memory => database("memory:".to_owned(), None, None),
            Self::Sqlite => {
                let folder = tempfile::tempdir()?;
                let url = format!("sqlite:{}", folder.path().join("jobs.db").display());
                database(url, None, Some(folder))
            }
            Self::Postgres(server) => {
                let name = server.create_database().await?;
                database(server.url(&name), Some(name), None)
            }
            Self::Redis(server) => database(server.url("bench"), None, None),
        })
    }

    pub async fn remove(&self, database: Database) -> Result<()> {
        if let (Self::Postgres(server), Some(name)) = (self, &database.name) {
            server.execute("postgres", &format!("DROP DATABASE {name} WITH (FORCE)")).await?;
        }
        if let Self::Redis(server) = self {
            server.command(&["FLUSHALL"]).await?;
        }
        Ok(())
    }
}
