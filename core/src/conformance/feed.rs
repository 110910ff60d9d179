//! The feed of all jobs' events: ordered, resumable, nothing missed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Harness;
use super::support::*;
use crate::{
    Backend, Cause, ClaimRequest, Event, EventBody, EventFilter, LogLevel, Note, Position, Queue,
    Record, Retention, Settlement, State, Store,
};

/// Reads on from a position to the end of what is there.
async fn read_on(
    b: &dyn Backend,
    filter: &EventFilter,
    mut after: Option<Position>,
    limit: usize,
) -> (Vec<Event>, Option<Position>) {
    let mut events = Vec::new();
    loop {
        let page = b.events(filter, after, limit).await.unwrap();
        assert!(page.events.len() <= limit, "a page holds no more than asked for");
        assert!(page.next >= after, "the next position never goes back");
        assert!(!page.gap, "nothing was pruned");
        events.extend(page.events);
        after = page.next;
        if !page.more {
            return (events, after);
        }
    }
}

async fn read_all(b: &dyn Backend, filter: &EventFilter) -> Vec<Event> {
    read_on(b, filter, None, 100).await.0
}

async fn some_work(b: &dyn Backend) {
    let w = worker(b).await;
    insert_all(b, jobs(6)).await;
    insert_all(b, vec![job_of("other", "x"), job_of("other", K)]).await;
    let leases = claim(b, w, 6).await;
    let note = Note::Log { level: LogLevel::Info, message: "line".into() };
    b.record(&[Record::new(leases[0].key, vec![note])]).await.unwrap();
    for (lease, outcome) in leases.iter().zip(every_outcome()) {
        settled(b, lease.key, outcome).await;
    }
}

pub async fn it_holds_the_events_of_all_jobs_in_order<H: Harness>(h: H) {
    let b = &*h.backend();
    some_work(b).await;
    let feed = read_all(b, &EventFilter::default()).await;
    assert!(feed.windows(2).all(|p| p[0].position < p[1].position), "in the order of positions");
    let mut by_job: BTreeMap<_, Vec<Event>> = BTreeMap::new();
    for event in feed {
        by_job.entry(event.job).or_default().push(event);
    }
    assert_eq!(by_job.len(), 8);
    for (id, events) in by_job {
        assert_eq!(events, history(b, id).await, "the feed says what the history says");
    }
}

