//! The event feed in the large.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{LOCK_WAITS, Place, job};
use sqlx::Connection as _;
use windlass_core::{EventFilter, JobId, NewJob, Store};

/// Entries of big batches: a page holds what fits, and says that there is more.
#[tokio::test]
async fn a_page_of_the_feed_is_bounded_in_bytes() {
    let place = Place::new().await;
    let backend = place.open().await;
    let jobs: Vec<NewJob> = (0..12).map(|_| job()).collect();
    for job in &jobs {
        backend.insert(std::slice::from_ref(job)).await.unwrap();
    }
    // Blanks are as good as names of jobs.
    place.execute("UPDATE windlass.events SET body = body || repeat(' ', 4 << 20)").await;
    let (mut after, mut seen, mut pages) = (None, Vec::<JobId>::new(), 0);
    loop {
        let page = backend.events(&EventFilter::default(), after, 100).await.unwrap();
        assert!(page.events.len() <= 5, "{} entries in one page", page.events.len());
        seen.extend(page.events.iter().map(|event| event.job));
        (after, pages) = (page.next, pages + 1);
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, jobs.iter().map(|job| job.id).collect::<Vec<_>>());
    assert!(pages >= 3, "{pages}");
}

/// A plain insert, of one job as of many, has drawn its number and waits: readers stop before it, also when a higher number is committed.
#[tokio::test(flavor = "multi_thread")]
async fn readers_wait_for_a_plain_insert_that_has_drawn_its_number() {
    let place = Place::new().await;
    let backend = place.open().await;
    let seen = async || {
        let page = backend.events(&EventFilter::default(), None, 100).await.unwrap();
        page.events.iter().map(|event| event.job).collect::<Vec<_>>()
    };
    let mut expected = Vec::new();
    for count in [1, 2] {
        let jobs: Vec<NewJob> = (0..count).map(|_| job()).collect();
        let mut host = place.host().await;
        let mut tx = host.begin().await.unwrap();
        // Somebody else is about to store a job of the same id, by hand.
        let row = "INSERT INTO windlass.jobs (id, state, priority, queue, kind, due_at, max_attempts, created_at, encoding, args, trail)
            VALUES ($1, 1, 0, 'other', 'other', 0, 1, 0, 1, '', '')";
        let row = sqlx::query(row).bind(*jobs[count - 1].id.as_uuid());
        row.execute(&mut *tx).await.unwrap();
        let waits = tokio::spawn({
            let (backend, jobs) = (backend.clone(), jobs.clone());
            async move { backend.insert(&jobs).await }
        });
        place.until(LOCK_WAITS, "1").await;
        let later = job();
        backend.insert(std::slice::from_ref(&later)).await.unwrap();
        assert_eq!(seen().await, expected, "an entry below is still to come");
        tx.rollback().await.unwrap();
        waits.await.unwrap().unwrap();
        let mut ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
        ids.sort_unstable();
        expected.extend(ids);
        expected.push(later.id);
        assert_eq!(seen().await, expected);
    }
}
