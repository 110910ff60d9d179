//! Progress, log lines and host events: recorded by owners, appended by the host.

use serde_json::value::RawValue;

use super::Harness;
use super::support::*;
use crate::{
    Backend, Error, EventBody, EventName, JobId, LeaseKey, Limits, LogLevel, Note, Progress, Queue,
    Record, Recorded, Settled, Settlement, State, Store,
};

fn log(message: &str) -> Note {
    Note::Log { level: LogLevel::Warn, message: message.to_owned() }
}

fn host(name: &str, json: &str) -> Note {
    let data = RawValue::from_string(json.to_owned()).unwrap();
    Note::Host { name: EventName::new(name).unwrap(), data }
}

fn progress(done: u64) -> Note {
    Note::Progress(Progress { done, total: Some(10), message: Some(format!("step {done}")) })
}

async fn record(b: &dyn Backend, key: LeaseKey, notes: Vec<Note>) -> Recorded {
    b.record(&[Record::new(key, notes)]).await.unwrap().remove(0)
}

async fn notes_of(b: &dyn Backend, id: JobId) -> Vec<Note> {
    let notes = history(b, id).await.into_iter().filter_map(|e| match e.body {
        EventBody::Note(note) => Some(note),
        _ => None,
    });
    notes.collect()
}

pub async fn notes_are_kept_as_given_and_in_order<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    let first = vec![log("one"), progress(1), host("paid", "{\"sum\": 1.50,\n \"z\":0}")];
    let second =
        vec![log(""), log("naïve 'line'\n\t\"two\" 🦀 %"), progress(2), host("x:y", "null")];
    for notes in [&first, &second] {
        assert_eq!(record(b, lease.key, notes.clone()).await, Recorded::Applied);
    }
    assert_eq!(notes_of(b, lease.key.job).await, [first, second].concat());
    let events = history(b, lease.key.job).await;
    assert!(events.windows(2).all(|p| p[0].position < p[1].position));
}

pub async fn progress_shows_in_the_record<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    record(b, lease.key, vec![progress(1), progress(5), log("line")]).await;
    let kept = get(b, lease.key.job).await;
    let wanted = Progress { done: 5, total: Some(10), message: Some("step 5".to_owned()) };
    assert_eq!(kept.progress, Some(wanted), "the last one reported");
    let bare = Progress { done: u64::from(u32::MAX) + 7, total: None, message: None };
    record(b, lease.key, vec![Note::Progress(bare.clone())]).await;
    assert_eq!(get(b, lease.key.job).await.progress, Some(bare.clone()));
    complete(b, &lease).await;
    assert_eq!(get(b, lease.key.job).await.progress, Some(bare), "it stays at the end");
}

pub async fn records_of_many_jobs_go_in_one_call<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    insert_all(b, jobs(10)).await;
    let leases = claim(b, w, 10).await;
    complete(b, &leases[4]).await;
    let note = |n: usize| vec![log(&format!("line {n}"))];
    let records: Vec<_> =
        leases.iter().enumerate().map(|(n, lease)| Record::new(lease.key, note(n))).collect();
    let answers = b.record(&records).await.unwrap();
    for (n, lease) in leases.iter().enumerate() {
        let (answer, kept) =
            if n == 4 { (Recorded::Lost, Vec::new()) } else { (Recorded::Applied, note(n)) };
        assert_eq!(answers[n], answer);
        assert_eq!(notes_of(b, lease.key.job).await, kept);
    }
}

pub async fn the_last_notes_come_with_the_settlement<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    for outcome in every_outcome() {
        let lease = run_new(b, w, job()).await;
        record(b, lease.key, vec![log("early")]).await;
        let notes = vec![log("late"), progress(9)];
        let settlement =
            Settlement { notes: notes.clone(), ..Settlement::new(lease.key, outcome.clone()) };
        let answer = settle_whole(b, settlement).await;
        assert!(matches!(answer, Settled::Applied { .. }), "{answer:?}");
        let kept = notes_of(b, lease.key.job).await;
        assert_eq!(kept, [vec![log("early")], notes].concat(), "with {outcome:?}");
        assert_eq!(get(b, lease.key.job).await.progress.map(|p| p.done), Some(9));
        change_one(b, lease.key.job, crate::Change::Delete).await;
    }
}

