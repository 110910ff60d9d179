//! `Store::insert` of single jobs, and `Store::get`.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::Harness;
use super::support::*;
use crate::{
    Encoding, Epoch, JobId, NewJob, Payload, Priority, Start, State, Store, Tag, UniqueKey,
};

pub async fn a_job_is_stored_as_given<H: Harness>(h: H) {
    let b = &*h.backend();
    let new = NewJob {
        priority: Priority(-7),
        max_attempts: 3,
        timeout: Some(ms(90_500)),
        unique: Some(unique("order 7")),
        meta: BTreeMap::from([("trace".into(), "00-ab".into()), ("who".into(), "me".into())]),
        tags: vec![Tag::new("red").unwrap(), Tag::new("a:b").unwrap()],
        args: Payload::json(&["x", "y"]).unwrap(),
        ..job_of("mail.out", "send:mail")
    };
    insert(b, new.clone()).await;
    let kept = get(b, new.id).await;
    assert_eq!(kept.id, new.id);
    assert_eq!((&kept.kind, &kept.queue), (&new.kind, &new.queue));
    assert_eq!(kept.args, new.args);
    assert_eq!((kept.priority, kept.max_attempts), (Priority(-7), 3));
    assert_eq!(kept.timeout, new.timeout);
    assert_eq!(kept.meta, new.meta);
    assert_eq!(kept.tags, new.tags, "tags are kept in their order");
    assert_eq!(kept.unique_key, Some(key("order 7")));
}

pub async fn a_fresh_job_is_available_and_untouched<H: Harness>(h: H) {
    let b = &*h.backend();
    let id = insert(b, job()).await;
    let kept = get(b, id).await;
    assert_eq!(kept.state, State::Available);
    assert_eq!((kept.attempt, kept.snoozes, kept.crashes), (0, 0, 0));
    assert_eq!(kept.epoch, Epoch(0));
    assert_eq!(kept.due_at, kept.created_at, "a job that starts now is due when it is inserted");
    assert_eq!((kept.started_at, kept.finished_at), (None, None));
    assert_eq!((kept.worker, kept.claim_id), (None, None));
    assert!(!kept.cancel_requested);
    assert_eq!((kept.progress, kept.result, kept.unique_key), (None, None, None));
    assert!(kept.errors.is_empty());
    assert_eq!(kept.timeout, None);
}

pub async fn a_job_is_claimable_as_soon_as_it_is_stored<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let id = insert(b, job()).await;
    assert_eq!(ids(&claim(b, w, 10).await), [id], "no further step is needed");
}

pub async fn an_unknown_id_reads_as_none<H: Harness>(h: H) {
    let b = &*h.backend();
    insert(b, job()).await;
    assert_eq!(b.get(JobId::new()).await.unwrap(), None);
}

pub async fn an_empty_insert_writes_nothing<H: Harness>(h: H) {
    let b = &*h.backend();
    assert_eq!(b.insert(&[]).await.unwrap(), []);
    assert_eq!(count(b).await, 0);
}

/// F49: what a handler can't parse must fail its attempt, so it has to get through to the handler.
pub async fn f49_args_are_stored_and_claimed_unread<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    for bytes in [&b""[..], b"{", b"\xff\xfe\0\x01", b"not json", b"\0"] {
        let args = Payload { encoding: Encoding::Json, bytes: Bytes::copy_from_slice(bytes) };
        let lease = run_new(b, w, NewJob { args: args.clone(), ..job() }).await;
        assert_eq!(lease.args, args, "the claim brings the very bytes");
        assert_eq!(get(b, lease.key.job).await.args, args, "the record has the very bytes");
    }
}

pub async fn the_encoding_of_args_is_kept<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let args =
        Payload { encoding: Encoding::Blob, bytes: Bytes::from_static(b"{\"$blob\":\"a\"}") };
    let lease = run_new(b, w, NewJob { args: args.clone(), ..job() }).await;
    assert_eq!(lease.args, args);
}

pub async fn extreme_values_are_kept<H: Harness>(h: H) {
    let b = &*h.backend();
    let limits = crate::Limits::default();
    for priority in [i16::MIN, -1, 0, 1, i16::MAX] {
        let new = NewJob {
            priority: Priority(priority),
            max_attempts: limits.max_attempts,
            timeout: Some(limits.delay),
            ..job()
        };
        let kept = get(b, insert(b, new).await).await;
        assert_eq!(kept.priority, Priority(priority));
        assert_eq!(kept.max_attempts, limits.max_attempts);
        assert_eq!(kept.timeout, Some(limits.delay));
    }
}

/// Text of the host's is a value everywhere, never part of a statement or a pattern.
pub async fn odd_text_is_only_text<H: Harness>(h: H) {
    let b = &*h.backend();
    let odd = ["'; DROP TABLE jobs; --", "%_*?[a]", "\"\\{}$1:a?", "naïve 日本 🦀", " "];
    for (n, text) in odd.into_iter().enumerate() {
        let new = NewJob {
            meta: BTreeMap::from([(text.to_owned(), text.to_owned())]),
            unique: Some(unique(text)),
            args: Payload::json(text).unwrap(),
            ..job()
        };
        let kept = get(b, insert(b, new.clone()).await).await;
        assert_eq!(kept.meta, new.meta);
        assert_eq!(kept.args, new.args);
        assert_eq!(kept.unique_key, Some(UniqueKey::new(text).unwrap()));
        assert_eq!(count(b).await, n + 1);
    }
}

pub async fn names_of_full_length_are_kept<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let long = "A-z_0.9:".repeat(16);
    let id = insert(b, job_of(&long, &long)).await;
    let request = crate::ClaimRequest::new(w, slots(&[(&long, 1)]), kinds(&[(&long, None)]));
    let leases = claim_with(b, &request).await;
    assert_eq!(ids(&leases), [id]);
    assert_eq!((leases[0].queue.as_str(), leases[0].kind.as_str()), (&*long, &*long));
}

pub async fn names_that_differ_only_in_case_differ<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    insert_all(b, vec![job_of("Q", K), job_of(Q, "K")]).await;
    assert!(claim(b, w, 10).await.is_empty(), "queue `Q` is not `q`, kind `K` is not `k`");
}

pub async fn jobs_are_due_when_inserted_by_the_clock_of_the_database<H: Harness>(h: H) {
    let b = &*h.backend();
    let first = insert(b, job()).await;
    h.advance(ms(5)).await;
    let second = insert(b, NewJob { start: Start::Now, ..job() }).await;
    let (first, second) = (get(b, first).await, get(b, second).await);
    assert!(first.created_at < second.created_at, "the clock goes on and never back");
}
