//! `Store::list`: pages by keyset, in the order of ids.

use super::Harness;
use super::support::*;
use crate::{Backend, Change, Cursor, Error, JobFilter, JobId, JobQuery, Order, Store};

async fn pages(b: &dyn Backend, order: Order, limit: usize) -> Vec<Vec<JobId>> {
    let mut query = JobQuery { order, limit, ..Default::default() };
    let mut found = Vec::new();
    loop {
        let page = b.list(&query).await.unwrap();
        assert!(page.items.len() <= limit);
        found.push(page.items.iter().map(|j| j.id).collect());
        match page.next {
            Some(next) => query.after = Some(next),
            None => return found,
        }
    }
}

async fn in_every_state(b: &dyn Backend) -> Vec<JobId> {
    let w = worker(b).await;
    let mut found = Vec::new();
    for outcome in every_outcome() {
        let new = job_of("states", K);
        let request = crate::ClaimRequest::new(w, slots(&[("states", 1)]), kinds(&[(K, None)]));
        found.push(insert(b, new).await);
        let lease = claim_with(b, &request).await.remove(0);
        settled(b, lease.key, outcome).await;
    }
    found.push(insert(b, later()).await);
    found.push(run_new(b, w, job()).await.key.job);
    sorted(found)
}

pub async fn jobs_of_all_states_are_listed_in_both_orders<H: Harness>(h: H) {
    let b = &*h.backend();
    let mut wanted = in_every_state(b).await;
    assert_eq!(pages(b, Order::OldestFirst, 100).await.concat(), wanted);
    wanted.reverse();
    assert_eq!(pages(b, Order::NewestFirst, 100).await.concat(), wanted);
}

pub async fn newest_first_is_the_default<H: Harness>(h: H) {
    let b = &*h.backend();
    let mut wanted = insert_all(b, jobs(3)).await;
    wanted.reverse();
    let page = b.list(&JobQuery::default()).await.unwrap();
    assert_eq!(page.items.iter().map(|j| j.id).collect::<Vec<_>>(), wanted);
}

/// Waiting and final jobs may be kept apart; a page must merge them without gap or repetition.
pub async fn pages_neither_miss_nor_repeat<H: Harness>(h: H) {
    let b = &*h.backend();
    let wanted = in_every_state(b).await;
    for order in [Order::OldestFirst, Order::NewestFirst] {
        for limit in 1..=wanted.len() + 1 {
            let mut found = pages(b, order, limit).await.concat();
            if order == Order::NewestFirst {
                found.reverse();
            }
            assert_eq!(found, wanted, "{order:?} by {limit}");
        }
    }
}

pub async fn a_page_holds_as_many_as_there_are<H: Harness>(h: H) {
    let b = &*h.backend();
    insert_all(b, jobs(7)).await;
    let sizes: Vec<_> = pages(b, Order::OldestFirst, 3).await.iter().map(Vec::len).collect();
    assert_eq!(sizes, [3, 3, 1]);
}

pub async fn jobs_come_and_go_between_pages<H: Harness>(h: H) {
    let b = &*h.backend();
    let inserted = insert_all(b, jobs(6)).await;
    let mut query = JobQuery { limit: 2, order: Order::OldestFirst, ..Default::default() };
    let first = b.list(&query).await.unwrap();
    query.after = first.next;
    // The cursor's own job goes, one of the next page goes, and one comes.
    for id in [inserted[1], inserted[2]] {
        assert!(change_one(b, id, Change::Delete).await);
    }
    let new = insert(b, job()).await;
    query.limit = 10;
    let rest: Vec<_> = b.list(&query).await.unwrap().items.iter().map(|j| j.id).collect();
    assert_eq!(rest, [inserted[3], inserted[4], inserted[5], new]);
}

pub async fn an_empty_store_has_an_empty_page<H: Harness>(h: H) {
    let b = &*h.backend();
    let page = b.list(&JobQuery::default()).await.unwrap();
    assert!(page.items.is_empty() && page.next.is_none());
    let after = Some(Cursor(JobId::new()));
    let page = b.list(&JobQuery { after, ..Default::default() }).await.unwrap();
    assert!(page.items.is_empty() && page.next.is_none());
}

pub async fn a_page_of_nothing_or_too_much_is_an_error<H: Harness>(h: H) {
    let b = &*h.backend();
    insert(b, job()).await;
    let zero = b.list(&JobQuery { limit: 0, ..Default::default() }).await.unwrap_err();
    assert!(matches!(zero, Error::Invalid { .. }), "{zero}");
    let limit = b.limits().batch + 1;
    let large = b.list(&JobQuery { limit, ..Default::default() }).await.unwrap_err();
    assert!(matches!(large, Error::LimitExceeded { .. }), "{large}");
    let limit = b.limits().batch;
    assert_eq!(b.list(&JobQuery { limit, ..Default::default() }).await.unwrap().items.len(), 1);
}

pub async fn a_cursor_survives_as_text<H: Harness>(h: H) {
    let b = &*h.backend();
    insert_all(b, jobs(3)).await;
    let mut query = JobQuery { limit: 2, ..Default::default() };
    let next = b.list(&query).await.unwrap().next.expect("there is a second page");
    query.after = Some(next.to_string().parse().unwrap());
    assert_eq!(b.list(&query).await.unwrap().items.len(), 1);
}

pub async fn listing_and_reading_agree<H: Harness>(h: H) {
    let b = &*h.backend();
    in_every_state(b).await;
    for job in all(b, JobFilter::default()).await {
        assert_eq!(get(b, job.id).await, job, "one record, however it is read");
    }
}
