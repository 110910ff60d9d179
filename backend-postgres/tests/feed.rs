//! The event feed in the large.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{Place, job};
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
