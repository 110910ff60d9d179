//! Following events.

use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use futures_util::StreamExt;
use windlass_core::*;

use crate::flaky::{Fault, Flaky};
use crate::{claim, client, completed, mail, queue, report, settle};

type Item = Result<Followed>;

/// The next `n` events, each with its job and the state it led to.
async fn states(stream: &mut (impl Stream<Item = Item> + Unpin), n: usize) -> Vec<(JobId, State)> {
    let mut seen = Vec::new();
    while seen.len() < n {
        let event = stream.next().await.unwrap().unwrap().into_event().unwrap();
        if let EventBody::State { to, .. } = event.body {
            seen.push((event.job, to));
        }
    }
    seen
}

#[tokio::test]
async fn events_come_live_from_the_moment_of_the_call() {
    let client = client();
    client.enqueue(mail("before")).await.unwrap();
    let mut news = client.subscribe(EventFilter::default(), Since::Now).await.unwrap();
    let reader = tokio::spawn(async move { states(&mut news, 3).await });
    let before = settle(&client, completed(&"sent")).await;
    let after = client.enqueue(mail("after")).await.unwrap().id();
    assert_eq!(
        reader.await.unwrap(),
        [(before, State::Running), (before, State::Completed), (after, State::Available)]
    );
}

#[tokio::test]
async fn a_reader_that_reconnects_at_its_position_misses_nothing_and_sees_nothing_twice() {
    let client = client();
    let writer = tokio::spawn({
        let client = client.clone();
        async move {
            for n in 0..200 {
                client.enqueue(mail(&n.to_string())).await.unwrap();
                settle(&client, completed(&"sent")).await;
            }
        }
    });
    let mut seen = Vec::new();
    let mut since = Since::Start;
    while seen.len() < 600 {
        let mut stream = client.subscribe(EventFilter::default(), since).await.unwrap();
        for _ in 0..7 {
            if seen.len() == 600 {
                break;
            }
            let event = stream.next().await.unwrap().unwrap().into_event().unwrap();
            since = Since::After(event.position);
            seen.push(event);
        }
    }
    writer.await.unwrap();
    assert!(seen.windows(2).all(|pair| pair[0].position < pair[1].position));
    let whole: Vec<_> = client
        .subscribe(EventFilter::default(), Since::Start)
        .await
        .unwrap()
        .take(600)
        .map(|item| item.unwrap().into_event().unwrap())
        .collect()
        .await;
    assert_eq!(seen, whole);
}

#[tokio::test(start_paused = true)]
async fn f48_an_outage_is_waited_for_at_the_same_position() {
    for filter in [EventFilter::default(), EventFilter::default().job(JobId::derived("j"))] {
        let client = Client::new(Arc::new(Flaky::default()));
        let mut news = client.subscribe(filter, Since::Start).await.unwrap();
        let id = client.enqueue(mail("ann")).id(JobId::derived("j")).await.unwrap().id();
        assert_eq!(states(&mut news, 1).await, [(id, State::Available)]);
        for name in ["events", "history", "events", "watch", "tail"] {
            client.backend().next(name, Fault::Away);
        }
        claim(&client).await;
        assert_eq!(states(&mut news, 1).await, [(id, State::Running)]);

        client.backend().next("events", Fault::Broken);
        client.backend().next("history", Fault::Broken);
        assert!(matches!(news.next().await, Some(Err(Error::Backend { .. }))));
        assert!(news.next().await.is_none(), "an error is the last item");
    }
}

#[tokio::test]
async fn filters_hold_for_the_feed_and_for_one_job() {
    let client = client();
    let one = client.enqueue(mail("ann")).await.unwrap().id();
    client.enqueue(report("ann")).await.unwrap();
    settle(&client, completed(&"sent")).await;
    client.emit(one, "opened", &1).await.unwrap();
    let marker = client.enqueue(mail("end")).await.unwrap().id();

    let read = async |filter: EventFilter, n| {
        let mut stream = client.subscribe(filter, Since::Start).await.unwrap();
        states(&mut stream, n).await
    };
    let finals = EventFilter::default().to(State::FINAL).states_only();
    assert_eq!(read(finals.clone(), 1).await, [(one, State::Completed)]);
    assert_eq!(read(finals.job(one), 1).await, [(one, State::Completed)]);
    let slow = EventFilter::default().queue(queue("slow"));
    assert_ne!(read(slow, 1).await[0].0, one);
    let mails = EventFilter::default().kind(Kind::new("mail").unwrap());
    assert_eq!(read(mails, 4).await[3], (marker, State::Available));
    let own = client.subscribe(EventFilter::default().job(one), Since::Start).await.unwrap();
    let own: Vec<_> = own.take(4).map(|item| item.unwrap().into_event().unwrap()).collect().await;
    assert_eq!(own, client.history(one).await.unwrap());
    assert!(
        matches!(&own[3].body, EventBody::Note(Note::Host { name, .. }) if name.as_str() == "opened")
    );
}

#[tokio::test(start_paused = true)]
async fn the_stream_of_one_job_ends_with_the_job() {
    let client = client();
    let id = client.enqueue(mail("ann")).await.unwrap().id();
    let mut own = client.subscribe(EventFilter::default().job(id), Since::Start).await.unwrap();
    states(&mut own, 1).await;
    client.delete(id).await.unwrap();
    assert!(own.next().await.is_none());

    // One that is not there yet is waited for.
    let early = JobId::new();
    let mut own = client.subscribe(EventFilter::default().job(early), Since::Start).await.unwrap();
    let quiet = tokio::time::timeout(Duration::from_secs(30), own.next()).await;
    assert!(quiet.is_err());
    client.enqueue(mail("ann")).id(early).await.unwrap();
    assert_eq!(states(&mut own, 1).await, [(early, State::Available)]);
}

#[tokio::test]
async fn a_reader_that_comes_too_late_is_told_of_the_gap() {
    let client = client();
    client.enqueue(mail("ann")).await.unwrap();
    let first =
        client.history(client.list(JobQuery::default()).await.unwrap().items[0].id).await.unwrap();
    settle(&client, completed(&"sent")).await;
    client.backend().advance(Duration::from_secs(3 * 24 * 3_600));
    client.prune(&Retention::default()).await.unwrap();
    let new = client.enqueue(mail("new")).await.unwrap().id();
    let since = Since::After(first[0].position);
    let mut late = client.subscribe(EventFilter::default(), since).await.unwrap();
    assert_eq!(late.next().await.unwrap().unwrap(), Followed::Gap);
    assert_eq!(states(&mut late, 1).await, [(new, State::Available)]);
}
