//! Where the jobs are: the backend as a process opens it, and the host's own rows beside them.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqliteSynchronous};
use windlass::postgres::{PostgresBackend, PostgresOptions};
use windlass::redis::{RedisBackend, RedisOptions};
use windlass::sqlite::{SqliteBackend, SqliteOptions};
use windlass::{
    AttemptOutcome, Client, Context, Inserted, LeaseKey, NewJob, Settled, Settlement, State,
    Transactional as _,
};
use windlass_checker::Recorder;
use windlass_checker::history::What;

use crate::Result;
use crate::history::History;
use crate::keys::Keys;
use crate::seam::Seam;

/// Tables of the host application: effects that commit with a completion, and rows that commit with an insert. And one for what is written to see
/// whether it can be.
pub const TABLES: &str = "CREATE TABLE IF NOT EXISTS chaos_effects (job text NOT NULL, epoch bigint NOT NULL, claim text NOT NULL);
    CREATE TABLE IF NOT EXISTS chaos_rows (job text NOT NULL);
    CREATE TABLE IF NOT EXISTS chaos_probes (bytes text NOT NULL)";
const EFFECT: &str = "INSERT INTO chaos_effects (job, epoch, claim) VALUES ($1, $2, $3)";
const ROW: &str = "INSERT INTO chaos_rows (job) VALUES ($1)";
/// How long anything may wait for a connection or an answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// The host's side of the same database.
#[derive(Debug, Clone)]
pub enum Host {
    /// A file.
    Sqlite(SqlitePool, Client<Recorder<SqliteBackend, Seam>>),
    /// A database.
    Postgres(PgPool, Client<Recorder<PostgresBackend, Seam>>),
    /// None: Redis has no host transactions.
    Redis,
}

/// Opens the backend at a URL, through a recorder.
pub async fn open(url: &str, history: &History, keys: &Keys) -> Result<(Client, Host)> {
    let seam = Seam::new(history.clone(), keys.clone());
    if url.starts_with("sqlite:") {
        let options = SqliteOptions::from_url(url)?.busy_timeout(PATIENCE);
        let client = recorded(SqliteBackend::open(options).await?, seam);
        let host = SqliteConnectOptions::from_str(url)?.busy_timeout(PATIENCE);
        let host = host.synchronous(SqliteSynchronous::Full);
        let pool = windlass::sqlite::pool_options().max_connections(2).acquire_timeout(PATIENCE);
        return Ok((client.erase(), Host::Sqlite(pool.connect_with(host).await?, client)));
    }
    if url.starts_with("postgres:") {
        let options = PostgresOptions::from_url(url)?.connections(6);
        let options = options.acquire_timeout(PATIENCE).statement_timeout(PATIENCE);
        let client = recorded(PostgresBackend::open(options).await?, seam);
        let pool = PgPoolOptions::new().max_connections(4).acquire_timeout(PATIENCE);
        return Ok((client.erase(), Host::Postgres(pool.connect_lazy(url)?, client)));
    }
    let options = RedisOptions::from_url(url)?.connect_timeout(PATIENCE).response_timeout(PATIENCE);
    Ok((recorded(RedisBackend::open(options).await?, seam).erase(), Host::Redis))
}

fn recorded<B: windlass::Backend>(backend: B, seam: Seam) -> Client<Recorder<B, Seam>> {
    Client::new(Arc::new(Recorder::new(Arc::new(backend), seam)))
}

/// Whether a completion is to be committed with what belongs to it. A job that an operator has cancelled ends without.
fn counts(settled: &Settled) -> bool {
    matches!(settled, Settled::Applied { state: State::Completed })
}

/// Writes down how a commit with a completion ended.
fn note(key: LeaseKey, committed: sqlx::Result<()>, history: &History) -> Result<()> {
    match committed {
        Ok(()) => {
            history.record(What::Committed { key });
            Ok(())
        }
        Err(error) => {
            history.record(What::CommitFailed { key, error: error.to_string() });
            Err(error.into())
        }
    }
}