/// A backend may tell once what the jobs of a batch have in common: nobody is told of by the name of another.
pub async fn a_mixed_batch_is_told_as_the_history_says<H: Harness>(h: H) {
    let b = &*h.backend();
    let workers = [worker(b).await, worker(b).await];
    let names = [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")];
    let new = |n: usize| job_of(names[n % 4].0, names[n % 4].1);
    let of_two = |w, each| {
        let kinds = kinds(&[("x", None), ("y", None)]);
        ClaimRequest::new(w, slots(&[("a", each), ("b", each)]), kinds)
    };
    // One of them is in its second attempt.
    insert(b, new(0)).await;
    let early = claim_with(b, &of_two(workers[0], 1)).await;
    settled(b, early[0].key, retry(ms(0))).await;
    maintain(b).await;
    insert_all(b, (1..16).map(new).collect()).await;
    let mut leases = [Vec::new(), Vec::new()];
    for (w, leases) in workers.iter().zip(&mut leases) {
        *leases = claim_with(b, &of_two(*w, 4)).await;
        assert_eq!(leases.len(), 8);
    }
    // By turns, so that those who stand side by side have different workers and mostly the same names.
    let [one, two] = &leases;
    let by_turns = one.iter().zip(two).flat_map(|pair| [(0, pair.0), (1, pair.1)]);
    let (places, all): (Vec<_>, Vec<_>) = by_turns.unzip();
    let batch: Vec<_> = all.iter().map(|l| Settlement::new(l.key, completed())).collect();
    b.settle(&batch).await.unwrap();
    let feed = read_all(b, &EventFilter::default()).await;
    for (place, lease) in places.into_iter().zip(all) {
        let told: Vec<_> = feed.iter().filter(|e| e.job == lease.key.job).cloned().collect();
        assert_eq!(told, history(b, lease.key.job).await, "the feed says what the history says");
        let changes = [
            (State::Available, State::Running, Cause::Claimed),
            (State::Running, State::Completed, Cause::Settled),
        ];
        for (event, (from, to, cause)) in told[told.len() - 2..].iter().zip(changes) {
            assert_eq!((&event.kind, &event.queue), (&lease.kind, &lease.queue));
            let (from, worker) = (Some(from), Some(workers[place]));
            let attempt = lease.attempt;
            let wanted = EventBody::State { from, to, attempt, cause, worker, error: None };
            assert_eq!(event.body, wanted);
        }
    }
}

/// A reader that stops anywhere, even inside a batch, goes on from there.
pub async fn it_is_read_in_pages_of_any_size<H: Harness>(h: H) {
    let b = &*h.backend();
    some_work(b).await;
    for filter in
        [EventFilter::default(), EventFilter { to: vec![State::Running], ..Default::default() }]
    {
        let whole = read_all(b, &filter).await;
        for limit in [1, 2, 3, 7, 1_000] {
            assert_eq!(read_on(b, &filter, None, limit).await.0, whole, "by {limit}");
        }
        for (n, event) in whole.iter().enumerate() {
            let (rest, _) = read_on(b, &filter, Some(event.position), 5).await;
            assert_eq!(rest, whole[n + 1..], "after the event at {}", event.position);
        }
    }
    for limit in [0, b.limits().batch + 1] {
        assert!(b.events(&EventFilter::default(), None, limit).await.is_err(), "a page of {limit}");
    }
}

pub async fn filters_find_what_matches<H: Harness>(h: H) {
    let b = &*h.backend();
    some_work(b).await;
    let whole = read_all(b, &EventFilter::default()).await;
    let f = EventFilter::default;
    let filters = [
        EventFilter { jobs: vec![whole[0].job, whole[3].job], ..f() },
        EventFilter { queues: vec![queue("other")], ..f() },
        EventFilter { kinds: vec![kind("x")], ..f() },
        EventFilter { to: vec![State::Completed, State::Discarded], ..f() },
        EventFilter { states_only: true, ..f() },
        EventFilter { to: State::FINAL.to_vec(), states_only: true, queues: vec![queue(Q)], ..f() },
        EventFilter { queues: vec![queue("unknown")], ..f() },
    ];
    for filter in filters {
        let wanted: Vec<_> = whole.iter().filter(|e| filter.matches(e)).cloned().collect();
        assert!(wanted.len() < whole.len());
        assert_eq!(read_all(b, &filter).await, wanted, "{filter:?}");
    }
}

/// A filter that nothing passes must not read the same stretch again and again.
pub async fn the_position_moves_though_nothing_passes<H: Harness>(h: H) {
    let b = &*h.backend();
    some_work(b).await;
    let nothing = EventFilter { kinds: vec![kind("unknown")], ..Default::default() };
    let (events, next) = read_on(b, &nothing, None, 10).await;
    assert!(events.is_empty());
    let id = insert(b, job()).await;
    let (news, _) = read_on(b, &EventFilter::default(), next, 10).await;
    assert_eq!(news.iter().map(|e| e.job).collect::<Vec<_>>(), [id], "only what came since");
}

pub async fn the_tail_is_where_news_begins<H: Harness>(h: H) {
    let b = &*h.backend();
    assert_eq!(b.tail().await.unwrap(), None, "an empty feed has none");
    some_work(b).await;
    let tail = b.tail().await.unwrap();
    assert!(tail.is_some());
    let page = b.events(&EventFilter::default(), tail, 10).await.unwrap();
    assert!(page.events.is_empty() && !page.more && !page.gap);
    let id = insert(b, job()).await;
    let page = b.events(&EventFilter::default(), tail, 10).await.unwrap();
    assert_eq!(page.events.iter().map(|e| e.job).collect::<Vec<_>>(), [id]);
}

pub async fn an_empty_feed_can_be_followed<H: Harness>(h: H) {
    let b = &*h.backend();
    let page = b.events(&EventFilter::default(), None, 10).await.unwrap();
    assert!(page.events.is_empty() && !page.more && !page.gap);
    let id = insert(b, job()).await;
    let page = b.events(&EventFilter::default(), page.next, 10).await.unwrap();
    assert_eq!(page.events.iter().map(|e| e.job).collect::<Vec<_>>(), [id]);
}

/// Calls that change nothing leave nothing to read.
pub async fn what_changes_nothing_is_not_told<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let new = unique_job("a");
    insert(b, new.clone()).await;
    let lease = claim_one(b, w).await;
    complete(b, &lease).await;
    let tail = b.tail().await.unwrap();
    b.insert(&[new]).await.unwrap();
    claim(b, w, 9).await;
    settle(b, lease.key, completed()).await;
    maintain(b).await;
    beat(b, w, &[lease.key]).await;
    cancel(b, lease.key.job).await;
    assert!(read_on(b, &EventFilter::default(), tail, 9).await.0.is_empty());
}

