//! Many callers at once, through two handles where there are two. F17.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Harness;
use super::support::*;
use crate::{AttemptOutcome, Backend, Inserted, JobFilter, NewJob, Queue, Start, State, Store};

async fn handles<H: Harness>(h: &H) -> [Arc<dyn Backend>; 2] {
    let second = h.second().await.unwrap_or_else(|| h.backend());
    [h.backend(), second]
}

/// F17, F16: no job is handed out twice, and none is lost.
pub async fn f16_f17_no_job_is_lost_or_claimed_twice<H: Harness>(h: H) {
    let handles = handles(&h).await;
    let b = &*handles[0];
    let inserted = insert_all(b, jobs(600)).await;
    let tasks: Vec<_> = (0..8)
        .map(|n| {
            let b = handles[n % 2].clone();
            tokio::spawn(async move {
                let w = worker(&*b).await;
                let mut mine = Vec::new();
                loop {
                    let leases = claim(&*b, w, 1 + (n as u32 * 3) % 11).await;
                    if leases.is_empty() {
                        return mine;
                    }
                    mine.extend(ids(&leases));
                }
            })
        })
        .collect();
    let mut claimed = Vec::new();
    for task in tasks {
        claimed.extend(task.await.unwrap());
    }
    assert_eq!(sorted(claimed), sorted(inserted), "each job once");
    for job in all(b, JobFilter::default()).await {
        assert_eq!((job.state, job.attempt, job.epoch.0), (State::Running, 1, 1));
    }
}

/// F17: settlements of rivals for the same job: one is applied.
pub async fn f17_one_of_many_settlements_is_applied<H: Harness>(h: H) {
    let handles = handles(&h).await;
    let b = &*handles[0];
    let w = worker(b).await;
    for _ in 0..10 {
        let lease = run_new(b, w, job()).await;
        let tasks: Vec<_> = every_outcome()
            .into_iter()
            .enumerate()
            .map(|(n, outcome)| {
                let b = handles[n % 2].clone();
                tokio::spawn(async move { settle(&*b, lease.key, outcome).await })
            })
            .collect();
        let mut applied = Vec::new();
        for task in tasks {
            if let crate::Settled::Applied { state } = task.await.unwrap() {
                applied.push(state);
            }
        }
        assert_eq!(applied, [state(b, lease.key.job).await], "one, and its state holds");
        assert!(change_one(b, lease.key.job, crate::Change::Delete).await);
    }
}

/// Producers, workers, failing handlers and maintenance side by side: in the end every job has completed once.
pub async fn everything_at_once_comes_to_an_end<H: Harness>(h: H) {
    const JOBS: usize = 240;
    let handles = handles(&h).await;
    let producers: Vec<_> = (0..4)
        .map(|n| {
            let b = handles[n % 2].clone();
            tokio::spawn(async move {
                for chunk in 0..JOBS / 4 / 6 {
                    let delay = ms((chunk % 3) as u64);
                    let new = (0..6).map(|_| NewJob { start: Start::In(delay), ..job() }).collect();
                    insert_all(&*b, new).await;
                }
            })
        })
        .collect();
    let workers: Vec<_> = (0..4)
        .map(|n| {
            let b = handles[n % 2].clone();
            tokio::spawn(async move {
                let w = worker(&*b).await;
                let mut completions = Vec::new();
                loop {
                    b.maintain(50).await.unwrap();
                    for lease in claim(&*b, w, 7).await {
                        let outcome = match (lease.attempt, lease.snoozes) {
                            (1, 0) => snoozed(ms(1)),
                            (1, _) => retry(ms(1)),
                            (2, _) if lease.key.epoch.0 == 3 => AttemptOutcome::Released,
                            _ => completed(),
                        };
                        if settled(&*b, lease.key, outcome).await == State::Completed {
                            completions.push(lease.key.job);
                        }
                    }
                    let stats = b.stats(&Default::default()).await.unwrap();
                    if stats.in_state(State::Completed) == JOBS as u64 {
                        return completions;
                    }
                    tokio::time::sleep(ms(1)).await;
                }
            })
        })
        .collect();
    let clock = async {
        loop {
            h.advance(ms(2)).await;
            tokio::time::sleep(ms(1)).await;
        }
    };
    let work = async {
        for producer in producers {
            producer.await.unwrap();
        }
        let mut completions = Vec::new();
        for worker in workers {
            completions.extend(worker.await.unwrap());
        }
        completions
    };
    let completions = tokio::select! {
        completions = work => completions,
        () = clock => unreachable!("the clock never ends"),
    };
    let different: BTreeSet<_> = completions.iter().collect();
    assert_eq!((completions.len(), different.len()), (JOBS, JOBS), "each job completed once");
    for job in all(&*handles[0], JobFilter::default()).await {
        assert_eq!((job.state, job.attempt, job.snoozes), (State::Completed, 2, 1));
        assert_eq!((job.errors.len(), job.crashes, job.epoch.0), (1, 0, 4));
    }
}

