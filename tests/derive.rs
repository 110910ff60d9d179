//! `#[derive(Job)]`: what it writes. What it says about bad input is in `compile-fail`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use windlass::{Backoff, Job, OnConflict, Priority, UniqueUntil};

#[derive(Job, Serialize, Deserialize)]
struct SendHTTPMail {
    to: String,
}

#[derive(Job, Serialize, Deserialize)]
#[job(kind = "thumb.v2", queue = "media", priority = -10, max_attempts = 5, timeout = "1m30s")]
#[job(output = Vec<String>, backoff(base = "2s", max = "1m", factor = 3, jitter = 0.5))]
#[job(unique(fields(image, width), until = "5m", on_conflict = "replace"))]
struct Thumbnail {
    image: String,
    width: u32,
    quality: u8,
}

fn slowly() -> Backoff {
    Backoff::fixed(Duration::from_secs(60))
}

#[derive(Job, Serialize, Deserialize)]
#[job(timeout = "none", backoff = slowly, unique(key = "customer", until = "started"))]
struct Bill {
    customer: String,
    cents: u64,
}

#[derive(Job, Serialize, Deserialize)]
#[job(unique, backoff(max = "500ms"))]
enum Sweep {
    All,
    Folder { path: String },
}

#[derive(Job, Serialize, Deserialize)]
#[job(crate = "windlass")]
struct Elsewhere;

#[test]
fn what_is_not_said_is_left_to_the_defaults() {
    assert_eq!(SendHTTPMail::KIND, "send_http_mail");
    assert_eq!(SendHTTPMail::QUEUE, "default");
    assert_eq!(SendHTTPMail::PRIORITY, Priority::NORMAL);
    assert_eq!(SendHTTPMail::MAX_ATTEMPTS, 20);
    assert_eq!(SendHTTPMail::TIMEOUT, Some(Duration::from_secs(3_600)));
    assert_eq!(SendHTTPMail::backoff(), Backoff::default());
    assert_eq!(SendHTTPMail { to: String::new() }.unique().unwrap(), None);
    assert_eq!(Elsewhere::KIND, "elsewhere");
}

#[test]
fn every_attribute_arrives() {
    assert_eq!(Thumbnail::KIND, "thumb.v2");
    assert_eq!(Thumbnail::QUEUE, "media");
    assert_eq!(Thumbnail::PRIORITY, Priority(-10));
    assert_eq!(Thumbnail::MAX_ATTEMPTS, 5);
    assert_eq!(Thumbnail::TIMEOUT, Some(Duration::from_secs(90)));
    let backoff = Backoff::exponential(Duration::from_secs(2), Duration::from_secs(60));
    assert_eq!(Thumbnail::backoff(), backoff.with_factor(3.0).with_jitter(0.5));
    let rule =
        |quality| Thumbnail { image: "a".into(), width: 320, quality }.unique().unwrap().unwrap();
    assert_eq!(rule(1).key.as_str(), r#"thumb.v2:["a",320]"#);
    assert_eq!(rule(1), rule(2));
    assert_eq!(rule(1).until, UniqueUntil::For(Duration::from_secs(300)));
    assert_eq!(rule(1).on_conflict, OnConflict::Replace);
    let output: <Thumbnail as Job>::Output = vec!["typed".to_owned()];
    assert_eq!(output.len(), 1);
}

#[test]
fn a_timeout_can_be_none_and_a_backoff_a_function() {
    assert_eq!(Bill::TIMEOUT, None);
    assert_eq!(Bill::backoff(), slowly());
    let rule = Bill { customer: "ann".into(), cents: 1 }.unique().unwrap().unwrap();
    assert_eq!((rule.key.as_str(), rule.until), ("bill:ann", UniqueUntil::Started));
}

#[test]
fn the_whole_args_can_be_the_key() {
    let key = |job: &Sweep| job.unique().unwrap().unwrap().key.as_str().to_owned();
    assert_eq!(key(&Sweep::All), "sweep:All");
    assert_eq!(key(&Sweep::Folder { path: "a".into() }), r#"sweep:{"Folder":{"path":"a"}}"#);
    assert_eq!(Sweep::backoff().base, Duration::from_millis(500));
}
