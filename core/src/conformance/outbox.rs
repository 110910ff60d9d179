//! The outbox: entries that commit with the host's rows, are lent to relays, and go once they are delivered.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use super::TransactionalHarness;
use super::support::*;
use crate::outbox::{OUTBOX_QUEUE, Outbox, OutboxEntry, OutboxStore, PutBack, TAKE_BYTES};
use crate::{Client, Error, JobId, MemoryBackend, NewJob, OnConflict, Queue, Unique, Wake};

fn entry(body: impl Into<Bytes>) -> OutboxEntry {
    OutboxEntry::new(JobId::new(), body.into())
}

fn entries(n: usize) -> Vec<OutboxEntry> {
    (0..n).map(|n| entry(format!("body {n}"))).collect()
}

/// Posts in a transaction of its own.
async fn post<H: TransactionalHarness>(h: &H, entries: &[OutboxEntry])
where
    H::Backend: OutboxStore,
{
    let mut tx = h.begin().await;
    h.backend().post_in(H::conn(&mut tx), entries).await.unwrap();
    h.commit(tx).await;
}

/// Takes for an hour, and answers the entries in the order of their ids.
async fn take(b: &impl OutboxStore, limit: u32) -> Vec<OutboxEntry> {
    let mut taken: Vec<_> = b.take(limit, HOUR).await.unwrap();
    taken.sort_by_key(|taken| taken.entry.id);
    taken.into_iter().map(|taken| taken.entry).collect()
}

pub async fn an_entry_commits_with_the_rows<H: TransactionalHarness>(h: H)
where
    H::Backend: OutboxStore,
{
    let b = &*h.backend();
    let posted = entries(3);
    let mut tx = h.begin().await;
    h.put_row(&mut tx, "row").await;
    b.post_in(H::conn(&mut tx), &posted).await.unwrap();
    assert!(take(b, 9).await.is_empty(), "nothing is given before the commit");
    h.commit(tx).await;
    assert_eq!(take(b, 9).await, posted);
    assert_eq!(h.rows().await, ["row"]);
}

pub async fn a_rollback_leaves_no_entry<H: TransactionalHarness>(h: H)
where
    H::Backend: OutboxStore,
{
    let b = &*h.backend();
    let mut tx = h.begin().await;
    b.post_in(H::conn(&mut tx), &entries(2)).await.unwrap();
    h.rollback(tx).await;
    let mut tx = h.begin().await;
    b.post_in(H::conn(&mut tx), &entries(2)).await.unwrap();
    drop(tx);
    let kept = entries(1);
    post(&h, &kept).await;
    assert_eq!(take(b, 9).await, kept);
    assert_eq!(b.outbox_stats().await.unwrap().entries, 1);
}

pub async fn posting_an_id_again_changes_nothing<H: TransactionalHarness>(h: H)
where
    H::Backend: OutboxStore,
{
    let b = &*h.backend();
    let first = entry("first");
    post(&h, std::slice::from_ref(&first)).await;
    let again = OutboxEntry::new(first.id, Bytes::from_static(b"again"));
    let other = entry("other");
    post(&h, &[again, other.clone(), other.clone()]).await;
    assert_eq!(take(b, 9).await, [first, other]);
}

pub async fn bodies_come_back_byte_by_byte<H: TransactionalHarness>(h: H)
where
    H::Backend: OutboxStore,
{
    let b = &*h.backend();
    let every: Vec<u8> = (0..=255).collect();
    let posted = [entry(every), entry(""), entry(vec![0; 300_000])];
    post(&h, &posted).await;
    assert_eq!(take(b, 9).await, posted);
}

pub async fn a_taken_entry_is_given_to_nobody_else<H: TransactionalHarness>(h: H)
where
    H::Backend: OutboxStore,
{
    let (b, second) = (&*h.backend(), second(&h).await);
    let posted = entries(5);
    post(&h, &posted).await;
    let first = take(b, 2).await;
    let rest = take(&*second, 9).await;
    assert_eq!((first.len(), rest.len()), (2, 3));
    assert!(take(b, 9).await.is_empty());
    let ids = |some: &[OutboxEntry]| some.iter().map(|e| e.id).collect::<BTreeSet<_>>();
    assert_eq!(ids(&[first, rest].concat()), ids(&posted));
}

