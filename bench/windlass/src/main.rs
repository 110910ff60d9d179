//! Windlass itself.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use windlass::postgres::{PostgresBackend, PostgresOptions};
use windlass::{Client, Context, Draft, Job, Outcome, Retention, RunningWorker, State, Worker};
use windlass_bench_contestant::{Contestant, Handler, Payload, Result, Setup, main_of};

/// Connections to Postgres, when tuned.
const CONNECTIONS: u32 = 20;
/// The configuration that deletes finished jobs, and how often it does.
const KEEPS_NOTHING: &str = "keeps nothing";
const PRUNE: Duration = Duration::from_millis(50);

fn main() -> Result<()> {
    main_of::<Windlass>()
}

#[derive(Job, Serialize, Deserialize)]
#[job(kind = "noop")]
#[serde(transparent)]
struct Noop(Payload);

async fn noop(job: Noop, cx: Context<Handler>) -> Outcome {
    cx.state().run(job.0).await;
    Ok(())
}

/// Keeps neither finished jobs nor events.
fn nothing() -> Retention {
    let mut retention = Retention::default();
    retention.completed = Some(Duration::ZERO);
    retention.events = Some(Duration::ZERO);
    retention
}

#[derive(Clone)]
struct Windlass {
    client: Client,
    setup: Setup,
}

impl Windlass {
    fn queue(&self, number: u64) -> String {
        match number % self.setup.queues {
            0 => "default".to_owned(),
            other => format!("queue-{other}"),
        }
    }

    fn job(&self, payload: Payload) -> Draft<Noop> {
        let queue = self.queue(payload.number);
        Draft::new(Noop(payload)).queue(queue)
    }
}

impl Contestant for Windlass {
    const NAME: &'static str = "windlass";
    const BULK: bool = true;
    const QUEUES: bool = true;
    type Worker = RunningWorker;

    fn configs(_backend: &str) -> &'static [&'static str] {
        &["default", "tuned", KEEPS_NOTHING]
    }

    async fn open(setup: &Setup) -> Result<Self> {
        let client = if setup.config == "tuned" && setup.backend() == "postgres" {
            let options = PostgresOptions::from_url(&setup.url)?.connections(CONNECTIONS);
            Client::<PostgresBackend>::new(Arc::new(PostgresBackend::open(options).await?)).erase()
        } else {
            windlass::connect(&setup.url).await?
        };
        Ok(Self { client, setup: setup.clone() })
    }

    async fn enqueue(&self, payload: Payload) -> Result<()> {
        self.client.enqueue(self.job(payload)).await?;
        Ok(())
    }

    async fn enqueue_bulk(&self, payloads: Vec<Payload>) -> Result<()> {
        let jobs: Vec<_> = payloads.into_iter().map(|payload| self.job(payload)).collect();
        self.client.enqueue_many(jobs).await?;
        Ok(())
    }

    async fn start(&self, handler: Handler, concurrency: usize) -> Result<RunningWorker> {
        let each = u32::try_from(concurrency)?.max(1);
        let worker = Worker::new(&self.client).state(handler).register(noop);
        let queues = 0..self.setup.queues;
        let worker = queues.fold(worker, |worker, n| worker.queue(self.queue(n), each));
        let worker = worker.options(|options| match self.setup.config.as_str() {
            "tuned" => {
                options.ahead = Duration::from_millis(100);
                options.settle_batch = 1_000;
                options.settle_buffer = 8_192;
            }
            KEEPS_NOTHING => {
                options.retention = Some(nothing());
                options.prune = PRUNE;
            }
            _ => {}
        });
        Ok(worker.start()?)
    }

    async fn stop(&self, worker: RunningWorker) -> Result<()> {
        Ok(worker.stop().await?)
    }

    async fn finish(&self) -> Result<()> {
        if self.setup.config != KEEPS_NOTHING {
            return Ok(());
        }
        loop {
            self.client.prune(&nothing()).await?;
            // Workers prune beside it, and it passes over what they have in hand.
            let counts = self.client.stats().await?.counts;
            if counts.iter().all(|count| count.state != State::Completed || count.jobs == 0) {
                return Ok(());
            }
        }
    }

    async fn left(&self) -> Result<u64> {
        let counts = self.client.stats().await?.counts;
        Ok(counts.iter().filter(|count| !count.state.is_final()).map(|count| count.jobs).sum())
    }
}
