//! The end of a run: waits until nothing is left to do, and reads what is in the store.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use windlass::{ClaimId, Client, Event, JobFilter, JobId, JobQuery, JobRecord, Position, State};
use windlass_checker::{Change, Committed, Evidence, FinalJob, Promises};

use crate::Result;
use crate::history;
use crate::place::TABLES;

/// Jobs whose histories are read at once.
const AT_ONCE: usize = 6;
const PAGE: usize = 500;
/// The states of jobs that have not ended.
const OPEN: [State; 5] =
    [State::Blocked, State::Available, State::Running, State::Retryable, State::Scheduled];
/// How long a server that was just healed may refuse.
const PATIENCE: Duration = Duration::from_secs(30);

/// The store and the host's tables, around all faults.
pub(super) struct Direct {
    client: Client,
    host: Host,
}

enum Host {
    Sqlite(SqlitePool),
    Postgres(PgPool),
    None,
}

/// Opens the backend, which makes its schema, and makes the host's tables.
pub(super) async fn open(url: &str) -> Result<Direct> {
    let client = windlass::connect(url).await?;
    let host = if url.starts_with("sqlite:") {
        let options = SqliteConnectOptions::from_str(url)?.busy_timeout(PATIENCE);
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
        sqlx::raw_sql(TABLES).execute(&pool).await?;
        Host::Sqlite(pool)
    } else if url.starts_with("postgres:") {
        let pool = PgPoolOptions::new().max_connections(1).connect(url).await?;
        sqlx::raw_sql(TABLES).execute(&pool).await?;
        Host::Postgres(pool)
    } else {
        Host::None
    };
    Ok(Direct { client, host })
}

