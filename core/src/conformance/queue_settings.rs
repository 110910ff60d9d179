//! Settings of queues: the same for every process, kept until changed.

use super::Harness;
use super::support::*;
use crate::{Backend, Error, QueueChange, QueueSettings, Store};

fn change() -> QueueChange {
    QueueChange::default()
}

async fn set(b: &dyn Backend, name: &str, change: QueueChange) -> QueueSettings {
    b.configure_queue(&queue(name), &change).await.unwrap()
}

async fn read(b: &dyn Backend, names: &[&str]) -> Vec<QueueSettings> {
    let names: Vec<_> = names.iter().map(|n| queue(n)).collect();
    let mut found = b.queue_settings(&names).await.unwrap();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

pub async fn a_queue_without_settings_has_the_defaults<H: Harness>(h: H) {
    let b = &*h.backend();
    insert(b, job()).await;
    let wanted = ["a", Q].map(|n| QueueSettings::new(queue(n)));
    assert_eq!(read(b, &["a", Q]).await, wanted, "whether or not it has jobs");
    assert!(read(b, &[]).await.is_empty(), "none has settings");
}

pub async fn what_is_set_is_read<H: Harness>(h: H) {
    let b = &*h.backend();
    let all = change().paused(true).concurrency(Some(7)).max_depth(Some(1 << 40));
    let answer = set(b, "a", all.clone()).await;
    assert_eq!(answer, all.apply(QueueSettings::new(queue("a"))), "the answer is what holds now");
    assert_eq!(read(b, &["a"]).await, std::slice::from_ref(&answer));
    assert_eq!(read(b, &[]).await, [answer]);
}

pub async fn a_change_leaves_the_rest_as_it_is<H: Harness>(h: H) {
    let b = &*h.backend();
    let mut wanted = QueueSettings::new(queue("a"));
    let steps = [
        change().concurrency(Some(3)),
        change().paused(true),
        change().max_depth(Some(9)),
        change(),
        change().paused(false),
        change().concurrency(None),
        change().max_depth(Some(QueueChange::MAX_DEPTH)),
        change().max_depth(None).concurrency(None),
    ];
    for step in steps {
        wanted = step.apply(wanted);
        assert_eq!(set(b, "a", step.clone()).await, wanted, "{step:?}");
        assert_eq!(read(b, &["a"]).await, std::slice::from_ref(&wanted));
    }
    for wrong in [change().concurrency(Some(0)), change().max_depth(Some(u64::MAX))] {
        let answer = b.configure_queue(&queue("a"), &wrong.paused(true)).await;
        assert!(matches!(answer, Err(Error::Invalid { .. })), "{answer:?}");
        assert_eq!(read(b, &["a"]).await, std::slice::from_ref(&wanted));
    }
}

pub async fn queues_are_set_one_by_one<H: Harness>(h: H) {
    let b = &*h.backend();
    set(b, "b", change().paused(true)).await;
    set(b, "a", change().concurrency(Some(1))).await;
    let found = read(b, &["b", "c", "a"]).await;
    let facts: Vec<_> = found.iter().map(|s| (s.name.as_str(), s.paused, s.concurrency)).collect();
    assert_eq!(facts, [("a", false, Some(1)), ("b", true, None), ("c", false, None)]);
    let named: Vec<_> = read(b, &[]).await.into_iter().map(|s| s.name.to_string()).collect();
    assert_eq!(named, ["a", "b"]);
}

pub async fn every_process_reads_the_same<H: Harness>(h: H) {
    let b = &*h.backend();
    let second = second(&h).await;
    set(b, "a", change().paused(true).concurrency(Some(2))).await;
    assert_eq!(read(&*second, &["a"]).await, read(b, &["a"]).await);
    set(&*second, "a", change().concurrency(Some(5))).await;
    assert_eq!(read(b, &["a"]).await[0].concurrency, Some(5));
    assert!(read(b, &["a"]).await[0].paused, "one process does not undo what another set");
}

pub async fn concurrent_changes_do_not_undo_each_other<H: Harness>(h: H) {
    let b = h.backend();
    let steps = [change().paused(true), change().concurrency(Some(4)), change().max_depth(Some(5))];
    let tasks = steps.map(|step| {
        let b = b.clone();
        tokio::spawn(async move { set(&*b, "a", step).await })
    });
    for task in tasks {
        task.await.unwrap();
    }
    let found = read(&*b, &["a"]).await.remove(0);
    assert_eq!((found.paused, found.concurrency, found.max_depth), (true, Some(4), Some(5)));
}
