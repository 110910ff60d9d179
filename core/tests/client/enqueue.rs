//! Every option arrives, bad ones are told, and an outage loses or doubles nothing.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use windlass_core::*;

use crate::flaky::{Fault, Flaky};
use crate::{claim, client, completed, mail, report, settle};

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn the_kind_says_what_the_caller_does_not() {
    let client = client();
    let handle = client.enqueue(report("ann")).await.unwrap();
    assert!(handle.is_new());
    let job = handle.record().await.unwrap().unwrap();
    assert_eq!((job.kind.as_str(), job.queue.as_str()), ("report", "slow"));
    assert_eq!(
        (job.priority, job.max_attempts, job.timeout),
        (Priority(7), 3, Some(9 * HOUR / 3_600))
    );
    assert_eq!(job.unique_key.unwrap().as_str(), "report:ann");
    assert_eq!(job.state, State::Available);
}

#[tokio::test]
async fn every_option_arrives_in_the_record() {
    let client = client();
    let id = JobId::new();
    let handle = client
        .enqueue(mail("ann"))
        .id(id)
        .queue("fast")
        .priority(-5)
        .max_attempts(2)
        .no_timeout()
        .delay(HOUR)
        .unique_key("welcome")
        .meta("trace", "t1")
        .tag("vip")
        .tag("vip")
        .await
        .unwrap();
    assert_eq!((handle.id(), handle.inserted()), (id, Inserted::New(id)));
    let job = client.get(id).await.unwrap().unwrap();
    assert_eq!(job.queue.as_str(), "fast");
    assert_eq!((job.priority, job.max_attempts, job.timeout), (Priority(-5), 2, None));
    assert_eq!(job.state, State::Scheduled);
    assert_eq!(Duration::try_from(job.due_at.duration_since(job.created_at)).unwrap(), HOUR);
    assert_eq!(job.unique_key.as_ref().unwrap().as_str(), "mail:welcome");
    assert_eq!(job.meta["trace"], "t1");
    assert_eq!(job.tags, [Tag::new("vip").unwrap()]);
    assert_eq!(client.args::<crate::Mail>(&job).await.unwrap(), mail("ann"));
}

