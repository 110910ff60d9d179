//! What is told live.

use std::time::Duration;

use serde_json::Value;
use windlass::Retention;

use crate::support::{PATIENCE, Place, User};

pub async fn events_are_caught_up_with_after_a_reconnect(place: Place) {
    let service = place.start(&[]);
    let user = service.admin().await;
    let mut events = Events::open(&user, None).await;
    assert_eq!(events.next().await.0, "ready");
    let seen = events.last.clone().unwrap();
    drop(events);
    let id = user.upload("content", "context").await;
    user.until(&id, "COMPLETED").await;
    // From where it was, with all that happened meanwhile.
    let mut events = Events::open(&user, Some(&seen)).await;
    let mut told = Vec::new();
    loop {
        let (event, job) = events.next().await;
        told.push(event);
        if job["status"] == "COMPLETED" {
            assert_eq!(job["job_id"], id.as_str());
            break;
        }
    }
    assert_eq!(told[0], "ready");
    // And on from there, live.
    let other = user.upload("content", "context").await;
    loop {
        let (_, job) = events.next().await;
        assert!(job["job_id"] == id.as_str() || job["job_id"] == other.as_str(), "{job}");
        if job["job_id"] == other.as_str() && job["status"] == "COMPLETED" {
            break;
        }
    }
}

pub async fn who_lost_its_place_among_the_events_is_told_to_start_anew(place: Place) {
    let service = place.start(&["api"]);
    let user = service.admin().await;
    let mut events = Events::open(&user, None).await;
    assert_eq!(events.next().await.0, "ready");
    let before = events.last.clone().unwrap();
    let id = user.upload("content", "context").await;
    // Nothing more happens to it without a worker.
    assert_eq!(events.next().await.1["job_id"], id.as_str());
    let mut current = events.last.clone().unwrap();
    drop(events);

    // No position, and some that this feed has not reached: of another database, or of one that was set back.
    let beyond = |n: u128| format!("{n:x}.{}", "0".repeat(32));
    for last in ["nonsense", "1.x", &beyond(1 << 62), &beyond(u128::MAX), "\u{e9}"] {
        let mut events = Events::open(&user, Some(last)).await;
        let told = [events.next().await.0, events.next().await.0];
        assert_eq!(told, ["ready", "reload"], "{last}");
        assert_eq!(events.last.as_ref(), Some(&current), "{last}");
        // And on from there.
        let id = user.upload("content", "context").await;
        assert_eq!(events.next().await.1["job_id"], id.as_str(), "{last}");
        current.clone_from(events.last.as_ref().unwrap());
    }

    // Events that are kept no longer.
    let mut retention = Retention::keep_all();
    retention.events = Some(Duration::ZERO);
    assert!(place.client().await.prune(&retention).await.unwrap().events > 0);
    let mut events = Events::open(&user, Some(&before)).await;
    assert_eq!([events.next().await.0, events.next().await.0], ["ready", "reload"]);
    // Who has seen all of them has missed nothing.
    let mut events = Events::open(&user, Some(&current)).await;
    assert_eq!(events.next().await.0, "ready");
    let id = user.upload("content", "context").await;
    assert_eq!(events.next().await.1["job_id"], id.as_str());
}

pub async fn a_stream_of_events_ends_with_its_token(place: Place) {
    let service = place.start(&["api", "--token-ttl", "2"]);
    let user = service.admin().await;
    let mut events = Events::open(&user, None).await;
    assert_eq!(events.next().await.0, "ready");
    events.until_end().await;
    assert_eq!(user.get("/events").send().await.unwrap().status(), 401);
}

/// A stream of server-sent events.
pub struct Events {
    answer: reqwest::Response,
    text: String,
    last: Option<String>,
}

impl Events {
    pub async fn open(user: &User, after: Option<&str>) -> Self {
        let request = user.get("/events").header("last-event-id", after.unwrap_or_default());
        let answer = request.send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self { answer, text: String::new(), last: None }
    }

    /// The next event's name and data.
    pub async fn next(&mut self) -> (String, Value) {
        tokio::time::timeout(PATIENCE, self.read()).await.unwrap()
    }

    /// Reads on until the service ends it.
    pub async fn until_end(&mut self) {
        let end = async { while self.answer.chunk().await.unwrap().is_some() {} };
        tokio::time::timeout(PATIENCE, end).await.unwrap();
    }

    async fn read(&mut self) -> (String, Value) {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    block
                        .lines()
                        .find_map(|line| Some(line.strip_prefix(name)?.trim_start().to_owned()))
                };
                let (event, data, id) = (field("event:"), field("data:"), field("id:"));
                self.text = rest.to_owned();
                if let Some(event) = event {
                    self.last = id.or(self.last.take());
                    return (event, serde_json::from_str(&data.unwrap()).unwrap());
                }
                continue;
            }
            let chunk = self.answer.chunk().await;
            self.text.push_str(std::str::from_utf8(&chunk.unwrap().unwrap()).unwrap());
        }
    }
}
