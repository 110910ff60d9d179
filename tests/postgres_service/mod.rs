//! A service on a Postgres database, to which things happen: what was acknowledged must end as it should.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use windlass::postgres::{PostgresBackend, PostgresOptions};
use windlass::{Client, Context, Job, JobId, Outcome, RunningWorker, State, Worker};
use windlass_test_servers::PostgresServer;

pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Writes a row of the host's that commits with the completion.
#[derive(Job, Serialize, Deserialize)]
#[job(kind = "effect", max_attempts = 50, backoff(base = "50ms", max = "500ms"))]
pub(crate) struct Effect {
    pub(crate) number: u64,
}

#[derive(Clone)]
pub(crate) struct App {
    pub(crate) client: Client<PostgresBackend>,
    host: PgPool,
    runs: Arc<AtomicU64>,
}

async fn effect(job: Effect, cx: Context<App>) -> Outcome {
    let app = cx.state();
    app.runs.fetch_add(1, Ordering::Relaxed);
    let mut tx = app.host.begin().await?;
    sqlx::query("INSERT INTO effects (job, number) VALUES ($1, $2)")
        .bind(*cx.job_id().as_uuid())
        .bind(i64::try_from(job.number)?)
        .execute(&mut *tx)
        .await?;
    app.client.complete_in(&mut tx, &cx, &()).await?;
    tx.commit().await?;
    Ok(())
}

/// A service on one database: clients, host tables, a worker.
pub(crate) struct Service {
    pub(crate) app: App,
    pub(crate) admin: PgPool,
    pub(crate) worker: RunningWorker,
}

impl Service {
    /// The library reaches the server at `url`, the host at `host`.
    #[allow(dead_code, reason = "each test target uses a part")]
    pub(crate) async fn start(server: &PostgresServer, url: &str, host: &str) -> Self {
        Self::start_bounded(server, url, host, Duration::from_secs(10)).await
    }

    /// [`start`](Self::start) with a bound on the library's statements.
    pub(crate) async fn start_bounded(
        server: &PostgresServer,
        url: &str,
        host: &str,
        statement: Duration,
    ) -> Self {
        // Timeouts that a test gives to the server are not meant for what looks after it.
        let admin: PgConnectOptions = server.url("postgres").parse().unwrap();
        let admin = pool(admin.options([("statement_timeout", "0")]), 2);
        sqlx::raw_sql("CREATE TABLE effects (job uuid NOT NULL, number bigint NOT NULL)")
            .execute(&admin)
            .await
            .unwrap();
        let options = PostgresOptions::from_url(url).unwrap().connections(6);
        let options = options.acquire_timeout(Duration::from_secs(3));
        let options = options.statement_timeout(statement);
        let client = Client::new(Arc::new(PostgresBackend::open(options).await.unwrap()));
        let app = App { client, host: pool(host.parse().unwrap(), 8), runs: Arc::default() };
        let worker = Worker::new(&app.client)
            .options(|o| {
                o.lease = Duration::from_secs(6);
                o.heartbeat = Duration::from_secs(2);
            })
            .state(app.clone())
            .register(effect)
            .queue("default", 16)
            .start()
            .unwrap();
        Self { app, admin, worker }
    }

    /// Enqueues jobs until told to end; answers those that were acknowledged.
    pub(crate) fn producer(
        &self,
        end: Arc<AtomicBool>,
        start: u64,
    ) -> tokio::task::JoinHandle<Vec<JobId>> {
        let client = self.app.client.clone();
        tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            let mut number = start;
            while !end.load(Ordering::Relaxed) {
                number += 1;
                match client.enqueue(Effect { number }).await {
                    Ok(job) => acknowledged.push(job.id()),
                    Err(error) => assert!(error.is_transient(), "{error:?}"),
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            acknowledged
        })
    }

    /// Waits until so many more attempts have run: faults that come faster than that leave nothing to lose.
    #[allow(dead_code, reason = "each test target uses a part")]
    pub(crate) async fn works(&self, attempts: u64) {
        let enough = self.app.runs.load(Ordering::Relaxed) + attempts;
        let started = Instant::now();
        while self.app.runs.load(Ordering::Relaxed) < enough {
            assert!(started.elapsed() < PATIENCE, "nothing runs");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until every job has ended, and checks that each did as it should.
    pub(crate) async fn check(self, what: &str, acknowledged: Vec<JobId>) {
        let started = Instant::now();
        loop {
            if let Ok(stats) = self.app.client.stats().await {
                let open = [State::Available, State::Running, State::Retryable, State::Scheduled];
                if open.iter().all(|state| stats.in_state(*state) == 0) {
                    break;
                }
            }
            assert!(started.elapsed() < PATIENCE, "{what}: jobs are left");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (mut completed, mut lost) = (0, 0);
        for id in &acknowledged {
            match stored(&self.app.client, *id).await {
                Some(State::Completed) => completed += 1,
                _ => lost += 1,
            }
        }
        let (rows, different): (i64, i64) =
            sqlx::query_as("SELECT count(*), count(DISTINCT job) FROM effects")
                .fetch_one(&self.admin)
                .await
                .unwrap();
        let runs = self.app.runs.load(Ordering::Relaxed);
        let (enqueued, doubled) = (acknowledged.len(), rows - different);
        println!(
            "{what}: enqueued {enqueued}, completed {completed}, lost {lost}, doubled commits {doubled}, handler runs {runs}"
        );
        assert_eq!((lost, doubled), (0, 0));
        let apart =
            "SELECT count(*) FROM windlass.finished AS f FULL JOIN effects AS e ON e.job = f.id
            WHERE e.job IS NULL OR f.state IS DISTINCT FROM 5";
        let apart: i64 = sqlx::query_scalar(apart).fetch_one(&self.admin).await.unwrap();
        assert_eq!(apart, 0, "completions without their effect, or effects without completion");
        assert!(enqueued >= 20, "the fault left no time to work");
        self.worker.stop().await.unwrap();
    }
}

/// The state of a job. A machine that is slow for a while may take longer than a statement may.
async fn stored(client: &Client<PostgresBackend>, id: JobId) -> Option<State> {
    let started = Instant::now();
    loop {
        match client.get(id).await {
            Ok(job) => return job.map(|job| job.state),
            Err(error) => {
                assert!(error.is_transient() && started.elapsed() < PATIENCE, "{error:?}")
            }
        }
    }
}

fn pool(server: PgConnectOptions, connections: u32) -> PgPool {
    let options = PgPoolOptions::new().max_connections(connections);
    options.acquire_timeout(Duration::from_secs(3)).connect_lazy_with(server)
}

#[allow(dead_code, reason = "each test target uses a part")]
pub(crate) async fn seconds(n: f64) {
    tokio::time::sleep(Duration::from_secs_f64(n)).await;
}