#[test]
fn every_option_arrives_in_the_new_job() {
    let at = Timestamp::from_second(2_000_000_000).unwrap();
    let new = |draft: Draft<_>| draft.into_new_job().unwrap();
    assert_eq!(new(Draft::new(mail("a")).at(at)).start, Start::At(at));
    assert_eq!(
        new(Draft::new(mail("a")).delay(SignedDuration::from_secs(5))).start,
        Start::In(5 * HOUR / 3_600)
    );
    assert_eq!(new(Draft::new(mail("a")).timeout(HOUR)).timeout, Some(HOUR));
    assert_eq!(new(Draft::new(mail("a"))).unique, None);

    let unique = |draft: Draft<_>| new(draft).unique.unwrap();
    let whole = unique(Draft::new(mail("a")).unique_for(HOUR));
    assert_eq!((whole.key.as_str(), whole.until), (r#"mail:{"to":"a"}"#, UniqueUntil::For(HOUR)));
    let started = unique(Draft::new(mail("a")).unique_key("k").unique_until_started());
    assert_eq!((started.key.as_str(), started.until), ("mail:k", UniqueUntil::Started));
    let kept =
        unique(Draft::new(mail("a")).unique_until_finished().on_conflict(OnConflict::Reject));
    assert_eq!((kept.until, kept.on_conflict), (UniqueUntil::Finished, OnConflict::Reject));

    // What the caller leaves open comes from the rule of the kind.
    let own = Draft::new(report("ann")).unique_key("other").into_new_job().unwrap().unique.unwrap();
    assert_eq!((own.key.as_str(), own.until), ("report:other", UniqueUntil::Started));
    let none = Draft::new(report("ann")).not_unique().into_new_job().unwrap();
    assert_eq!(none.unique, None);
}

#[tokio::test]
async fn f50_options_that_cannot_be_used_are_told_by_name_and_nothing_is_inserted() {
    let client = client();
    let say = async |draft: Draft<_>| client.enqueue(draft).await.unwrap_err().to_string();
    let draft = || Draft::new(mail("secret@example.org"));
    let negative = SignedDuration::from_secs(-1);
    let cases = [
        (say(draft().queue("a b")).await, "invalid queue name: ' ' is not allowed"),
        (say(draft().tag("")).await, "invalid tag: it is empty"),
        (
            say(draft().delay(negative)).await,
            "invalid delay: it is negative or has no fixed length; 0 means at once",
        ),
        (
            say(draft().timeout(negative)).await,
            "invalid timeout: it is negative or has no fixed length; `no_timeout` sets none",
        ),
        (
            say(draft().unique_for(negative)).await,
            "invalid unique window: it is negative or has no fixed length; `unique_until_finished`",
        ),
        (say(draft().unique_for(Duration::ZERO)).await, "invalid unique window: 0 given"),
        (say(draft().timeout(Duration::ZERO)).await, "invalid timeout: 0 given"),
        (say(draft().max_attempts(0)).await, "invalid max attempts: 0 given"),
        (say(draft().max_attempts(1_000_000)).await, "max attempts of a job is 1000000, above"),
        (say(draft().delay(HOUR * 1_000_000)).await, "delay in seconds is 3600000000, above"),
        (say(draft().unique_key("")).await, "invalid unique key: it is empty"),
        (
            say(draft().on_conflict(OnConflict::Reject)).await,
            "invalid on conflict: this job has no unique rule",
        ),
        (
            say(draft().meta("k", "v".repeat(5_000))).await,
            "metadata of a job in bytes is 5001, above",
        ),
        // The first one counts.
        (say(draft().queue("é").tag("")).await, "invalid queue name"),
    ];
    for (said, expected) in cases {
        assert!(said.starts_with(expected), "{said}");
        assert!(!said.contains("secret"), "F52: {said}");
    }
    assert_eq!(client.stats().await.unwrap(), Stats::default());
}

#[tokio::test]
async fn f21_duplicates_are_values_and_lead_to_the_job_that_is_there() {
    let client = client();
    let first = client.enqueue(mail("ann")).unique_key("k").await.unwrap();
    let again = client.enqueue(mail("bob")).unique_key("k").await.unwrap();
    assert_eq!(again.inserted(), Inserted::Duplicate { existing: first.id() });
    let rejected = client.enqueue(mail("bob")).unique_key("k").on_conflict(OnConflict::Reject);
    let rejected = rejected.await.unwrap();
    assert_eq!(rejected.inserted(), Inserted::Rejected { existing: first.id() });
    // What the other job returns is not the answer to this one.
    let error = rejected.result().await.unwrap_err();
    assert!(matches!(error, NoResult::Rejected { existing } if existing == first.id()), "{error}");
    let replaced = client.enqueue(mail("eve")).unique_key("k").on_conflict(OnConflict::Replace);
    assert_eq!(replaced.await.unwrap().inserted(), Inserted::Replaced { existing: first.id() });
    let job = first.record().await.unwrap().unwrap();
    assert_eq!(client.args::<crate::Mail>(&job).await.unwrap(), mail("eve"));
    // The same key of another kind is another key.
    assert!(client.enqueue(report("ann")).unique_key("k").await.unwrap().is_new());

    let drafts = ["k", "l", "l"].map(|key| Draft::new(mail("x")).unique_key(key));
    let many = client.enqueue_many(drafts).await.unwrap();
    assert_eq!(many.iter().map(Handle::is_new).collect::<Vec<_>>(), [false, true, false]);
    assert_eq!(many[1].id(), many[2].id());
}

#[tokio::test]
async fn ten_thousand_jobs_go_in_at_once_and_one_more_does_not() {
    let client = client();
    let jobs = |n: u32| (0..n).map(|i| mail(&i.to_string()));
    let handles = client.enqueue_many(jobs(10_000)).await.unwrap();
    assert_eq!(handles.len(), 10_000);
    assert!(handles.iter().all(Handle::is_new));
    let error = client.enqueue_many(jobs(10_001)).await.unwrap_err();
    assert!(matches!(error, Error::LimitExceeded { actual: 10_001, .. }), "{error}");
    assert!(client.enqueue_many(Vec::<crate::Mail>::new()).await.unwrap().is_empty());
    assert_eq!(client.stats().await.unwrap().in_state(State::Available), 10_000);
}

#[tokio::test]
async fn jobs_of_several_kinds_go_in_together() {
    let client = client().erase();
    let jobs = vec![
        Draft::new(mail("a")).into_new_job().unwrap(),
        Draft::new(report("b")).into_new_job().unwrap(),
    ];
    let inserted = client.insert(jobs.clone()).await.unwrap();
    assert!(inserted.iter().all(Inserted::is_new));
    let again = client.insert(jobs.clone()).await.unwrap();
    assert_eq!(again[0], Inserted::Duplicate { existing: jobs[0].id });
}

#[tokio::test(start_paused = true)]
async fn f48_an_outage_is_waited_for_and_a_lost_reply_doubles_nothing() {
    let client = Client::new(Arc::new(Flaky::default()));
    client.backend().next("insert", Fault::Away);
    client.backend().next("insert", Fault::LostReply);
    let handle = client.enqueue(mail("ann")).await.unwrap();
    assert!(handle.is_new(), "{handle:?}");
    assert_eq!(client.backend().calls("insert"), 3);
    assert_eq!(client.stats().await.unwrap().in_state(State::Available), 1);

    // With an id of the caller's own, nobody can tell which sending was first.
    client.backend().next("insert", Fault::LostReply);
    let handle = client.enqueue(mail("bob")).id(JobId::new()).await.unwrap();
    assert_eq!(handle.inserted(), Inserted::Duplicate { existing: handle.id() });
}

#[tokio::test(start_paused = true)]
async fn patience_has_an_end_and_is_not_wasted() {
    let client = Client::new(Arc::new(Flaky::default()));
    for _ in 0..10 {
        client.backend().next("insert", Fault::Away);
    }
    let error = client.enqueue(mail("ann")).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    assert_eq!(client.backend().calls("insert"), 5);

    let client = Client::new(Arc::new(Flaky::default()));
    client.backend().next("insert", Fault::Broken);
    assert!(client.enqueue(mail("ann")).await.is_err());
    client.set_max_depth("default", 1).await.unwrap();
    client.enqueue(mail("ann")).await.unwrap();
    let full = client.enqueue(mail("bob")).await.unwrap_err();
    assert!(matches!(full, Error::QueueFull { depth: 1, .. }), "{full}");
    assert_eq!(client.backend().calls("insert"), 3);
}

#[tokio::test]
async fn f22_a_key_held_until_the_start_or_the_finish_is_free_then() {
    let client = client();
    let enqueue = |key| client.enqueue(mail("ann")).unique_key(key);
    assert!(enqueue("s").unique_until_started().await.unwrap().is_new());
    assert!(!enqueue("s").unique_until_started().await.unwrap().is_new());
    claim(&client).await;
    assert!(enqueue("s").unique_until_started().priority(1).await.unwrap().is_new());

    assert!(enqueue("f").await.unwrap().is_new());
    settle(&client, completed(&"done")).await;
    assert!(enqueue("f").await.unwrap().is_new());
}

#[test]
fn futures_can_go_to_another_thread() {
    fn send<T: Send>(value: T) -> T {
        value
    }
    let client = client();
    let erased = client.erase();
    drop(send(client.enqueue(mail("a")).into_future()));
    drop(send(erased.enqueue_many([mail("a")])));
    drop(send(erased.insert(Vec::new())));
    drop(send(erased.subscribe(EventFilter::default(), Since::Now)));
    let handle = erased.handle::<crate::Mail>(JobId::new());
    drop(send(handle.result().into_future()));
    drop(send(erased.emit(JobId::new(), "x", "y")));
    drop(send(erased.put_blob("x").into_future()));
    drop(send(handle));
}