/// Readers that go on from `next` miss nothing, though many write at once through several handles.
pub async fn a_follower_misses_nothing<H: Harness>(h: H) {
    let b: Arc<H::Backend> = h.backend();
    let second = h.second().await.unwrap_or_else(|| h.backend());
    let follower = tokio::spawn({
        let b = second.clone();
        async move {
            let (mut after, mut seen) = (None, Vec::new());
            let mut ended = 0;
            while ended < 120 {
                let page = b.events(&EventFilter::default(), after, 7).await.unwrap();
                ended += page
                    .events
                    .iter()
                    .filter(|e| matches!(e.body, EventBody::State { to, .. } if to.is_final()))
                    .count();
                seen.extend(page.events);
                after = page.next;
                if !page.more {
                    b.watch(after, ms(50)).await.unwrap();
                }
            }
            seen
        }
    });
    let writers: Vec<_> = (0..6)
        .map(|n| {
            let b = if n % 2 == 0 { b.clone() } else { second.clone() };
            tokio::spawn(async move {
                let w = worker(&*b).await;
                for _ in 0..5 {
                    insert_all(&*b, jobs(4)).await;
                    let leases = claim(&*b, w, 4).await;
                    for lease in leases {
                        complete(&*b, &lease).await;
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    // What one writer inserted another may have claimed too late to see it.
    let w = worker(&*b).await;
    for lease in claim(&*b, w, 1_000).await {
        complete(&*b, &lease).await;
    }
    let seen = follower.await.unwrap();
    let mut wanted = Vec::new();
    for job in all(&*b, Default::default()).await {
        wanted.extend(history(&*b, job.id).await);
    }
    wanted.sort_by_key(|e| e.position);
    assert_eq!(seen.len(), wanted.len(), "each event is seen once");
    assert_eq!(seen, wanted, "in its order");
}

pub async fn a_reader_left_behind_is_told_of_the_gap<H: Harness>(h: H) {
    let b = &*h.backend();
    insert_all(b, jobs(3)).await;
    insert(b, job()).await;
    let page = b.events(&EventFilter::default(), None, 2).await.unwrap();
    let old = page.next;
    some_work(b).await;
    h.advance(ms(30)).await;
    let retention = Retention { events: Some(ms(5)), ..Retention::keep_all() };
    while b.prune(&retention, 100).await.unwrap().more {}
    let fresh = insert(b, job()).await;
    let page = b.events(&EventFilter::default(), old, 1_000).await.unwrap();
    assert!(page.gap, "what lay between was pruned");
    assert!(page.events.iter().any(|e| e.job == fresh), "it goes on with what is there");
    let page = b.events(&EventFilter::default(), page.next, 9).await.unwrap();
    assert!(!page.gap, "once it has caught up there is none");
}

pub async fn a_feed_that_was_pruned_whole_still_has_an_end<H: Harness>(h: H) {
    let b = &*h.backend();
    some_work(b).await;
    let last = b.tail().await.unwrap();
    h.advance(ms(30)).await;
    let retention = Retention { events: Some(ms(5)), ..Retention::keep_all() };
    while b.prune(&retention, 100).await.unwrap().more {}
    let tail = b.tail().await.unwrap();
    assert!(tail.is_some() && tail >= last, "{tail:?} is before {last:?}");
    let fresh = insert(b, job()).await;
    let page = b.events(&EventFilter::default(), tail, 9).await.unwrap();
    assert!(!page.gap, "who begins at the end has missed nothing");
    assert_eq!(page.events.iter().map(|e| e.job).collect::<Vec<_>>(), [fresh]);
}

pub async fn recent_entries_stay<H: Harness>(h: H) {
    let b = &*h.backend();
    some_work(b).await;
    let before = read_all(b, &EventFilter::default()).await;
    let retention = Retention { events: Some(HOUR), ..Retention::keep_all() };
    assert_eq!(b.prune(&retention, 100).await.unwrap().events, 0);
    assert_eq!(b.prune(&Retention::keep_all(), 100).await.unwrap().events, 0);
    assert_eq!(read_all(b, &EventFilter::default()).await, before);
}
