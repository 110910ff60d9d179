//! Where the databases are that are measured.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tempfile::TempDir;
use windlass_test_servers::{PostgresServer, RedisServer};

use crate::Result;
use crate::usage::{self, Usage};

/// A log of Redis that has grown by so many bytes is written anew between two runs.
const LOG: u64 = 64 << 20;
/// How many databases a Redis server has, unless it is told otherwise.
const NUMBERS: u32 = 16;
/// How often it is looked whether it is.
const LOOK: Duration = Duration::from_millis(10);

/// Makes databases of one backend.
pub enum Place {
    Sqlite,
    /// A server of the program's own, gone with it.
    Postgres(PostgresServer),
    /// The same, and the numbers of databases that are free, the next one last.
    Redis(RedisServer, Mutex<Vec<u32>>),
}

/// A fresh database.
pub struct Database {
    pub url: String,
    /// Its name or number on the server.
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
            "redis" => {
                // A log that is rewritten in the middle of a run doesn't tell what the run wrote.
                let server = RedisServer::builder()
                    .setting("appendfsync", "everysec")
                    .setting("auto-aof-rewrite-percentage", "0");
                Self::Redis(server.start().await?, Mutex::new((0..NUMBERS).rev().collect()))
            }
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
            Self::Redis(server, free) => {
                let number = free.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let number = number.ok_or("all databases of the server are in use")?;
                let url = server.base_url();
                let url = format!("{}/{number}", url.strip_suffix("/0").unwrap_or(url));
                database(url, Some(number.to_string()), None)
            }
        })
    }

    pub async fn remove(&self, database: Database) -> Result<()> {
        if let (Self::Postgres(server), Some(name)) = (self, &database.name) {
            server.execute("postgres", &format!("DROP DATABASE {name} WITH (FORCE)")).await?;
        }
        if let (Self::Redis(server, free), Some(number)) = (self, &database.name) {
            server.command(&["-n", number, "FLUSHDB"]).await?;
            free.lock().unwrap_or_else(PoisonError::into_inner).push(number.parse()?);
            if log(server, "current").await? > log(server, "base").await? + LOG {
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
            Self::Redis(server, _) => Usage {
                server_cpu: usage::cpu(server.info("process_id").await?.parse()?)?,
                queries: server.info("total_reads_processed").await?.parse()?,
                written: log(server, "current").await? as f64,
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
            Self::Redis(server, _) => {
                Some(format!("Redis {}", server.info("redis_version").await?))
            }
        })
    }
}

/// How many bytes the log of a server has, or had when it was written anew.
async fn log(server: &RedisServer, when: &str) -> Result<u64> {
    Ok(server.info(&format!("aof_{when}_size")).await?.parse()?)
}

/// Whether a server writes its log anew, or is about to.
async fn rewriting(server: &RedisServer) -> Result<bool> {
    Ok(server.info("aof_rewrite_in_progress").await? == "1"
        || server.info("aof_rewrite_scheduled").await? == "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn databases_of_one_redis_are_apart_and_are_used_again() {
        let place = Place::open("redis").await.unwrap();
        let Place::Redis(server, _) = &place else { panic!("another place") };
        let (first, second) = (place.create().await.unwrap(), place.create().await.unwrap());
        assert!(first.url.ends_with("/0") && second.url.ends_with("/1"));
        for number in ["0", "1"] {
            server.command(&["-n", number, "SET", "key", "value"]).await.unwrap();
        }
        place.remove(first).await.unwrap();
        let size = async |number| server.command(&["-n", number, "DBSIZE"]).await.unwrap();
        assert_eq!((size("0").await.trim(), size("1").await.trim()), ("0", "1"));
        assert!(place.create().await.unwrap().url.ends_with("/0"));
    }
}