pub async fn due_jobs_are_promoted_once<H: Harness>(h: H) {
    let handles = handles(&h).await;
    let b = &*handles[0];
    let soon = (0..100).map(|_| NewJob { start: Start::In(ms(2)), ..job() });
    insert_all(b, soon.collect()).await;
    h.advance(ms(10)).await;
    let tasks: Vec<_> = (0..6)
        .map(|n| {
            let b = handles[n % 2].clone();
            tokio::spawn(async move { maintain_by(&*b, 13).await.promoted })
        })
        .collect();
    let mut promoted = 0;
    for task in tasks {
        promoted += task.await.unwrap();
    }
    assert_eq!(promoted, 100);
    for job in all(b, JobFilter::default()).await {
        assert_eq!(job.state, State::Available);
        assert_eq!(history(b, job.id).await.len(), 2, "promoted once");
    }
}

/// A dropped future leaves its call applied or not applied, never half; sending it again settles which.
pub async fn dropped_calls_are_whole_or_nothing<H: Harness>(h: H) {
    let b = h.backend();
    for n in 0..30_u64 {
        let new = jobs(20);
        let span = std::time::Duration::from_micros(n * 40);
        let dropped = tokio::time::timeout(span, b.insert(&new)).await.is_err();
        let answers = b.insert(&new).await.unwrap();
        let added = answers.iter().filter(|a| a.is_new()).count();
        assert!(added == 0 || added == 20 && dropped, "{added} of 20 were missing");
    }
    assert_eq!(count(&*b).await, 600);
    let w = worker(&*b).await;
    let mut running = 0;
    for n in 0..30_u64 {
        let mut request = request(w, 20);
        let span = std::time::Duration::from_micros(n * 40);
        tokio::time::timeout(span, b.claim(&request)).await.ok();
        request.resend = true;
        let leases = b.claim(&request).await.unwrap().leases;
        assert_eq!(leases.len(), 20, "a claim takes all it can or nothing");
        running += leases.len() as u64;
        let batch: Vec<_> =
            leases.iter().map(|l| crate::Settlement::new(l.key, completed())).collect();
        tokio::time::timeout(span, b.settle(&batch)).await.ok();
        let answers = b.settle(&batch).await.unwrap();
        assert!(answers.iter().all(|a| !matches!(a, crate::Settled::Lost)), "{answers:?}");
    }
    let stats = b.stats(&Default::default()).await.unwrap();
    assert_eq!(stats.in_state(State::Completed), running);
}

/// A change and a claim of the same job at once: one comes first, and the outcome is one of the two orders.
pub async fn a_cancel_and_a_claim_agree<H: Harness>(h: H) {
    let handles = handles(&h).await;
    let b = &*handles[0];
    let w = worker(b).await;
    for _ in 0..20 {
        let id = insert(b, job()).await;
        let claimer = handles[0].clone();
        let claimed = tokio::spawn(async move { claim(&*claimer, w, 1).await });
        let canceller = handles[1].clone();
        let cancelling = tokio::spawn(async move { cancel(&*canceller, id).await });
        let leases = claimed.await.unwrap();
        assert!(cancelling.await.unwrap(), "a job that waits or runs can be cancelled");
        let kept = get(b, id).await;
        match leases.first() {
            None => assert_eq!(kept.state, State::Cancelled),
            Some(lease) => {
                assert_eq!((kept.state, kept.cancel_requested), (State::Running, true));
                assert_eq!(settled(b, lease.key, retry(ms(0))).await, State::Cancelled);
            }
        }
    }
}

pub async fn repeated_inserts_of_one_job_add_it_once<H: Harness>(h: H) {
    let handles = handles(&h).await;
    let new = jobs(10);
    let tasks: Vec<_> = (0..6)
        .map(|n| {
            let (b, new) = (handles[n % 2].clone(), new.clone());
            tokio::spawn(async move { b.insert(&new).await.unwrap() })
        })
        .collect();
    let mut added = 0;
    for task in tasks {
        added += task.await.unwrap().iter().filter(|a: &&Inserted| a.is_new()).count();
    }
    assert_eq!((added, count(&*handles[0]).await), (10, 10));
}
