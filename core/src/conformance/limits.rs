//! Limits: each names what is too much, and nothing is written.

use std::collections::BTreeMap;

use super::Harness;
use super::support::*;
use crate::{
    Backend, BlobKey, Error, Limits, NewJob, Payload, Priority, Store, Tag, Unique, UniqueUntil,
};

fn small() -> Limits {
    Limits {
        inline_args: 64,
        tags: 2,
        meta_bytes: 10,
        blobs: 1,
        max_attempts: 25,
        delay: HOUR,
        ..Limits::default()
    }
}

fn raw(bytes: usize) -> Payload {
    Payload { bytes: vec![b'7'; bytes].into(), ..job().args }
}

fn tags(n: usize) -> Vec<Tag> {
    (0..n).map(|n| Tag::new(format!("t{n}")).unwrap()).collect()
}

fn above() -> Vec<(&'static str, NewJob)> {
    let second = HOUR + ms(1_000);
    let blobs = ["a", "b"].map(|n| BlobKey::new(n).unwrap()).to_vec();
    let window = Unique { until: UniqueUntil::For(second), ..unique("a") };
    vec![
        ("args", NewJob { args: raw(65), ..job() }),
        ("tags", NewJob { tags: tags(3), ..job() }),
        ("metadata", NewJob { meta: BTreeMap::from([("k".into(), "x".repeat(10))]), ..job() }),
        ("blobs", NewJob { blobs, ..job() }),
        ("attempts", NewJob { max_attempts: 26, ..job() }),
        ("timeout", NewJob { timeout: Some(second), ..job() }),
        ("delay", NewJob { start: crate::Start::In(second), ..job() }),
        ("window", NewJob { unique: Some(window), ..job() }),
    ]
}

pub async fn what_is_above_a_limit_is_named<H: Harness>(_: H) {
    let h = H::open(small()).await;
    let b = &*h.backend();
    for (what, bad) in above() {
        let error = b.insert(&[job(), bad, job()]).await.unwrap_err();
        assert!(matches!(error, Error::LimitExceeded { .. }), "{what}: {error}");
        assert!(error.to_string().contains(what), "`{error}` does not name the {what}");
        assert_eq!(count(b).await, 0, "nothing was written");
    }
}

pub async fn what_is_at_a_limit_is_taken<H: Harness>(_: H) {
    let h = H::open(small()).await;
    let b = &*h.backend();
    let w = worker(b).await;
    let window = Unique { until: UniqueUntil::For(HOUR), ..unique("a") };
    let new = NewJob {
        args: raw(64),
        tags: tags(2),
        meta: BTreeMap::from([("k".into(), "x".repeat(9))]),
        blobs: vec![BlobKey::new("a").unwrap()],
        max_attempts: 25,
        timeout: Some(HOUR),
        unique: Some(window),
        priority: Priority::LOW,
        ..job()
    };
    let lease = run_new(b, w, new.clone()).await;
    assert_eq!((&lease.args, &lease.meta, &lease.tags), (&new.args, &new.meta, &new.tags));
    insert(b, later()).await;
}

pub async fn values_that_make_no_sense_are_invalid<H: Harness>(h: H) {
    let b = &*h.backend();
    let bad = [NewJob { max_attempts: 0, ..job() }, NewJob { timeout: Some(ms(0)), ..job() }];
    for new in bad {
        let error = b.insert(&[new]).await.unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error}");
        assert!(!error.is_transient());
    }
    assert_eq!(count(b).await, 0);
}

/// F52: an error tells sizes and names, never contents.
pub async fn f52_errors_hold_no_contents<H: Harness>(_: H) {
    let h = H::open(small()).await;
    let b = &*h.backend();
    let secret = "s3cr3t-".repeat(20);
    let meta = BTreeMap::from([("password".to_owned(), secret.clone())]);
    let bad = [NewJob { args: Payload::json(&secret).unwrap(), ..job() }, NewJob { meta, ..job() }];
    for new in bad {
        let error = b.insert(&[new]).await.unwrap_err();
        for text in [error.to_string(), format!("{error:?}"), format!("{error:#?}")] {
            assert!(!text.contains("s3cr3t"), "the error shows contents");
        }
    }
}

pub async fn the_largest_args_are_kept<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let args = raw(b.limits().inline_args);
    let lease = run_new(b, w, NewJob { args: args.clone(), ..job() }).await;
    assert!(lease.args == args);
    let result = Some(raw(b.limits().inline_result));
    let outcome = crate::AttemptOutcome::Completed { result: result.clone(), blobs: Vec::new() };
    settled(b, lease.key, outcome).await;
    assert!(get(b, lease.key.job).await.result == result);
}

pub async fn the_backend_tells_its_limits<H: Harness>(_: H) {
    let h = H::open(small()).await;
    assert_eq!(h.backend().limits(), &small());
}
