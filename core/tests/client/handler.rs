//! What handlers do through the client: follow-up jobs, blobs, and completing in the host's transaction.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use windlass_core::*;

use crate::flaky::{Fault, Flaky, Transaction};
use crate::{Mail, mail};

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    plan: Plan,
}

/// What the handler is to do.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Plan {
    FollowUp,
    FollowUpAndFail,
    StoreBlob,
    Commit,
    LogAndCommit,
    Rollback,
    LeaseLost,
    RefusedAndGoesOn,
    TooLarge,
}

impl Job for Order {
    const KIND: &'static str = "order";
    const MAX_ATTEMPTS: u32 = 1;
    type Output = Option<Blob>;
}

struct App {
    client: Client<Flaky>,
    /// What `complete_in` said.
    said: Mutex<Vec<String>>,
}

async fn order(job: Order, cx: Context<Arc<App>>) -> Outcome<Option<Blob>> {
    match job.plan {
        Plan::FollowUp | Plan::FollowUpAndFail => {
            cx.follow_up(Draft::new(mail("ann")).queue("later").tag("follow-up")).await?;
            cx.follow_up(mail("bob")).await?;
            let bad = cx.follow_up(Draft::new(mail("bob")).queue("no good")).await.unwrap_err();
            assert!(matches!(bad, Error::Invalid { .. }));
        }
        Plan::StoreBlob => return Ok(Some(cx.put_blob("some text").await?)),
        _ => complete_in(job.plan, &cx).await?,
    }
    if job.plan == Plan::FollowUpAndFail {
        return Err("no stock".into());
    }
    Ok(None)
}

async fn complete_in(plan: Plan, cx: &Context<Arc<App>>) -> Result<()> {
    let client = &cx.state().client;
    let answer = match plan {
        Plan::LeaseLost => Some(Settled::Lost),
        Plan::RefusedAndGoesOn => Some(Settled::Refused { reason: "no".to_owned() }),
        _ => None,
    };
    if plan == Plan::LogAndCommit {
        cx.log(LogLevel::Info, "sent");
        while client.backend().calls("record") == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        cx.log(LogLevel::Info, "waits");
    }
    let mut tx = Transaction { answer, ..Transaction::default() };
    cx.follow_up(mail("ann")).await?;
    let large = "x".repeat(100 << 10);
    let done = match plan {
        Plan::TooLarge => client.complete_in(&mut tx, cx, &large).await,
        _ => client.complete_in(&mut tx, cx, &None::<Blob>).await,
    };
    if let Err(error) = done {
        cx.state().said.lock().unwrap().push(error.to_string());
        return if plan == Plan::RefusedAndGoesOn { Ok(()) } else { Err(error) };
    }
    if matches!(plan, Plan::Commit | Plan::LogAndCommit) {
        tx.commit(client.backend()).await;
    }
    Ok(())
}

/// Runs one order to its end, with its record and what `complete_in` said.
async fn run(plan: Plan) -> (Client<Flaky>, JobRecord, Vec<String>) {
    run_on(Client::new(Arc::new(Flaky::default())), plan).await
}

async fn run_on(client: Client<Flaky>, plan: Plan) -> (Client<Flaky>, JobRecord, Vec<String>) {
    let app = Arc::new(App { client: client.clone(), said: Mutex::default() });
    let handle = client.enqueue(Order { plan }).await.unwrap();
    let worker = Worker::new(&client)
        .options(|o| o.heartbeat_thread = false)
        .state(app.clone())
        .register(order)
        .queue("default", 1)
        .start()
        .unwrap();
    let _ = handle.result().await;
    worker.shutdown();
    worker.join().await.unwrap();
    let record = handle.record().await.unwrap().unwrap();
    let said = app.said.lock().unwrap().clone();
    (client, record, said)
}

/// The `mail` jobs in the store.
async fn mails(client: &Client<Flaky>) -> Vec<JobRecord> {
    let filter = JobFilter::default().kind(Kind::new(Mail::KIND).unwrap());
    client.list(JobQuery::from(filter).oldest_first()).await.unwrap().items
}

#[tokio::test]
async fn follow_ups_appear_with_the_completion() {
    let (client, record, _) = run(Plan::FollowUp).await;
    assert_eq!(record.state, State::Completed);
    let mails = mails(&client).await;
    assert_eq!(mails.len(), 2);
    assert_eq!((mails[0].queue.as_str(), mails[0].tags.len()), ("later", 1));
    assert_eq!(client.args::<Mail>(&mails[1]).await.unwrap(), mail("bob"));
}

#[tokio::test]
async fn follow_ups_of_a_failed_attempt_never_appear() {
    let (client, record, _) = run(Plan::FollowUpAndFail).await;
    assert_eq!(record.state, State::Discarded);
    assert!(mails(&client).await.is_empty());
}

