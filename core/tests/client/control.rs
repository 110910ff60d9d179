//! Changes, settings and listings.

use futures_util::TryStreamExt;
use std::sync::Arc;
use std::time::Duration;

use windlass_core::*;

use crate::{Mail, claim, client, completed, failure, mail, report, settle};

/// A client whose calls hold few jobs, so that everything takes several.
fn narrow() -> Client<MemoryBackend> {
    let mut limits = Limits::default();
    limits.batch = 10;
    Client::new(Arc::new(MemoryBackend::with_limits(limits)))
}

async fn fill(client: &Client<MemoryBackend>, n: u32) -> Vec<JobId> {
    let mut ids = Vec::new();
    for i in 0..n {
        ids.push(client.enqueue(mail(&i.to_string())).tag("bulk").await.unwrap().id());
    }
    ids
}

#[tokio::test]
async fn single_changes_say_whether_they_did_something() {
    let client = client();
    let id = client.enqueue(mail("ann")).delay(Duration::from_secs(60)).await.unwrap().id();
    let state = async || client.get(id).await.unwrap().unwrap().state;
    assert!(client.reschedule(id, Start::Now).await.unwrap());
    assert_eq!(state().await, State::Available);
    assert!(client.cancel_because(id, "changed my mind").await.unwrap());
    assert!(!client.cancel(id).await.unwrap());
    assert!(client.retry(id).await.unwrap());
    assert_eq!(state().await, State::Available);
    assert!(client.delete(id).await.unwrap());
    assert!(!client.delete(id).await.unwrap());
    assert_eq!(client.get(id).await.unwrap(), None);
    let error = client.reschedule(id, Start::In(Duration::MAX)).await.unwrap_err();
    assert!(matches!(error, Error::LimitExceeded { .. }), "{error}");
}

#[tokio::test]
async fn f13_a_running_job_is_asked_to_end() {
    let client = client();
    let id = client.enqueue(mail("ann")).await.unwrap().id();
    let key = claim(&client).await;
    assert!(client.cancel_because(id, "no more").await.unwrap());
    assert!(client.get(id).await.unwrap().unwrap().cancel_requested);
    let retry = AttemptOutcome::Retry { delay: Duration::ZERO, failure: failure("stopped") };
    let settled = client.backend().settle(&[Settlement::new(key, retry)]).await.unwrap();
    assert_eq!(settled, [Settled::Applied { state: State::Cancelled }]);
    let history = client.history(id).await.unwrap();
    let reason = Some("no more".to_owned());
    assert!(
        history.iter().any(|e| e.body == EventBody::CancelRequested { reason: reason.clone() })
    );
}

#[tokio::test]
async fn f19_changes_by_filter_go_over_every_page_and_no_further() {
    let client = narrow();
    fill(&client, 35).await;
    let bystander = client.enqueue(report("ann")).await.unwrap();
    let bulk = || JobFilter::default().tag(Tag::new("bulk").unwrap());
    let hour = Start::In(Duration::from_secs(3_600));
    assert_eq!(client.reschedule_all(bulk(), hour).await.unwrap(), 35);
    assert_eq!(client.retry_all(bulk().states([State::Scheduled])).await.unwrap(), 35);
    assert_eq!(client.cancel_all(bulk()).await.unwrap(), 35);
    assert_eq!(client.cancel_all(bulk()).await.unwrap(), 0);
    assert_eq!(client.delete_all(bulk()).await.unwrap(), 35);
    let left = bystander.record().await.unwrap().unwrap();
    assert_eq!((left.state, client.history(left.id).await.unwrap().len()), (State::Available, 1));
}

#[tokio::test]
async fn changes_by_id_take_any_number_of_ids() {
    let client = narrow();
    let mut ids = fill(&client, 25).await;
    ids.push(JobId::new());
    let cancel = Change::Cancel { reason: None };
    assert_eq!(client.change(Selector::Ids(ids), cancel).await.unwrap(), 25);
}

