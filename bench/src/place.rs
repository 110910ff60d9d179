//! Where the databases are that are measured.

use std::time::Duration;

use tempfile::TempDir;
use windlass_test_servers::{PostgresServer, RedisServer};

use crate::Result;
use crate::usage::{self, Usage};

/// A log of Redis that has so many bytes is written anew between two runs.
const LOG: u64 = 64 << 20;
/// How often it is looked whether it is.
const LOOK: Duration = Duration::from_millis(10);

/// Makes databases of one backend.
pub enum Place {
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
            // Enough for the clients that stand for processes.
            "postgres" => Self::Postgres(
                PostgresServer::builder().setting("max_connections", "500").start().await?,
            ),
            "redis" => Self::Redis(
                // A log that is rewritten in the middle of a run doesn't tell what the run wrote.
                RedisServer::builder()
                    .setting("appendfsync", "everysec")
                    .setting("auto-aof-rewrite-percentage", "0")
                    .start()
                    .await?,
            ),
            _ => Self::Sqlite,
        })
    }

    pub async fn create(&self) -> Result<Database> {
        let database = |url, name, _folder| Database { url, name, _folder };
        Ok(match self {
            Self::Sqlite => {
                let folder = tempfile::tempdir()?;
                let url = format!("sqlite:{}", folder.path().join("jobs.db").display());
                database(url, None, Some(folder))
            }
            Self::Postgres(server) => {
                let name = server.create_database().await?;
                database(server.url(&name), Some(name), None)
            }
            Self::Redis(server) => database(server.base_url().to_owned(), None, None),
        })
    }

    pub async fn remove(&self, database: Database) -> Result<()> {
        if let (Self::Postgres(server), Some(name)) = (self, &database.name) {
            server.execute("postgres", &format!("DROP DATABASE {name} WITH (FORCE)")).await?;
        }
        if let Self::Redis(server) = self {
            server.command(&["FLUSHALL"]).await?;
            if server.info("aof_current_size").await?.parse::<u64>()? > LOG {
                server.command(&["BGREWRITEAOF"]).await?;
                while rewriting(server).await? {
                    tokio::time::sleep(LOOK).await;
                }
            }
        }
        Ok(())
    }

    /// What a process that works on a database, and the server, have used so far.
    pub async fn usage(&self, database: &Database, pid: u32) -> Result<Usage> {
        let client =
            Usage { client_cpu: usage::cpu(pid)?, peak: usage::peak(pid)?, ..Usage::default() };
        Ok(match self {
            Self::Sqlite => Usage { written: usage::written(pid)?, ..client },
            Self::Postgres(server) => {
                let file = server.folder().join("data/postmaster.pid");
                let lines = std::fs::read_to_string(file)?;
                let pid = lines.lines().next().unwrap_or_default().parse()?;
                let ask = "SELECT (SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database())
                    || ' ' || (pg_current_wal_lsn() - '0/0')";
                let name = database.name.as_deref().unwrap_or("postgres");
                let answer = server.value(name, ask).await?.unwrap_or_default();
                let (queries, written) = answer.split_once(' ').ok_or("no statistics")?;
                let (queries, written) = (queries.parse()?, written.parse()?);
                Usage { server_cpu: usage::cpu(pid)?, queries, written, ..client }
            }
            Self::Redis(server) => Usage {
                server_cpu: usage::cpu(server.info("process_id").await?.parse()?)?,
                queries: server.info("total_reads_processed").await?.parse()?,
                written: server.info("aof_current_size").await?.parse()?,
                rewrites: server.info("aof_rewrites").await?.parse()?,
                rewriting: rewriting(server).await?,
                ..client
            },
        })
    }

    /// The version of the server, where there is one.
    pub async fn server(&self) -> Result<Option<String>> {
        Ok(match self {
            Self::Sqlite => None,
            Self::Postgres(server) => {
                let version = server.value("postgres", "SHOW server_version").await?;
                version.map(|version| format!("PostgreSQL {version}"))
            }
            Self::Redis(server) => Some(format!("Redis {}", server.info("redis_version").await?)),
        })
    }
}

/// Whether a server writes its log anew, or is about to.
async fn rewriting(server: &RedisServer) -> Result<bool> {
    Ok(server.info("aof_rewrite_in_progress").await? == "1"
        || server.info("aof_rewrite_scheduled").await? == "1")
}
