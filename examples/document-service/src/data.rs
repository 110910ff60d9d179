//! Users, tokens and documents, in SQLite or Postgres, and the jobs that are committed with them.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool};
use uuid::Uuid;
use windlass::outbox::{Outbox, OutboxStore};
use windlass::postgres::{PostgresBackend, PostgresOptions};
use windlass::sqlite::{SqliteBackend, SqliteOptions};
use windlass::{Client, Draft, JobId, Storage};

use crate::Fatal;
use crate::compare::Compare;
use crate::error::Failed;

type Result<T> = std::result::Result<T, Failed>;

const SCHEMA: &str = include_str!("schema.sql");
/// With a lock, so that processes that start at the same time don't meet.
const POSTGRES_SCHEMA: &str =
    concat!("SELECT pg_advisory_xact_lock(4716023);", include_str!("schema.sql"));

pub enum Data {
    Sqlite(Side<SqliteBackend, SqlitePool>),
    Postgres(Side<PostgresBackend, PgPool>),
}

/// A database, and the way from its transactions to the jobs.
pub struct Side<B: OutboxStore, P> {
    pool: P,
    /// How a transaction that writes begins.
    begin: &'static str,
    local: Client<B>,
    /// There when jobs run on another backend than this database.
    outbox: Option<Outbox<B>>,
}

/// The same statements for either database.
macro_rules! on {
    ($data:expr, $side:ident => $body:expr) => {
        match $data {
            Data::Sqlite($side) => $body,
            Data::Postgres($side) => $body,
        }
    };
}

/// A request to compare two files.
pub struct NewDocument<'a> {
    pub owner: &'a str,
    pub idempotency_key: Option<&'a str>,
    /// Tells a repeated request from another one under the same key.
    pub digest: &'a str,
    pub payload: &'a Value,
}

/// What is wrong with an option's place.
fn of(option: &str, error: &windlass::Error) -> String {
    format!("`{option}`: {}", crate::error::with_causes(error))
}

pub enum Added {
    New,
    /// The owner has used the idempotency key before.
    Before {
        job: JobId,
        same: bool,
    },
}

impl Data {
    /// Opens the database, and the backend of the jobs.
    pub async fn open(
        database: Option<&str>,
        jobs: Option<&str>,
        dir: &Path,
        storage: &Arc<dyn Storage>,
    ) -> std::result::Result<(Self, Client), Fatal> {
        let elsewhere = match jobs {
            Some(url) => {
                let client = windlass::connect(url).await.map_err(|e| of("--jobs", &e))?;
                Some(client.with_storage(storage.clone()))
            }
            None => None,
        };
        if elsewhere.as_ref().is_some_and(|client| !client.capabilities().durable) {
            return Err(
                "`--jobs` names a backend that forgets jobs: use one that keeps them".into()
            );
        }
        match database {
            Some(url) if url.starts_with("postgres") => {
                let local = PostgresOptions::from_url(url).map_err(|e| of("--database", &e))?;
                let local = PostgresBackend::open(local).await;
                let local = local.map_err(|e| of("--database", &e))?;
                let options = PgConnectOptions::from_str(url)?;
                let pool = PgPoolOptions::new().acquire_timeout(Duration::from_secs(30));
                let pool = pool.connect_with(options).await?;
                sqlx::raw_sql(POSTGRES_SCHEMA).execute(&pool).await?;
                let (side, jobs) = Side::new(pool, "BEGIN", local, elsewhere, storage);
                Ok((Self::Postgres(side), jobs))
            }
            Some(url) if !url.starts_with("sqlite:") => {
                Err("`--database` takes `sqlite:FILE` or `postgres://user@host/database`".into())
            }
            other => {
                let options = match other {
                    Some(url) => SqliteOptions::from_url(url).map_err(|e| of("--database", &e))?,
                    // By its path, which may hold characters that mean something in a URL.
                    None => SqliteOptions::new(dir.join("service.db")),
                };
                let file = SqliteConnectOptions::new().filename(options.path());
                let local = SqliteBackend::open(options).await;
                let local = local.map_err(|e| of("--database", &e))?;
                let file = file.journal_mode(SqliteJournalMode::Wal);
                let pool = windlass::sqlite::pool_options().max_connections(4);
                let pool = pool.connect_with(file.busy_timeout(Duration::from_secs(10))).await?;
                sqlx::raw_sql(SCHEMA).execute(&pool).await?;
                let (side, jobs) = Side::new(pool, "BEGIN IMMEDIATE", local, elsewhere, storage);
                Ok((Self::Sqlite(side), jobs))
            }
        }
    }

    /// Answers when the database can be read.
    pub async fn ping(&self) -> Result<()> {
        on!(self, side => sqlx::query("SELECT 1").execute(&side.pool).await.map(drop)?);
        Ok(())
    }

    /// Moves jobs to where they run until `stop`; without such a place it only waits.
    pub async fn relay(&self, stop: impl Future) -> windlass::Result<()> {
        on!(self, side => match &side.outbox {
            Some(outbox) => outbox.relay().run_until(stop).await.map(drop),
            None => {
                stop.await;
                Ok(())
            }
        })
    }