/// Asks until there is an answer, or none will come: a server that was just healed may refuse for a while.
pub(super) async fn again<T, F, Fut>(mut call: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = windlass::Result<T>>,
{
    let begun = Instant::now();
    loop {
        match call().await {
            Ok(answer) => return Ok(answer),
            Err(error) if error.is_transient() && begun.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

impl Direct {
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Has nothing open any more.
    pub(super) async fn close(&self) {
        if let Err(error) = self.client.close().await {
            eprintln!("can't close the backend: {error}");
        }
        match &self.host {
            Host::Sqlite(pool) => pool.close().await,
            Host::Postgres(pool) => pool.close().await,
            Host::None => {}
        }
    }

    /// The database and its version.
    pub(super) async fn version(&self) -> Result<String> {
        Ok(match &self.host {
            Host::Sqlite(pool) => {
                let version: String =
                    sqlx::query_scalar("SELECT sqlite_version()").fetch_one(pool).await?;
                format!("SQLite {version}")
            }
            Host::Postgres(pool) => {
                let version: String =
                    sqlx::query_scalar("SHOW server_version").fetch_one(pool).await?;
                format!("PostgreSQL {version}")
            }
            Host::None => self.client.backend().name().to_owned(),
        })
    }

    /// The host's effects.
    pub(super) async fn effects(&self) -> Result<Vec<Committed>> {
        let sql = "SELECT job, epoch, claim FROM chaos_effects";
        let rows: Vec<(String, i64, String)> = match &self.host {
            Host::Sqlite(pool) => sqlx::query_as(sql).fetch_all(pool).await?,
            Host::Postgres(pool) => sqlx::query_as(sql).fetch_all(pool).await?,
            Host::None => Vec::new(),
        };
        let effect = |(job, epoch, claim): (String, i64, String)| {
            let (job, claim): (JobId, ClaimId) = (job.parse()?, claim.parse()?);
            Ok(Committed { job, epoch: u32::try_from(epoch)?, claim })
        };
        rows.into_iter().map(effect).collect()
    }

    /// Jobs with a row of the host's.
    pub(super) async fn rows(&self) -> Result<Vec<JobId>> {
        let sql = "SELECT job FROM chaos_rows";
        let rows: Vec<String> = match &self.host {
            Host::Sqlite(pool) => sqlx::query_scalar(sql).fetch_all(pool).await?,
            Host::Postgres(pool) => sqlx::query_scalar(sql).fetch_all(pool).await?,
            Host::None => Vec::new(),
        };
        rows.iter().map(|job| Ok(job.parse()?)).collect()
    }
}

/// Waits until every job has ended, or for as long as that may take: the checker sees what is left.
pub(super) async fn drain(direct: &Direct, patience: Duration) -> Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < patience {
        match direct.client.stats().await {
            Ok(stats) if OPEN.iter().all(|state| stats.in_state(*state) == 0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.is_transient() => {}
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    eprintln!("jobs are left after {patience:?}");
    Ok(())
}

/// The jobs in some states (any, if none is named) that are wanted, with their histories, and the last position of their state changes.
pub(super) async fn read_jobs(
    direct: &Direct,
    states: &[State],
    wanted: impl Fn(&JobRecord) -> bool,
) -> Result<(Vec<FinalJob>, Option<Position>)> {
    let (mut jobs, mut last) = (Vec::new(), None);
    let filter = JobFilter::default().states(states.iter().copied());
    let mut query = JobQuery::from(filter).oldest_first().limit(PAGE);
    loop {
        let page = again(|| direct.client.list(query.clone())).await?;
        let read = page.items.into_iter().filter(&wanted);
        let read = read.map(|job| with_history(direct.client.clone(), job));
        let read: Vec<_> = stream::iter(read).buffered(AT_ONCE).try_collect().await?;
        for (job, position) in read {
            jobs.push(job);
            last = last.max(position);
        }
        let Some(next) = page.next else { return Ok((jobs, last)) };
        query = query.after(Some(next));
    }
}

async fn with_history(client: Client, job: JobRecord) -> Result<(FinalJob, Option<Position>)> {
    let events: Vec<Event> = again(|| client.history(job.id)).await?;
    let changes =
        events.iter().filter_map(|event| Some((Change::of(&event.body)?, event.position)));
    let (changes, positions): (Vec<_>, Vec<_>) = changes.unzip();
    Ok((FinalJob::of(&job, changes), positions.into_iter().max()))
}

fn write<T: Serialize>(path: &Path, lines: impl IntoIterator<Item = T>) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for line in lines {
        serde_json::to_writer(&mut file, &line)?;
        file.write_all(b"\n")?;
    }
    Ok(file.flush()?)
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let lines = BufReader::new(File::open(path)?).lines();
    lines.map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}

/// Keeps the evidence beside the histories, so that it can be checked again.
pub(super) fn keep(evidence: &Evidence, folder: &Path) -> Result<()> {
    write(&folder.join("jobs.jsonl"), &evidence.jobs)?;
    write(&folder.join("effects.jsonl"), &evidence.effects)?;
    write(&folder.join("rows.jsonl"), &evidence.rows)?;
    write(&folder.join("damage.jsonl"), &evidence.damage)?;
    if let Some(told) = &evidence.told {
        write(&folder.join("told.jsonl"), told)?;
    }
    write(&folder.join("steady.jsonl"), &evidence.steady)?;
    write(&folder.join("limits.jsonl"), &evidence.limits)?;
    write(&folder.join("promises.jsonl"), [evidence.promises])
}

/// Reads what was kept.
pub(super) fn kept(folder: &Path) -> Result<Evidence> {
    let promises: Vec<Promises> = read(&folder.join("promises.jsonl"))?;
    Ok(Evidence {
        entries: history::read(&folder.join("histories"))?,
        jobs: read(&folder.join("jobs.jsonl"))?,
        effects: read(&folder.join("effects.jsonl"))?,
        rows: read(&folder.join("rows.jsonl"))?,
        damage: read(&folder.join("damage.jsonl"))?,
        told: match folder.join("told.jsonl") {
            told if told.exists() => Some(read(&told)?),
            _ => None,
        },
        limits: read(&folder.join("limits.jsonl"))?,
        steady: read(&folder.join("steady.jsonl"))?.pop(),
        promises: promises.into_iter().next().ok_or("no promises are kept")?,
    })
}