pub async fn concurrent_takers_share_no_entry<H: TransactionalHarness>(h: H)
where
    H::Backend: OutboxStore,
{
    let posted = entries(200);
    post(&h, &posted).await;
    let mut takers = Vec::new();
    for _ in 0..4 {
        let b = h.backend();
        takers.push(tokio::spawn(async move {
            let mut mine = Vec::new();
            loop {
                let some = take(&*b, 7).await;
                if some.is_empty() {
                    return mine;
                }
                mine.extend(some.into_iter().map(|entry| entry.id));
            }
        }));
    }
    let mut all = Vec::new();
    for taker in takers {
        all.extend(taker.await.unwrap());
    }
    // A taker may find nothing while others hold rows that they have not marked yet.
    all.extend(take(&*h.backend(), 999).await.into_iter().map(|entry| entry.id));
    assert_eq!(all.len(), 200, "no entry twice");
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 200);
}

pub async fn an_entry_comes_back_when_its_time_is_up<H: TransactionalHarness>(h: H)
where
    H::Backend: OutboxStore,
{
    let b = &*h.backend();
    let posted = entries(1);
    post(&h, &posted).await;
    assert_eq!(b.take(9, ms(50)).await.unwrap().len(), 1);
    h.advance(ms(60)).await;
    let again = b.take(9, HOUR).await.unwrap();
    assert_eq!(again[0].entry, posted[0]);
    assert!(again[0].waited >= ms(50), "it tells for how long it waits: {:?}", again[0].waited);
    assert_eq!(again[0].refusals, 0);
}

pub async fn a_delivered_entry_is_gone<H: TransactionalHarness>(h: H)
where
    H::Backend: OutboxStore,
{
    let b = &*h.backend();
    let posted = entries(3);
    post(&h, &posted).await;
    take(b, 9).await;
    b.delivered(&[posted[0].id, JobId::new(), posted[2].id]).await.unwrap();
    b.delivered(&[posted[0].id]).await.unwrap();
    b.delivered(&[]).await.unwrap();
    assert_eq!(b.outbox_stats().await.unwrap().entries, 1);
    b.put_back(&[PutBack::new(posted[0].id, Duration::ZERO, None)]).await.unwrap();
    b.put_back(&[PutBack::new(posted[1].id, Duration::ZERO, None)]).await.unwrap();
    assert_eq!(take(b, 9).await, posted[1..2], "what is gone stays gone, others stay");
}

pub async fn an_entry_put_back_is_given_again_after_its_delay<H: TransactionalHarness>(h: H)
where
    H::Backend: OutboxStore,
{
    let b = &*h.backend();
    let posted = entries(3);
    post(&h, &posted).await;
    take(b, 9).await;
    let back =
        [PutBack::new(posted[0].id, Duration::ZERO, None), PutBack::new(posted[1].id, HOUR, None)];
    b.put_back(&back).await.unwrap();
    assert_eq!(take(b, 9).await, posted[..1]);
    assert_eq!(b.outbox_stats().await.unwrap().refused, 0);
}

pub async fn a_refusal_is_kept_with_its_reason<H: TransactionalHarness>(h: H)
where
    H::Backend: OutboxStore,
{
    let b = &*h.backend();
    let posted = entries(3);
    post(&h, &posted).await;
    take(b, 9).await;
    let refuse =
        |n: usize, why: &str| PutBack::new(posted[n].id, Duration::ZERO, Some(why.to_owned()));
    b.put_back(&[refuse(0, "first 'reason'"), refuse(2, "other")]).await.unwrap();
    b.put_back(&[refuse(0, "second \"reason\"\n")]).await.unwrap();
    b.put_back(&[PutBack::new(posted[0].id, Duration::ZERO, None)]).await.unwrap();
    let refused = b.refused(9).await.unwrap();
    let told: Vec<_> = refused.iter().map(|r| (r.id, r.refusals, r.error.as_str())).collect();
    assert_eq!(told, [(posted[0].id, 2, "second \"reason\"\n"), (posted[2].id, 1, "other")]);
    assert_eq!(b.refused(1).await.unwrap().len(), 1);
    let stats = b.outbox_stats().await.unwrap();
    assert_eq!((stats.entries, stats.refused), (3, 2));
    let taken = b.take(9, HOUR).await.unwrap();
    let refusals: Vec<_> = taken.iter().map(|t| (t.entry.id, t.refusals)).collect();
    assert_eq!(refusals.len(), 2);
    assert!(refusals.contains(&(posted[0].id, 2)) && refusals.contains(&(posted[2].id, 1)));
}