    /// Adds a user; false when the name is taken.
    pub async fn add_user(&self, email: &str, password: &str) -> Result<bool> {
        let sql =
            "INSERT INTO users (id, email, password) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        let id = Uuid::now_v7().to_string();
        let added = on!(self, side => sqlx::query(sql)
            .bind(id).bind(email).bind(password).execute(&side.pool).await?.rows_affected());
        Ok(added == 1)
    }

    pub async fn has_users(&self) -> Result<bool> {
        let sql = "SELECT count(*) FROM users";
        let count: i64 = on!(self, side => sqlx::query_scalar(sql).fetch_one(&side.pool).await?);
        Ok(count > 0)
    }

    /// A user's id and hashed password.
    pub async fn user(&self, email: &str) -> Result<Option<(String, String)>> {
        let sql = "SELECT id, password FROM users WHERE email = $1";
        Ok(on!(self, side => sqlx::query_as(sql).bind(email).fetch_optional(&side.pool).await?))
    }

    /// Keeps a token, and forgets those that have expired.
    pub async fn add_token(&self, digest: &str, owner: &str, expires_at: i64) -> Result<()> {
        let now = Timestamp::now().as_second();
        let old = "DELETE FROM tokens WHERE expires_at <= $1";
        let new = "INSERT INTO tokens (digest, owner, expires_at) VALUES ($1, $2, $3)";
        on!(self, side => {
            sqlx::query(old).bind(now).execute(&side.pool).await?;
            sqlx::query(new).bind(digest).bind(owner).bind(expires_at).execute(&side.pool).await?;
        });
        Ok(())
    }

    /// Whose token it is, and when it expires.
    pub async fn token(&self, digest: &str) -> Result<Option<(String, i64)>> {
        let sql = "SELECT owner, expires_at FROM tokens WHERE digest = $1 AND expires_at > $2";
        let now = Timestamp::now().as_second();
        Ok(on!(self, side => sqlx::query_as(sql)
            .bind(digest).bind(now).fetch_optional(&side.pool).await?))
    }

    /// Adds a document and its job: both, or neither. `taken` is told `true` before the commit, after which it may be both even if nobody hears
    /// of it, and `false` when the database has refused.
    pub async fn add_document(
        &self,
        document: NewDocument<'_>,
        job: Draft<Compare>,
        id: JobId,
        mut taken: impl FnMut(bool) + Send,
    ) -> Result<Added> {
        let NewDocument { owner, idempotency_key: key, digest, payload } = document;
        let insert =
            "INSERT INTO documents (job, owner, digest, payload, idempotency_key, created_at)
            VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
        let before = "SELECT job, digest FROM documents WHERE owner = $1 AND idempotency_key = $2";
        let now = Timestamp::now().as_millisecond();
        on!(self, side => {
            let mut tx = side.pool.begin_with(side.begin).await?;
            let added = sqlx::query(insert).bind(id.to_string()).bind(owner).bind(digest);
            let added = added.bind(payload.to_string()).bind(key).bind(now);
            if added.execute(&mut *tx).await?.rows_affected() == 0 {
                let before = sqlx::query_as::<_, (String, String)>(before).bind(owner).bind(key);
                let (job, earlier) = before.fetch_one(&mut *tx).await?;
                return Ok(Added::Before { job: job.parse()?, same: earlier == digest });
            }
            side.enqueue_in(&mut tx, job).await?;
            taken(true);
            let committed = tx.commit().await;
            taken(!matches!(committed, Err(sqlx::Error::Database(_))));
            committed?;
        });
        Ok(Added::New)
    }

    /// When a document of this owner was made, and what is in it; `None` when there is none.
    pub async fn document(&self, owner: &str, job: JobId) -> Result<Option<(Timestamp, Value)>> {
        let sql = "SELECT created_at, payload FROM documents WHERE job = $1 AND owner = $2";
        let found: Option<(i64, String)> = on!(self, side => sqlx::query_as(sql)
            .bind(job.to_string()).bind(owner).fetch_optional(&side.pool).await?);
        let Some((at, payload)) = found else { return Ok(None) };
        let payload = serde_json::from_str(&payload).map_err(Failed::internal)?;
        Ok(Some((Timestamp::from_millisecond(at).unwrap_or_default(), payload)))
    }
}

impl<B: OutboxStore, P> Side<B, P> {
    fn new(
        pool: P,
        begin: &'static str,
        local: B,
        elsewhere: Option<Client>,
        storage: &Arc<dyn Storage>,
    ) -> (Self, Client) {
        let local = Client::new(Arc::new(local)).with_storage(storage.clone());
        let outbox = elsewhere.as_ref().map(|jobs| Outbox::new(&local, jobs));
        let jobs = elsewhere.unwrap_or_else(|| local.erase());
        (Self { pool, begin, local, outbox }, jobs)
    }

    async fn enqueue_in(&self, conn: &mut B::Conn, job: Draft<Compare>) -> windlass::Result<()> {
        match &self.outbox {
            Some(outbox) => outbox.enqueue_in(conn, job).await.map(drop),
            None => self.local.enqueue_in(conn, job).await.map(drop),
        }
    }
}