#[tokio::test]
async fn listings_go_over_every_page_in_order() {
    let client = narrow();
    let ids = fill(&client, 35).await;
    let query = JobQuery::default().oldest_first().limit(10);
    let all: Vec<_> =
        client.list_all(query.clone()).map_ok(|job| job.id).try_collect().await.unwrap();
    assert_eq!(all, ids);
    let page = client.list(query).await.unwrap();
    assert_eq!(page.items.len(), 10);
    let newest = client.list(JobFilter::default()).await;
    assert!(matches!(newest, Err(Error::LimitExceeded { .. })), "a page above the limit");
    assert!(client.list(JobQuery::default().limit(0)).await.is_err());
}

#[tokio::test]
async fn settings_of_queues_are_changed_and_read() {
    let client = client();
    client.enqueue(mail("ann")).await.unwrap();
    assert!(client.pause_queue("default").await.unwrap().paused);
    client.resize_queue("default", 3).await.unwrap();
    client.set_max_depth("default", 1).await.unwrap();
    let settings = client.queue_settings("default").await.unwrap();
    assert_eq!(
        (settings.paused, settings.concurrency, settings.max_depth),
        (true, Some(3), Some(1))
    );
    assert!(matches!(client.enqueue(mail("bob")).await, Err(Error::QueueFull { .. })));
    assert_eq!(client.queues().await.unwrap(), [settings]);
    client.resume_queue("default").await.unwrap();
    client.resize_queue("default", None).await.unwrap();
    client.set_max_depth("default", None).await.unwrap();
    let fresh = client.queue_settings("default").await.unwrap();
    assert_eq!(fresh, QueueSettings::new(crate::queue("default")));
    assert_eq!(client.queue_settings("other").await.unwrap().name.as_str(), "other");
    for error in [
        client.pause_queue("no good").await.unwrap_err(),
        client.resize_queue("default", 0).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Invalid { .. }), "{error}");
    }
}

#[tokio::test]
async fn figures_tell_states_and_workers() {
    let client = client();
    client.enqueue_many([mail("a"), mail("b")]).await.unwrap();
    client.enqueue(report("c")).await.unwrap();
    settle(&client, completed(&"sent")).await;
    let stats = client.stats().await.unwrap();
    let figures = [State::Available, State::Completed].map(|state| stats.in_state(state));
    assert_eq!(figures, [2, 1]);
    assert_eq!(client.stats_of(["slow"]).await.unwrap().counts.len(), 1);
    assert_eq!(client.workers().await.unwrap().len(), 1);
}

#[tokio::test]
async fn host_events_stand_in_the_history_and_bad_ones_are_told() {
    let client = client();
    let id = client.enqueue(mail("ann")).await.unwrap().id();
    client.emit(id, "opened", &serde_json::json!({"by": "ann"})).await.unwrap();
    let last = client.history(id).await.unwrap().pop().unwrap();
    let EventBody::Note(Note::Host { name, data }) = last.body else { panic!("{last:?}") };
    assert_eq!((name.as_str(), data.get()), ("opened", r#"{"by":"ann"}"#));
    assert!(matches!(client.emit(id, "no good", &()).await, Err(Error::Invalid { .. })));
    assert!(matches!(client.emit(JobId::new(), "x", &()).await, Err(Error::NotFound { .. })));
    let large = "x".repeat(20_000);
    assert!(matches!(client.emit(id, "x", &large).await, Err(Error::LimitExceeded { .. })));
}

#[tokio::test]
async fn args_are_read_as_what_they_are() {
    let client = client();
    let job = client.enqueue(mail("ann")).await.unwrap().record().await.unwrap().unwrap();
    assert_eq!(client.args::<Mail>(&job).await.unwrap(), mail("ann"));
    let error = client.args::<crate::Report>(&job).await.unwrap_err();
    assert!(error.to_string().contains("is `mail`, asked for as `report`"), "{error}");
}