/// How an insert beside a row of the host's ended.
#[derive(Debug)]
pub enum Beside {
    /// Committed.
    Committed(Inserted),
    /// Rolled back, as was asked.
    RolledBack,
}

impl Host {
    /// Whether there are host transactions.
    pub fn transactional(&self) -> bool {
        !matches!(self, Self::Redis)
    }

    /// Writes the effect of the job at hand and completes it, in one transaction. Nothing but the commit counts.
    pub async fn complete<S: Send + Sync>(
        &self,
        cx: &Context<S>,
        key: LeaseKey,
        history: &History,
    ) -> Result<()> {
        let (job, epoch, claim) = (key.job.to_string(), key.epoch.0, key.claim_id.to_string());
        let committed = match self {
            Self::Sqlite(pool, client) => {
                let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
                let effect = sqlx::query(EFFECT).bind(job).bind(epoch).bind(claim);
                effect.execute(&mut *tx).await?;
                client.complete_in(&mut tx, cx, &()).await?;
                tx.commit().await
            }
            Self::Postgres(pool, client) => {
                let mut tx = pool.begin().await?;
                let effect = sqlx::query(EFFECT).bind(job).bind(i64::from(epoch)).bind(claim);
                effect.execute(&mut *tx).await?;
                client.complete_in(&mut tx, cx, &()).await?;
                tx.commit().await
            }
            Self::Redis => return Ok(()),
        };
        note(key, committed, history)
    }

    /// Writes the effect of a job and completes it in one transaction, though its lease is lost: nothing of that may stay if it is refused.
    pub async fn insist(&self, key: LeaseKey, history: &History) -> Result<()> {
        let (job, epoch, claim) = (key.job.to_string(), key.epoch.0, key.claim_id.to_string());
        let outcome = AttemptOutcome::Completed { result: None, blobs: Vec::new() };
        let late = Settlement::new(key, outcome);
        let committed = match self {
            Self::Sqlite(pool, client) => {
                let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
                let effect = sqlx::query(EFFECT).bind(job).bind(epoch).bind(claim);
                effect.execute(&mut *tx).await?;
                let settled = client.backend().settle_in(&mut tx, &late).await?;
                // A host that is refused rolls back.
                if !counts(&settled) {
                    return Ok(());
                }
                tx.commit().await
            }
            Self::Postgres(pool, client) => {
                let mut tx = pool.begin().await?;
                let effect = sqlx::query(EFFECT).bind(job).bind(i64::from(epoch)).bind(claim);
                effect.execute(&mut *tx).await?;
                let settled = client.backend().settle_in(&mut tx, &late).await?;
                if !counts(&settled) {
                    return Ok(());
                }
                tx.commit().await
            }
            Self::Redis => return Ok(()),
        };
        note(key, committed, history)
    }

    /// Inserts a job and a row of the host's in one transaction, and commits it or rolls it back.
    pub async fn insert(&self, job: NewJob, commit: bool) -> Result<Beside> {
        let id = job.id.to_string();
        let inserted = match self {
            Self::Sqlite(pool, client) => {
                let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
                sqlx::query(ROW).bind(id).execute(&mut *tx).await?;
                let inserted = client.insert_in(&mut tx, vec![job]).await?;
                if commit {
                    tx.commit().await?;
                }
                inserted
            }
            Self::Postgres(pool, client) => {
                let mut tx = pool.begin().await?;
                sqlx::query(ROW).bind(id).execute(&mut *tx).await?;
                let inserted = client.insert_in(&mut tx, vec![job]).await?;
                if commit {
                    tx.commit().await?;
                }
                inserted
            }
            Self::Redis => return Err("Redis has no host transactions".into()),
        };
        match inserted.into_iter().next() {
            Some(inserted) if commit => Ok(Beside::Committed(inserted)),
            _ => Ok(Beside::RolledBack),
        }
    }
}
