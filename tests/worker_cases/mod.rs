//! Workers and clients on one database, through backends that know of each other only what the database says. Only the URL tells which database it is.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use windlass::{
    Client, Context, EventBody, EventFilter, Job, NoResult, Outcome, Retention, Since, State,
    Worker,
};

mod failures;

pub(crate) use failures::*;

const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Job, Serialize, Deserialize)]
#[job(kind = "echo", output = String)]
struct Echo {
    text: String,
}

async fn echo(job: Echo, _: Context) -> Outcome<String> {
    Ok(job.text)
}

#[derive(Job, Serialize, Deserialize)]
#[job(kind = "wait")]
struct Wait;

/// A client as another process would have it.
async fn open(url: &str) -> Client {
    windlass::connect(url).await.unwrap()
}

pub(crate) async fn one_process_enqueues_and_follows_another_works(url: &str) {
    let (here, there) = (open(url).await, open(url).await);
    let worker = Worker::new(&there).register(echo).queue("default", 4).start().unwrap();

    let mut events = here.subscribe(EventFilter::default(), Since::Start).await.unwrap();
    let job = here.enqueue(Echo { text: "across".into() }).await.unwrap();
    assert_eq!(job.result().timeout(PATIENCE).await.unwrap(), "across");
    let mut states = Vec::new();
    while states.last() != Some(&State::Completed) {
        let event = tokio::time::timeout(PATIENCE, events.next()).await.unwrap().unwrap().unwrap();
        if let EventBody::State { to, .. } = event.into_event().unwrap().body {
            states.push(to);
        }
    }
    assert_eq!(states, [State::Available, State::Running, State::Completed]);

    // A pause made here holds there, and so does its end.
    here.pause_queue("default").await.unwrap();
    let paused = here.enqueue(Echo { text: "later".into() }).await.unwrap();
    let error = paused.result().timeout(Duration::from_millis(300)).await.unwrap_err();
    assert!(matches!(error, NoResult::Failed(windlass::Error::Timeout { .. })), "{error}");
    assert_eq!(here.get(paused.id()).await.unwrap().unwrap().state, State::Available);
    here.resume_queue("default").await.unwrap();
    assert_eq!(paused.result().timeout(PATIENCE).await.unwrap(), "later");
    worker.stop().await.unwrap();
}

/// F40: handlers that run hold neither a connection nor a transaction.
pub(crate) async fn f40_running_handlers_are_in_nobodys_way(url: &str) {
    async fn wait(_: Wait, cx: Context<Arc<Semaphore>>) -> Outcome {
        cx.state().acquire().await?.forget();
        Ok(())
    }
    let client = open(url).await;
    let gate = Arc::new(Semaphore::new(0));
    let worker = Worker::new(&client)
        .state(gate.clone())
        .register(wait)
        .queue("default", 50)
        .start()
        .unwrap();
    let mut jobs = client.enqueue_many((0..50).map(|_| Wait)).await.unwrap();
    while client.stats().await.unwrap().in_state(State::Running) < 50 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    // A handful of connections serve everybody while 50 handlers are in mid-run.
    jobs.push(client.enqueue(Wait).await.unwrap());
    assert_eq!(client.stats().await.unwrap().in_state(State::Available), 1);
    client.pause_queue("other").await.unwrap();
    gate.add_permits(51);
    for job in jobs {
        job.result().timeout(PATIENCE).await.unwrap();
    }
    worker.stop().await.unwrap();
}

pub(crate) async fn large_args_and_results_go_to_storage_and_come_back_and_are_pruned(url: &str) {
    let client = open(url).await;
    let worker = Worker::new(&client)
        .options(|o| o.retention = None)
        .register(echo)
        .queue("default", 4)
        .start()
        .unwrap();
    let text = "0123456789abcdef".repeat(100_000); // 1.6 MB
    let job = client.enqueue(Echo { text: text.clone() }).await.unwrap();
    assert!(job.result().timeout(PATIENCE).await.unwrap() == text);
    assert_eq!(client.storage().list("", None, 10).await.unwrap().len(), 2, "args and result");
    worker.stop().await.unwrap();

    let mut none = Retention::keep_all();
    none.completed = Some(Duration::ZERO);
    client.prune(&none).await.unwrap();
    assert!(client.get(job.id()).await.unwrap().is_none());
    assert!(client.storage().list("", None, 10).await.unwrap().is_empty());
}

pub(crate) async fn a_reader_that_does_not_read_holds_up_nobody_and_misses_nothing(url: &str) {
    let client = open(url).await;
    let mut idle = client.subscribe(EventFilter::default(), Since::Start).await.unwrap();
    let worker = Worker::new(&client).register(echo).queue("default", 50).start().unwrap();
    let jobs = (0..1_000).map(|n| Echo { text: n.to_string() });
    for job in client.enqueue_many(jobs).await.unwrap() {
        job.result().timeout(PATIENCE).await.unwrap();
    }
    worker.stop().await.unwrap();
    let mut completed = 0;
    while completed < 1_000 {
        let event = tokio::time::timeout(PATIENCE, idle.next()).await.unwrap().unwrap().unwrap();
        let event = event.into_event().unwrap();
        completed += u32::from(matches!(event.body, EventBody::State { to: State::Completed, .. }));
    }
}

/// Each case as a test, on the URL of a fresh database that an expression gives together with what must live as long.
macro_rules! worker_cases {
    ($place:expr) => {
        worker_cases!($place; one_process_enqueues_and_follows_another_works f40_running_handlers_are_in_nobodys_way
            large_args_and_results_go_to_storage_and_come_back_and_are_pruned
            a_reader_that_does_not_read_holds_up_nobody_and_misses_nothing
            f04_a_blocked_runtime_keeps_its_lease
            f05_f20_f51_a_panic_fails_the_attempt_and_the_last_one_ends_the_job
            f06_f10_f16_jobs_of_workers_that_die_run_again_until_their_crashes_are_used_up
            f09_jobs_of_unknown_kinds_in_front_stay_untouched f11_a_shutdown_gives_the_attempt_back
            f12_a_handler_that_ignores_its_deadline_gives_its_slot_back f13_a_request_to_cancel_reaches_the_handler
            f36_a_chain_of_jobs_runs_in_a_single_slot f37_a_kind_limited_to_one_runs_one_at_a_time_and_keeps_no_slot
            f39_blocking_handlers_are_in_nobodys_way f49_f52_args_that_do_not_parse_fail_the_attempt);
    };
    ($place:expr; $($case:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                let (url, _kept) = $place;
                worker_cases::$case(&url).await;
            }
        )*
    };
}
