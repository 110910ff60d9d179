//! Waiting for results.

use std::sync::Arc;
use std::time::Duration;

use windlass_core::*;

use crate::flaky::{Fault, Flaky};
use crate::{claim, client, completed, failure, mail, report, settle};

#[tokio::test]
async fn a_result_comes_typed_whether_the_job_ended_before_or_after_the_call() {
    let client = client();
    let handle = client.enqueue(mail("ann")).await.unwrap();
    let waiting = tokio::spawn({
        let handle = handle.clone();
        async move { handle.result().await }
    });
    settle(&client, completed(&"sent")).await;
    assert_eq!(waiting.await.unwrap().unwrap(), "sent");
    assert_eq!(handle.result().await.unwrap(), "sent");
    assert_eq!(client.handle::<crate::Mail>(handle.id()).result().await.unwrap(), "sent");
}

#[tokio::test]
async fn a_job_without_a_result_gives_unit() {
    let client = client();
    let handle = client.enqueue(report("ann")).queue("default").await.unwrap();
    settle(&client, AttemptOutcome::Completed { result: None, blobs: Vec::new() }).await;
    handle.result().await.unwrap();
}

#[tokio::test]
async fn other_ends_are_typed_too() {
    let client = client();
    let discarded = client.enqueue(mail("ann")).await.unwrap();
    settle(&client, AttemptOutcome::Discarded { failure: failure("no such address") }).await;
    let error = discarded.result().await.unwrap_err();
    assert!(
        error.to_string().ends_with("was discarded after attempt 1: no such address"),
        "{error}"
    );
    assert!(matches!(error, NoResult::Discarded { errors, .. } if errors.len() == 1));

    let cancelled = client.enqueue(mail("bob")).await.unwrap();
    assert!(client.cancel(cancelled.id()).await.unwrap());
    assert!(matches!(cancelled.result().await, Err(NoResult::Cancelled { .. })));

    let gone = client.enqueue(mail("eve")).await.unwrap();
    let waiting = tokio::spawn({
        let gone = gone.clone();
        async move { gone.result().await }
    });
    assert!(client.delete(gone.id()).await.unwrap());
    assert!(matches!(waiting.await.unwrap(), Err(NoResult::Gone { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_wait_can_be_bounded_and_the_job_goes_on() {
    let client = client();
    let handle = client.enqueue(mail("ann")).await.unwrap();
    let error = handle.result().timeout(Duration::from_secs(5)).await.unwrap_err();
    assert!(matches!(error, NoResult::Failed(Error::Timeout { .. })), "{error}");
    settle(&client, completed(&"sent")).await;
    assert_eq!(handle.result().timeout(Duration::from_secs(5)).await.unwrap(), "sent");
}

#[tokio::test(start_paused = true)]
async fn f48_a_wait_goes_on_through_an_outage() {
    let client = Client::new(Arc::new(Flaky::default()));
    let handle = client.enqueue(mail("ann")).await.unwrap();
    for name in ["tail", "get", "watch", "get", "get"] {
        client.backend().next(name, Fault::Away);
    }
    let waiting = tokio::spawn({
        let handle = handle.clone();
        async move { handle.result().await }
    });
    while client.backend().faults_left() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    settle(&client, completed(&"sent")).await;
    assert_eq!(waiting.await.unwrap().unwrap(), "sent");

    client.backend().next("get", Fault::Broken);
    assert!(matches!(handle.result().await, Err(NoResult::Failed(Error::Backend { .. }))));
}

#[tokio::test]
async fn a_record_of_another_kind_or_another_shape_is_refused_without_quoting_it() {
    let client = client();
    let handle = client.enqueue(mail("ann")).await.unwrap();
    let wrong = client.handle::<crate::Report>(handle.id());
    settle(&client, completed(&["secret"])).await;
    let error = wrong.result().await.unwrap_err().to_string();
    assert!(error.contains("is `mail`, asked for as `report`"), "{error}");
    let error = handle.result().await.unwrap_err();
    assert!(matches!(&error, NoResult::Failed(Error::Decode { .. })), "{error}");
    assert!(!format!("{error:?}").contains("secret"), "F52: {error:?}");
}

#[tokio::test]
async fn a_job_that_is_not_final_has_no_output() {
    let client = client();
    let handle = client.enqueue(mail("ann")).await.unwrap();
    claim(&client).await;
    let record = handle.record().await.unwrap().unwrap();
    assert_eq!(client.output::<crate::Mail>(&record).await.unwrap(), None);
}
