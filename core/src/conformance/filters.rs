//! `JobFilter`: the store finds exactly what `JobFilter::matches` says.

use super::Harness;
use super::support::*;
use crate::{
    AttemptOutcome, Backend, ClaimRequest, JobFilter, JobQuery, NewJob, Order, Selector, State,
    Store, Tag,
};

fn tags(names: &[&str]) -> Vec<Tag> {
    names.iter().map(|n| Tag::new(n).unwrap()).collect()
}

/// Jobs of three queues and three kinds, with many sets of tags, in many states.
async fn populate(b: &dyn Backend) {
    let w = worker(b).await;
    let sets: [&[&str]; 5] = [&[], &["x"], &["y"], &["x", "y"], &["xy", "x:y", "z"]];
    let new: Vec<_> = (0..60)
        .map(|n| NewJob {
            tags: tags(sets[n % 5]),
            unique: (n % 7 == 0).then(|| unique(&format!("key {n}"))),
            start: if n % 11 == 0 { later().start } else { Default::default() },
            ..job_of(["a", "b", "ab"][n % 3], ["k", "l", "kl"][n / 3 % 3])
        })
        .collect();
    insert_all(b, new).await;
    let queues = slots(&[("a", 12), ("b", 12), ("ab", 12)]);
    let all_kinds = kinds(&[("k", None), ("l", None), ("kl", None)]);
    let leases = claim_with(b, &ClaimRequest::new(w, queues, all_kinds)).await;
    let outcomes = every_outcome();
    for (n, lease) in leases.iter().enumerate().filter(|(n, _)| n % 7 != 6) {
        settled(b, lease.key, outcomes[n % 7].clone()).await;
    }
}

fn filters() -> Vec<JobFilter> {
    let f = JobFilter::default;
    let mut list = vec![
        f(),
        f().states(State::FINAL),
        f().states([State::Available, State::Running, State::Completed]),
        f().queue(queue("a")),
        f().queue(queue("a")).queue(queue("ab")),
        f().queue(queue("unknown")),
        f().kind(kind("k")).kind(kind("kl")),
        f().tag(Tag::new("x").unwrap()),
        f().tag(Tag::new("x").unwrap()).tag(Tag::new("y").unwrap()),
        f().tag(Tag::new("y").unwrap()).tag(Tag::new("x").unwrap()),
        f().tag(Tag::new("x:y").unwrap()).tag(Tag::new("z").unwrap()),
        f().tag(Tag::new("X").unwrap()),
        f().unique_key(key("key 14")),
        f().unique_key(key("key 15")),
        f().queue(queue("b")).kind(kind("l")).tag(Tag::new("x").unwrap()),
        f().states([State::Completed]).queue(queue("a")).tag(Tag::new("y").unwrap()),
    ];
    list.extend(State::ALL.map(|state| f().states([state])));
    list
}

pub async fn a_listing_finds_what_matches<H: Harness>(h: H) {
    let b = &*h.backend();
    populate(b).await;
    let jobs = all(b, JobFilter::default()).await;
    assert_eq!(jobs.len(), 60);
    let mut found_any = 0;
    for filter in filters() {
        let wanted: Vec<_> = jobs.iter().filter(|j| filter.matches(j)).collect();
        let found = all(b, filter.clone()).await;
        assert_eq!(found.iter().collect::<Vec<_>>(), wanted, "{filter:?}");
        found_any += usize::from(!found.is_empty());
    }
    assert!(found_any > 15, "the filters of this case find something");
}

pub async fn pages_of_a_filter_neither_miss_nor_repeat<H: Harness>(h: H) {
    let b = &*h.backend();
    populate(b).await;
    for filter in filters() {
        let wanted: Vec<_> = all(b, filter.clone()).await.iter().map(|j| j.id).collect();
        let mut query = JobQuery { limit: 4, order: Order::NewestFirst, ..filter.into() };
        let mut found = Vec::new();
        loop {
            let page = b.list(&query).await.unwrap();
            found.extend(page.items.iter().map(|j| j.id));
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        found.reverse();
        assert_eq!(found, wanted, "{:?}", query.filter);
    }
}

pub async fn a_change_reaches_what_matches<H: Harness>(h: H) {
    let b = &*h.backend();
    populate(b).await;
    let filter = JobFilter::default().tag(Tag::new("x").unwrap()).states([
        State::Available,
        State::Scheduled,
        State::Retryable,
        State::Running,
    ]);
    let before = all(b, JobFilter::default()).await;
    let hits = before.iter().filter(|j| filter.matches(j)).count();
    assert!(hits > 5, "the filter of this case finds something");
    let changed = change(b, Selector::Filter(filter.clone()), CANCEL).await;
    assert_eq!(changed, hits as u64);
    for (before, after) in before.iter().zip(all(b, JobFilter::default()).await) {
        if filter.matches(before) {
            assert!(after.state == State::Cancelled || after.cancel_requested);
        } else {
            assert_eq!(after, *before, "what does not match stays as it is");
        }
    }
}

pub async fn a_key_is_found_after_it_was_freed<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let mut wanted = Vec::new();
    for _ in 0..3 {
        let lease = run_new(b, w, unique_job("a")).await;
        settled(b, lease.key, AttemptOutcome::Completed { result: None, blobs: vec![] }).await;
        wanted.push(lease.key.job);
    }
    wanted.push(insert(b, unique_job("a")).await);
    let found = all(b, JobFilter::default().unique_key(key("a"))).await;
    assert_eq!(found.iter().map(|j| j.id).collect::<Vec<_>>(), sorted(wanted));
}
