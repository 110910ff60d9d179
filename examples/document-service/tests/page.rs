//! The page, in a real browser.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::expect_used, unreachable_pub, reason = "modules of a test")]

mod support;

use std::path::PathBuf;

use serde_json::json;
use support::browser::{Browser, ENTER, ESCAPE};
use support::{ADMIN, Place};
use windlass_test_servers::free_port;

/// A file that the browser, which runs as another user, can read.
struct Readable(PathBuf);

impl Readable {
    fn new(text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("{}.txt", windlass::JobId::new()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for Readable {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn the_whole_way(place: Place) {
    let service = place.start(&["--slow", "1500"]);
    let browser = Browser::open(&service.url).await;
    browser.sign_in("wrong").await;
    browser.until_text("#alert", "wrong username or password").await;
    browser.run("document.querySelector('#sign-in').reset()", &[]).await;
    assert_eq!(browser.complaints().await.len(), 1, "the answer 401 alone");
    browser.sign_in(ADMIN.1).await;
    browser.until_text("#live", "Live").await;
    browser.until_text("#none", "No jobs").await;

    let files = ["alpha beta gamma\ndelta\n", "alpha beta gamma\nepsilon\n"].map(Readable::new);
    for (part, file) in ["content_key", "context_key"].iter().zip(&files) {
        browser.keys(&format!("[name={part}]"), file.0.to_str().unwrap()).await;
    }
    // What its row says from now on, however briefly.
    let record = "window.seen = new Set();
        new MutationObserver(() => {
            for (const status of document.querySelectorAll('#jobs .status')) window.seen.add(status.textContent);
        }).observe(document.querySelector('#jobs'), { childList: true, subtree: true });";
    browser.run(record, &[]).await;
    browser.click("#upload button").await;
    // It changes by itself, and takes neither the focus nor a click from who is there.
    browser.until_text("#jobs button", ".txt").await;
    browser.run("(window.row = document.querySelector('#jobs button')).focus()", &[]).await;
    browser.until_text("#jobs .status", "COMPLETED").await;
    browser.until_true("return document.activeElement === window.row").await;
    browser.until_true("return window.seen.has('IN_PROGRESS')").await;

    // With the keyboard.
    browser.keys("#jobs button", ENTER).await;
    browser.until_text("#timeline", "uploading result.json").await;
    browser.until_text("#timeline", "completed").await;
    browser.until_text("#facts", "Similarity: 75.0 %").await;
    browser.until_text("#figures", "Lines 2 2").await;
    browser.keys("#facts summary", ENTER).await;
    browser.until_text("#result", "\"similarity\": 0.75").await;
    browser.until_text("#diff", "+epsilon").await;
    browser.until_text("#facts dl", "blobs/").await;
    assert!(!browser.is_enabled("#cancel").await);
    assert!(browser.is_enabled("#save").await);
    browser.keys("#close", ESCAPE).await;
    browser.until_true("return !document.querySelector('#detail').open").await;
    browser.until_true("return document.activeElement === window.row").await;

    // A reload keeps the session.
    browser.reload().await;
    browser.until_text("#jobs .status", "COMPLETED").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.click("#sign-out").await;
    browser.until_text("#sign-in", "Password").await;
    assert_eq!(
        browser.run("return document.querySelectorAll('#jobs tr').length", &[]).await,
        json!(0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_way_on_sqlite_and_a_folder() {
    the_whole_way(Place::local().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_way_on_postgres_and_an_object_store() {
    the_whole_way(Place::servers().await).await;
}

/// Only what the system's own window for choosing files does is done past the keyboard.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_reached_with_the_keyboard_and_an_open_job_changes_by_itself() {
    let place = Place::local().await;
    let service = place.start(&["--slow", "4000"]);
    let browser = Browser::open(&service.url).await;
    browser.tab_to("#sign-in [name=username]").await;
    browser.press(ADMIN.0).await;
    browser.tab_to("#sign-in [name=password]").await;
    browser.press(&format!("{}{ENTER}", ADMIN.1)).await;
    browser.until_text("#live", "Live").await;

    let file = Readable::new("content");
    for part in ["#upload [name=content_key]", "#upload [name=context_key]"] {
        browser.tab_to(part).await;
        browser.keys(part, file.0.to_str().unwrap()).await;
    }
    browser.tab_to("#upload button").await;
    browser.press(ENTER).await;
    browser.until_text("#jobs button", ".txt").await;
    browser.tab_to("#jobs button").await;
    browser.press(ENTER).await;
    // Nobody touches it.
    browser.until_text("#timeline", "downloading content").await;
    browser.until_text("#timeline", "downloading context").await;
    browser.tab_to("#cancel").await;
    browser.press(ENTER).await;
    browser.until_text("#facts", "FAILED (cancelled)").await;
    browser.tab_to("#retry").await;
    browser.press(ENTER).await;
    browser.until_text("#facts", "IN_PROGRESS").await;
    browser.press(ESCAPE).await;
    browser.until_true("return !document.querySelector('#detail').open").await;
    browser.until_true("return document.activeElement.matches('#jobs button')").await;
    browser.tab_to("#status").await;
    browser.press("F").await;
    browser.until_text("#none", "No jobs with this status").await;
    browser.tab_to("#sign-out").await;
    browser.press(ENTER).await;
    browser.until_true("return document.activeElement.matches('#sign-in [name=username]')").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_catches_up_after_the_service_was_away() {
    let place = Place::local().await;
    let address = format!("127.0.0.1:{}", free_port().unwrap());
    let service = place.start(&["api", "--listen", &address]);
    let user = service.admin().await;
    let browser = Browser::open(&service.url).await;
    browser.sign_in(ADMIN.1).await;
    let first = user.upload("content", "context").await;
    browser.until_text("#jobs", "PENDING").await;
    service.kill_9();
    browser.until_text("#live", "Reconnecting").await;
    // What happens while nobody tells the page.
    let worker = place.start(&["worker"]);
    let service = place.start(&["api"]);
    let elsewhere = service.admin().await;
    elsewhere.until(&first, "COMPLETED").await;
    elsewhere.upload("content", "context").await;
    drop((service, worker));
    let _service = place.start(&["api", "--listen", &address]);
    browser.until_text("#live", "Live").await;
    browser.until_text("#jobs tr:nth-child(2)", "COMPLETED").await;
    browser.until_text("#jobs tr:nth-child(1)", "content.txt").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_starts_anew_when_the_service_has_another_past() {
    let mut place = Place::redis().await;
    let address = format!("127.0.0.1:{}", free_port().unwrap());
    let service = place.start(&["api", "--listen", &address]);
    let browser = Browser::signed_in(&service.url).await;
    service.admin().await.upload("content", "context").await;
    browser.until_text("#jobs", "PENDING").await;
    service.kill_9();
    browser.until_text("#live", "Reconnecting").await;
    // The same users, but jobs and their events are those of another place.
    place.jobs = place.jobs.map(|url| format!("{url}-anew"));
    let _service = place.start(&["api", "--listen", &address]);
    browser.until_text("#live", "Live").await;
    browser.until_text("#none", "No jobs").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_asks_to_sign_in_again_when_the_token_has_expired() {
    let place = Place::local().await;
    let service = place.start(&["api", "--token-ttl", "3"]);
    let browser = Browser::signed_in(&service.url).await;
    // Nobody does anything: the stream of events ends, and cannot be opened again.
    browser.until_text("#alert", "Your session is over").await;
    browser.until_text("#sign-in", "Password").await;
    browser.sign_in(ADMIN.1).await;
    browser.until_text("#live", "Live").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_progress_of_an_upload_is_shown() {
    let place = Place::local().await;
    let service = place.start(&["api"]);
    let browser = Browser::signed_in(&service.url).await;
    browser.set("Network.enable", json!({})).await;
    let slow = json!({"offline": false, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 500_000});
    browser.set("Network.emulateNetworkConditions", slow).await;
    let record = "window.sent = [];
        const bar = document.querySelector('#sent');
        new MutationObserver(() => window.sent.push([bar.hidden, bar.value])).observe(bar, { attributes: true });";
    browser.run(record, &[]).await;
    let files = [Readable::new(&"content ".repeat(100_000)), Readable::new("context")];
    for round in 1..=2 {
        for (part, file) in ["content_key", "context_key"].iter().zip(&files) {
            browser.keys(&format!("[name={part}]"), file.0.to_str().unwrap()).await;
        }
        browser.click("#upload button").await;
        browser.until_text("#sent-text", "Uploaded.").await;
        browser.until_text(&format!("#jobs tr:nth-child({round})"), "PENDING").await;
        let sent = browser.run("return window.sent.splice(0)", &[]).await;
        let sent: Vec<(bool, f64)> = serde_json::from_value(sent).unwrap();
        let shown: Vec<f64> = sent.iter().filter(|step| !step.0).map(|step| step.1).collect();
        assert_eq!((shown.first(), shown.last()), (Some(&0.0), Some(&1.0)), "{sent:?}");
        assert!(
            shown.is_sorted() && shown.iter().any(|part| (0.01..0.99).contains(part)),
            "{sent:?}"
        );
        assert!(sent.last().unwrap().0, "in the end it goes: {sent:?}");
        browser.run("document.querySelector('#sent-text').textContent = ''", &[]).await;
    }
    // What is refused is told, and there is no progress any more.
    drop(service);
    for (part, file) in ["content_key", "context_key"].iter().zip(&files) {
        browser.keys(&format!("[name={part}]"), file.0.to_str().unwrap()).await;
    }
    browser.click("#upload button").await;
    browser.until_text("#alert", "Not uploaded: the connection broke").await;
    browser.until_true("return document.querySelector('#sent').hidden").await;
}

/// A job under the name of the service's own that is none of them.
#[derive(windlass::Job, serde::Serialize, serde::Deserialize)]
#[job(kind = "compare", queue = "documents")]
struct Stranger {}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_can_not_be_read_is_shown_all_the_same() {
    let place = Place::local().await;
    let service = place.start(&["api"]);
    let id = service.admin().await.upload("content", "context").await;
    let client = place.client().await;
    let record = client.get(id.parse().unwrap()).await.unwrap().unwrap();
    let draft = windlass::Draft::new(Stranger {}).tag(record.tags[0].as_str());
    client.enqueue(draft).await.unwrap();
    let browser = Browser::open(&service.url).await;
    browser.sign_in(ADMIN.1).await;
    browser.until_text("#jobs tr:nth-child(1)", "not readable").await;
    browser.until_text("#jobs tr:nth-child(2)", "content.txt – context.txt").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_dropped_and_jobs_cancelled_and_retried() {
    let place = Place::local().await;
    let service = place.start(&["api"]);
    let browser = Browser::signed_in(&service.url).await;
    let markup = "<img src=x onerror=document.title=1>.txt";
    let script = r"
        for (const [n, drop] of document.querySelectorAll('.drop').entries()) {
            const data = new DataTransfer();
            data.items.add(new File(['some text'], n === 0 ? arguments[0] : 'b.txt'));
            drop.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));
        }";
    browser.run(script, &[markup]).await;
    browser.click("#upload button").await;
    browser.until_text("#jobs button", markup).await;
    assert_eq!(browser.run("return document.title", &[]).await, json!("Document service"));
    browser.click("#jobs button").await;
    browser.click("#cancel").await;
    browser.until_text("#facts .status", "FAILED (cancelled)").await;
    browser.until_text("#errors", "cancelled").await;
    browser.click("#retry").await;
    browser.until_text("#facts .status", "PENDING").await;
    browser.click("#close").await;
    // The filter.
    for (status, shown) in [("FAILED", "No jobs"), ("PENDING", "")] {
        let choose =
            "const status = document.querySelector('#status'); status.value = arguments[0];
            status.dispatchEvent(new Event('change'))";
        browser.run(choose, &[status]).await;
        if shown.is_empty() {
            browser.until_text("#jobs", "PENDING").await;
        } else {
            browser.until_text("#none", shown).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_fits_a_phone_and_the_dark() {
    let place = Place::local().await;
    let service = place.start(&[]);
    let user = service.admin().await;
    // A word of this length is shown as a shared term, and nothing breaks it.
    let long = "0".repeat(40);
    let id = user.upload(&long, &long).await;
    user.until(&id, "COMPLETED").await;
    let browser = Browser::open(&service.url).await;
    let phone = json!({"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": true});
    browser.set("Emulation.setDeviceMetricsOverride", phone).await;
    browser.sign_in(ADMIN.1).await;
    browser.until_text("#jobs .status", "COMPLETED").await;
    let wider = "return document.documentElement.scrollWidth - window.innerWidth";
    assert_eq!(browser.run(wider, &[]).await, json!(0));
    browser.click("#jobs button").await;
    browser.until_text("#facts", "Similarity").await;
    assert_eq!(browser.run(wider, &[]).await, json!(0));
    let overflow =
        "const d = document.querySelector('#detail'); return d.scrollWidth - d.clientWidth";
    assert_eq!(browser.run(overflow, &[]).await, json!(0));

    let mut papers = Vec::new();
    for scheme in ["light", "dark"] {
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        browser.set("Emulation.setEmulatedMedia", media).await;
        let paper =
            browser.run("return getComputedStyle(document.body).backgroundColor", &[]).await;
        papers.push(paper.as_str().unwrap().to_owned());
    }
    assert_eq!(papers, ["rgb(246, 247, 249)", "rgb(20, 23, 28)"]);
}