#[tokio::test]
async fn a_blob_in_the_result_lives_as_long_as_the_job() {
    let (client, record, _) = run(Plan::StoreBlob).await;
    let blob = client.output::<Order>(&record).await.unwrap().unwrap().unwrap();
    client.backend().advance(client::BLOB_TTL * 3);
    let mut keep = Retention::keep_all();
    assert_eq!(client.prune(&keep).await.unwrap().blobs, 0);
    assert_eq!(client.read_blob(&blob, 100).await.unwrap(), "some text");
    keep.completed = Some(client::BLOB_TTL);
    assert_eq!(client.prune(&keep).await.unwrap().blobs, 1);
}

#[tokio::test]
async fn complete_in_completes_the_job_and_its_follow_ups_with_the_commit() {
    let (client, record, said) = run(Plan::Commit).await;
    assert_eq!((record.state, record.errors.len()), (State::Completed, 0), "{said:?}");
    assert_eq!(client.output::<Order>(&record).await.unwrap(), Some(None));
    assert_eq!(mails(&client).await.len(), 1);
}

/// As when the host holds the lock that the record waits for.
#[tokio::test(start_paused = true)]
async fn complete_in_takes_along_the_notes_that_are_on_their_way() {
    let client = Client::new(Arc::new(Flaky::default()));
    client.backend().next("record", Fault::Hangs);
    let (client, record, _) = run_on(client, Plan::LogAndCommit).await;
    assert_eq!(record.state, State::Completed);
    let events = client.backend().history(record.id, None, 100).await.unwrap().events;
    let lines = events.into_iter().filter_map(|event| match event.body {
        EventBody::Note(Note::Log { message, .. }) => Some(message),
        _ => None,
    });
    assert_eq!(lines.collect::<Vec<_>>(), ["sent", "waits"]);
}

#[tokio::test]
async fn complete_in_without_a_commit_is_a_failed_attempt() {
    let (client, record, said) = run(Plan::Rollback).await;
    assert_eq!((record.state, said.len()), (State::Discarded, 0));
    assert!(record.errors[0].message.contains("was not committed"), "{:?}", record.errors);
    assert!(mails(&client).await.is_empty());
}

#[tokio::test]
async fn f1_complete_in_tells_a_holder_who_lost_the_job_to_roll_back() {
    let (client, _, said) = run(Plan::LeaseLost).await;
    assert!(said[0].contains("is lost"), "{said:?}");
    assert!(mails(&client).await.is_empty());
}

/// The handler rolled back and returned Ok: the worker completes the job as if there had been no transaction.
#[tokio::test]
async fn a_complete_in_that_failed_does_not_change_what_ok_means() {
    let (client, record, said) = run(Plan::RefusedAndGoesOn).await;
    assert_eq!((record.state, record.errors.len(), said.len()), (State::Completed, 0, 1));
    assert_eq!(mails(&client).await.len(), 1);
}

#[tokio::test]
async fn complete_in_refuses_an_output_that_needs_an_upload() {
    let (_, record, said) = run(Plan::TooLarge).await;
    assert_eq!(record.state, State::Discarded);
    assert!(said[0].contains("result in bytes") && said[0].contains("`Blob`"), "{said:?}");
}

#[tokio::test]
async fn enqueue_in_takes_effect_with_the_commit_only() {
    let client = Client::new(Arc::new(Flaky::default()));
    let mut tx = Transaction::default();
    let handle = client.enqueue_in(&mut tx, Draft::new(mail("ann")).queue("fast")).await.unwrap();
    let many = client.enqueue_many_in(&mut tx, [mail("a"), mail("b")]).await.unwrap();
    assert_eq!((handle.is_new(), many.len()), (true, 2));
    assert!(matches!(handle.result().await, Err(NoResult::Gone { .. })));
    tx.commit(client.backend()).await;
    assert_eq!(handle.record().await.unwrap().unwrap().queue.as_str(), "fast");
    assert_eq!(mails(&client).await.len(), 3);
}

#[tokio::test]
async fn large_args_are_prepared_before_the_transaction() {
    let client = Client::new(Arc::new(Flaky::default()));
    let mut tx = Transaction::default();
    let large = || mail(&"x".repeat(300 << 10));
    let error = client.enqueue_in(&mut tx, large()).await.unwrap_err();
    assert!(error.to_string().contains("`prepare`"), "{error}");
    assert!(client.enqueue_in(&mut tx, Draft::new(mail("a")).queue("no good")).await.is_err());
    assert!(tx.jobs.is_empty());

    let prepared = client.prepare(large()).await.unwrap();
    client.insert_in(&mut tx, vec![prepared]).await.unwrap();
    assert_eq!(tx.jobs[0].blobs.len(), 1);
    tx.commit(client.backend()).await;
    let record = mails(&client).await.remove(0);
    assert_eq!(client.args::<Mail>(&record).await.unwrap(), large());
}