/// The others come before one that was given back, whatever their ids.
pub async fn the_longest_free_are_given_first<H: TransactionalHarness>(h: H)
where
    H::Backend: OutboxStore,
{
    let b = &*h.backend();
    let posted = entries(3);
    post(&h, &posted[1..2]).await;
    h.advance(ms(10)).await;
    post(&h, &[posted[2].clone(), posted[0].clone()]).await;
    assert_eq!(take(b, 1).await, posted[1..2]);
    h.advance(ms(10)).await;
    b.put_back(&[PutBack::new(posted[1].id, Duration::ZERO, None)]).await.unwrap();
    assert_eq!(take(b, 2).await, [posted[0].clone(), posted[2].clone()]);
    assert_eq!(take(b, 1).await, posted[1..2]);
}

/// A relay that repeats a job which had replaced another could not know it again, so it is refused before anything is written.
pub async fn a_job_that_replaces_is_refused<H: TransactionalHarness>(h: H)
where
    H::Backend: OutboxStore,
{
    let (b, target) = (h.backend(), Client::new(std::sync::Arc::new(MemoryBackend::default())));
    let outbox = Outbox::new(&Client::new(b.clone()), &target);
    let job = |on_conflict| NewJob { unique: Some(Unique { on_conflict, ..unique("k") }), ..job() };
    let (kept, rejected) = (job(OnConflict::Keep), job(OnConflict::Reject));
    let mut tx = h.begin().await;
    let mixed = vec![job(OnConflict::Keep), job(OnConflict::Replace)];
    let error = outbox.insert_in(H::conn(&mut tx), mixed).await.unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
    let told = error.to_string();
    assert!(told.contains("`OnConflict::Replace`") && told.contains("`Keep`"), "{told}");
    outbox.insert_in(H::conn(&mut tx), vec![kept.clone(), rejected.clone()]).await.unwrap();
    h.commit(tx).await;
    let there: Vec<_> = take(&*b, 9).await.into_iter().map(|entry| entry.id).collect();
    assert_eq!(
        there,
        [kept.id, rejected.id],
        "nothing of the refused call, and the transaction stayed usable"
    );
}

/// A take gives at most about [`TAKE_BYTES`], and at least one entry however large.
pub async fn a_take_is_bounded_in_bytes<H: TransactionalHarness>(h: H)
where
    H::Backend: OutboxStore,
{
    let b = &*h.backend();
    let third = TAKE_BYTES / 3 + 1;
    let posted: Vec<_> = (0..5).map(|n| entry(vec![n; third])).collect();
    post(&h, &posted).await;
    let first = take(b, 99).await.len();
    assert!((1..=4).contains(&first), "{first}");
    let mut all = first;
    while all < 5 {
        let more = take(b, 99).await.len();
        assert!(more > 0);
        all += more;
    }
    post(&h, &[entry(vec![7; TAKE_BYTES + 1])]).await;
    assert_eq!(take(b, 99).await.len(), 1, "one too large is given alone");
}

pub async fn the_age_is_that_of_the_oldest<H: TransactionalHarness>(h: H)
where
    H::Backend: OutboxStore,
{
    let b = &*h.backend();
    assert_eq!(b.outbox_stats().await.unwrap(), Default::default());
    post(&h, &entries(1)).await;
    h.advance(ms(50)).await;
    post(&h, &entries(1)).await;
    let stats = b.outbox_stats().await.unwrap();
    assert_eq!(stats.entries, 2);
    assert!(stats.oldest.is_some_and(|age| age >= ms(50)), "{stats:?}");
}

/// Hints may be lost, so the host goes on committing until one comes through.
pub async fn a_commit_wakes_a_relay<H: TransactionalHarness>(h: H)
where
    H::Backend: OutboxStore,
{
    let b = h.backend();
    let waiter = tokio::spawn(async move { b.wait(&[queue(OUTBOX_QUEUE)], HOUR).await.unwrap() });
    while !waiter.is_finished() {
        post(&h, &entries(1)).await;
        tokio::time::sleep(ms(20)).await;
    }
    assert_eq!(waiter.await.unwrap(), Wake::Hint);
}

pub async fn an_empty_outbox_gives_no_hints<H: TransactionalHarness>(h: H)
where
    H::Backend: OutboxStore,
{
    let b = &*h.backend();
    post(&h, &entries(1)).await;
    assert_eq!(take(b, 9).await.len(), 1);
    assert!(take(b, 9).await.is_empty());
    // A hint about what was before may come late; a wait that never lasts would make a loop of looks.
    loop {
        if b.wait(&[queue(OUTBOX_QUEUE)], ms(20)).await.unwrap() == Wake::Timeout {
            break;
        }
        assert!(take(b, 9).await.is_empty());
    }
}