pub async fn the_host_appends_to_any_job<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    complete(b, &lease).await;
    let waiting = insert(b, later()).await;
    let before = (get(b, waiting).await, get(b, lease.key.job).await);
    for id in [waiting, lease.key.job] {
        let notes = [host("invoice", "[1,2]"), log("seen")];
        b.append(id, &notes).await.unwrap();
        assert_eq!(notes_of(b, id).await, notes);
    }
    let after = (get(b, waiting).await, get(b, lease.key.job).await);
    assert_eq!(after, before, "the jobs themselves stay as they are");
}

pub async fn what_can_not_be_appended_is_an_error<H: Harness>(h: H) {
    let b = &*h.backend();
    let id = insert(b, job()).await;
    let error = b.append(JobId::new(), &[log("line")]).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    let error = b.append(id, &[log("line"), progress(1)]).await.unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
    let large = format!("\"{}\"", "x".repeat(b.limits().event_bytes));
    let error = b.append(id, &[log("line"), host("large", &large)]).await.unwrap_err();
    assert!(matches!(error, Error::LimitExceeded { .. }), "{error}");
    assert!(notes_of(b, id).await.is_empty(), "nothing was written");
}

pub async fn a_large_event_is_refused<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    let large = host("large", &format!("\"{}\"", "x".repeat(b.limits().event_bytes)));
    let answer = record(b, lease.key, vec![log("line"), large.clone()]).await;
    assert!(matches!(answer, Recorded::Refused { .. }), "{answer:?}");
    let settlement = Settlement { notes: vec![large], ..Settlement::new(lease.key, completed()) };
    let answer = settle_whole(b, settlement).await;
    assert!(matches!(answer, Settled::Refused { .. }), "{answer:?}");
    assert!(notes_of(b, lease.key.job).await.is_empty(), "nothing was written");
    assert_eq!(state(b, lease.key.job).await, State::Running);
    complete(b, &lease).await;
}

pub async fn a_job_holds_so_many_notes_and_no_more<H: Harness>(_: H) {
    let h = H::open(Limits { events_per_job: 3, ..Limits::default() }).await;
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    assert_eq!(record(b, lease.key, vec![log("1"), log("2")]).await, Recorded::Applied);
    let answer = record(b, lease.key, vec![log("3"), log("4")]).await;
    assert!(matches!(answer, Recorded::Refused { .. }), "{answer:?}");
    assert_eq!(notes_of(b, lease.key.job).await.len(), 2, "all of a record or nothing");
    assert_eq!(record(b, lease.key, vec![log("3")]).await, Recorded::Applied);
    let error = b.append(lease.key.job, &[log("4")]).await.unwrap_err();
    assert!(matches!(error, Error::LimitExceeded { .. }), "{error}");
    complete(b, &lease).await;
}

pub async fn notes_survive_retries_and_the_pruning_of_the_feed<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    record(b, lease.key, vec![log("first attempt")]).await;
    settled(b, lease.key, retry(ms(0))).await;
    let lease = claim_one(b, w).await;
    record(b, lease.key, vec![log("second attempt")]).await;
    h.advance(ms(20)).await;
    let retention = crate::Retention { events: Some(ms(5)), ..crate::Retention::keep_all() };
    b.prune(&retention, 100).await.unwrap();
    let wanted = [log("first attempt"), log("second attempt")];
    assert_eq!(notes_of(b, lease.key.job).await, wanted, "kept as long as the job");
}

/// Messages are text for people: what is too long is cut, so that a chatty handler loses no line.
pub async fn long_messages_are_cut<H: Harness>(_: H) {
    let h = H::open(Limits { event_bytes: 20, ..Limits::default() }).await;
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    let long = "€".repeat(30);
    let message = Some(long.clone());
    let progress = Progress { done: 1, total: None, message };
    let notes = vec![log(&long), Note::Progress(progress.clone())];
    assert_eq!(record(b, lease.key, notes).await, Recorded::Applied);
    b.append(lease.key.job, &[log(&long)]).await.unwrap();
    let cut = crate::limits::cut(&long, 20);
    let progress = Progress { message: Some(cut.clone()), ..progress };
    let wanted = [log(&cut), Note::Progress(progress.clone()), log(&cut)];
    assert_eq!(notes_of(b, lease.key.job).await, wanted);
    assert_eq!(get(b, lease.key.job).await.progress, Some(progress));
}
