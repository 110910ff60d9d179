//! F52: what is logged, at any level, while everything fails that can: no password is in it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use common::{Place, Task, everything, ms, until};
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};
use windlass_core::{Client, Context, Outcome, Worker};
use windlass_postgres::{PostgresBackend, PostgresOptions};
use windlass_test_servers::Proxy;

/// Gathers every event and span of the process with all of its fields.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn lines(&self, part: &str) -> Vec<String> {
        self.0.lock().unwrap().iter().filter(|line| line.contains(part)).cloned().collect()
    }

    async fn until(&self, part: &str) {
        until(async || !self.lines(part).is_empty()).await;
    }

    fn add(&self, target: &str, record: impl FnOnce(&mut Fields)) {
        let mut fields = Fields(target.to_owned());
        record(&mut fields);
        self.0.lock().unwrap().push(fields.0);
    }
}

/// The fields of one event, as text.
struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push_str(&format!(" {}={value:?}", field.name()));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut cause = Some(value);
        while let Some(error) = cause {
            self.0.push_str(&format!(" {}={error} {error:?}", field.name()));
            cause = error.source();
        }
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        self.add(span.metadata().target(), |fields| span.record(fields));
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        self.add("", |fields| values.record(fields));
    }
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        self.add(event.metadata().target(), |fields| event.record(fields));
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// The log is the process's, since heartbeats come from a thread of their own: this target has one test.
#[tokio::test(flavor = "multi_thread")]
async fn f52_no_log_shows_a_password() {
    let place = Place::new().await;
    place.open().await;
    let secrets = ["hunter2", "hunter3", "s3cret", place.server.password()];
    // A role of the test's own, so that its password can be changed later. The statements that set it are not to be seen here.
    let role = place.role().await;
    let grants = PostgresBackend::grants_sql("windlass", windlass_postgres::Role::Worker, &role);
    place.execute(&grants.unwrap()).await;
    place.execute(&format!("ALTER ROLE \"{role}\" PASSWORD '{}'", secrets[2])).await;
    let log = Log::default();
    tracing::subscriber::set_global_default(log.clone()).unwrap();
    // A wrong password.
    let url = place.server.url_as(place.server.user(), secrets[0], &place.database);
    let error = PostgresBackend::connect(&url).await.unwrap_err();
    assert!(secrets.iter().all(|secret| !everything(&error).contains(secret)), "{error:?}");
    // What listens, and what beats first, has a wrong one.
    let proxy = Proxy::start(place.server.port()).await.unwrap();
    let through = place.server.at_port(proxy.port());
    let options = PostgresOptions::from_url(&through.url_as(&role, secrets[2], &place.database));
    let options = options.unwrap().acquire_timeout(ms(3_000));
    let direct = place.server.url_as(&role, secrets[1], &place.database);
    let options = options.direct_url(&direct).unwrap();
    let client = Client::new(Arc::new(PostgresBackend::open(options).await.unwrap()));
    let handler = async |_: Task, _: Context| Outcome::Ok(());
    let times = |times: &mut windlass_core::WorkerOptions| {
        (times.lease, times.heartbeat) = (ms(15_000), ms(500));
    };
    let worker = Worker::new(&client).queue("default", 1).options(times).register(handler);
    let running = worker.start().unwrap();
    log.until("notifications of new jobs are not heard").await;
    let id = client.enqueue(Task(0)).await.unwrap().id();
    until(async || matches!(client.get(id).await, Ok(Some(job)) if job.state.is_final())).await;
    // The server goes away under all of them.
    proxy.refuse().await;
    proxy.cut().await;
    log.until("a heartbeat failed and is repeated").await;
    log.until("a claim failed and is repeated").await;
    // It comes back, and no longer lets the role in.
    place.execute(&format!("ALTER ROLE \"{role}\" PASSWORD 'other'")).await;
    proxy.accept().await.unwrap();
    let refused = |line: &String| line.contains("password authentication failed");
    until(async || log.lines("a heartbeat failed and is repeated").iter().any(refused)).await;
    running.shutdown_now();
    running.join().await.unwrap();
    for secret in secrets {
        let shown = log.lines(secret);
        assert!(shown.is_empty(), "{shown:#?}");
    }
}
