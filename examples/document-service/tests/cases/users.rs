//! Who may do what.

use serde_json::{Value, json};

use super::Events;
use crate::support::{ADMIN, Place, User, until};

pub async fn tokens_are_needed_and_expire(place: Place) {
    let service = place.start(&["api", "--token-ttl", "2"]);
    for (name, password) in
        [(ADMIN.0, "wrong"), ("nobody@example.org", ADMIN.1), ("", ""), ("a\0b", "c")]
    {
        assert_eq!(service.try_sign_in(name, password).await.status(), 401, "{name:?}");
    }
    let long = "x".repeat(100_000);
    assert_eq!(service.try_sign_in(ADMIN.0, &long).await.status(), 401);
    let user = service.admin().await;
    let post = user.http.post(format!("{}/auth/token", user.base));
    assert_eq!(post.form(&[("username", ADMIN.0)]).send().await.unwrap().status(), 422);

    for token in ["", "nonsense", &"x".repeat(10_000)] {
        let stranger = User { token: token.to_owned(), ..user.clone() };
        for path in ["/jobs", "/jobs/x", "/jobs/x/result", "/events"] {
            let answer = stranger.get(path).send().await.unwrap();
            assert_eq!(answer.status(), 401, "{path}");
            assert_eq!(answer.headers()["www-authenticate"], "Bearer");
        }
        for path in ["/jobs/upload", "/jobs/x/cancel", "/jobs/x/retry"] {
            assert_eq!(stranger.post(path).send().await.unwrap().status(), 401, "{path}");
        }
    }
    let bare = user.http.get(format!("{}/jobs", user.base)).send().await.unwrap();
    assert_eq!(bare.status(), 401);

    until("the token expires", async || {
        let status = user.get("/jobs").send().await.unwrap().status();
        assert!(status == 200 || status == 401, "{status}");
        (status == 401).then_some(())
    })
    .await;
}

pub async fn nothing_of_another_user_is_seen(place: Place) {
    let service = place.start(&[]);
    let password = place.add_user("other@example.org");
    let owner = service.admin().await;
    let other = service.sign_in("other@example.org", &password).await;
    let mut events = Events::open(&other, None).await;
    assert_eq!(events.next().await.0, "ready");

    let id = owner.upload("content", "context").await;
    owner.until(&id, "COMPLETED").await;
    for path in [format!("/jobs/{id}"), format!("/jobs/{id}/result")] {
        assert_eq!(other.get(&path).send().await.unwrap().status(), 404, "{path}");
    }
    for path in [format!("/jobs/{id}/cancel"), format!("/jobs/{id}/retry")] {
        assert_eq!(other.post(&path).send().await.unwrap().status(), 404, "{path}");
    }
    assert_eq!(other.json("/jobs").await, json!({"items": [], "next": null}));
    // The first that the other user hears of is a job of that user.
    let own = other.upload("content", "context").await;
    let (event, job): (String, Value) = events.next().await;
    assert_eq!((event.as_str(), &job["job_id"]), ("job", &json!(own)));

    for id in ["0197c4b2-90c5-7a3e-8f64-1d2b3c4d5e6f", "nonsense", "..%2f..", "%00"] {
        assert_eq!(owner.get(&format!("/jobs/{id}")).send().await.unwrap().status(), 404, "{id}");
    }
}
