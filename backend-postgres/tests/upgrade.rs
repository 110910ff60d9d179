//! What version 0.1 left in a database is brought up to date and worked on.
//!
//! The fixture is a dump of a database that the library itself filled, see `upgrade/fixture.rs`. It was written by
//!
//! ```sh
//! WINDLASS_WRITE_FIXTURE=1 cargo test -p windlass-postgres --test upgrade -- --exact what_this_version_leaves_is_worked
//! ```
//!
//! and stays as it is once the version is out: a later one adds a file of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;
#[path = "upgrade/fixture.rs"]
mod fixture;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{HOUR, Place, completed};
use fixture::{
    BLOB, BYTES, FAR, LIVE, LOST, OF_ARGS, STAGED, failure, id, key, kind, queue, request,
};
use futures_util::TryStreamExt;
use windlass_core::{
    AttemptOutcome, Backend, BlobKey, Change, ChangeRequest, Client, Event, EventBody, EventFilter,
    Heartbeat, Inserted, JobFilter, JobId, JobQuery, JobRecord, Lane, Lease, LeaseKey, Maintained,
    NewJob, Note, Outbox, Payload, Queue, QueueChange, Retention, Selector, Settled, Settlement,
    Start, State, StatsQuery, Store, Unique, UniqueKey, UniqueUntil,
};
use windlass_postgres::PostgresBackend;

/// What is in the fixture.
const JOBS: [(&str, State); 23] = [
    ("quarantined", State::Available),
    ("completed", State::Completed),
    ("with-blob", State::Completed),
    ("given-up", State::Discarded),
    ("cancelled", State::Cancelled),
    ("window", State::Completed),
    ("passed-window", State::Completed),
    ("running", State::Running),
    ("cancelling", State::Running),
    ("running-unique", State::Running),
    ("orphan", State::Running),
    ("last-attempt", State::Running),
    ("retryable", State::Retryable),
    ("far-retryable", State::Retryable),
    ("snoozed", State::Scheduled),
    ("follow-up", State::Scheduled),
    ("far-follow-up", State::Scheduled),
    ("paused", State::Available),
    ("scheduled", State::Scheduled),
    ("far-scheduled", State::Scheduled),
    ("available", State::Available),
    ("until-started", State::Available),
    ("until-finished", State::Available),
];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

#[tokio::test]
async fn what_version_0_1_left_is_brought_up_to_date_and_worked() {
    let place = Place::new().await;
    fixture::restore(&place, &fixtures().join("schema_0.1.sql"));
    assert_eq!(place.value("SELECT max(version) FROM windlass.migrations").await, "1");
    work(&place).await;
}

/// The same with what the library makes today, so that the way to the next fixture stays open.
#[tokio::test]
async fn what_this_version_leaves_is_worked() {
    let from = Place::new().await;
    fixture::fill(&from).await;
    let dump = fixture::dump(&from);
    let folder = tempfile::tempdir().unwrap();
    let mut file = folder.path().join("dump.sql");
    if std::env::var_os("WINDLASS_WRITE_FIXTURE").is_some() {
        let version = env!("CARGO_PKG_VERSION").rsplit_once('.').unwrap().0;
        file = fixtures().join(format!("schema_{version}.sql"));
    }
    std::fs::write(&file, dump).unwrap();
    let place = Place::new().await;
    fixture::restore(&place, &file);
    work(&place).await;
}

/// A version that changes the schema and adds no step that brings older ones there fails here.
async fn same_as_a_fresh_one(place: &Place) {
    let fresh = Place::new().await;
    fresh.open().await.close().await.unwrap();
    let (found, expected) = (shape(place).await, shape(&fresh).await);
    assert!(expected.len() > 100, "only {} things found", expected.len());
    let missing: Vec<_> = expected.difference(&found).collect();
    let surplus: Vec<_> = found.difference(&expected).collect();
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "missing: {missing:#?}\nsurplus: {surplus:#?}"
    );
}

/// Everything in the schema, as the server describes it. Columns that were added later may stand in another order.
async fn shape(place: &Place) -> BTreeSet<String> {
    let text = place
        .value(
            "SELECT string_agg(line, E'\\x01') FROM (
                SELECT concat_ws(' ', 'version', version) AS line FROM windlass.migrations
                UNION ALL
                SELECT concat_ws(' ', c.relkind, c.relname, c.reloptions, 'rights', c.relacl::text) FROM pg_class AS c
                WHERE c.relnamespace = 'windlass'::regnamespace
                UNION ALL
                SELECT concat_ws(' ', 'column', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attstorage,
                    a.attcollation::regcollation, pg_get_expr(d.adbin, d.adrelid))
                FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
                LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
                WHERE c.relnamespace = 'windlass'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped
                UNION ALL
                SELECT pg_get_indexdef(i.indexrelid) FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
                WHERE c.relnamespace = 'windlass'::regnamespace
                UNION ALL
                SELECT concat_ws(' ', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(oid)) FROM pg_constraint
                WHERE connamespace = 'windlass'::regnamespace
                UNION ALL
                SELECT concat_ws(' ', pg_get_functiondef(oid), 'rights', proacl::text) FROM pg_proc WHERE pronamespace = 'windlass'::regnamespace
                UNION ALL
                SELECT concat_ws(' ', 'view', relname, pg_get_viewdef(oid)) FROM pg_class
                WHERE relnamespace = 'windlass'::regnamespace AND relkind = 'v') AS all_of_it",
        )
        .await;
    text.split('\u{1}').map(str::to_owned).collect()
}

async fn work(place: &Place) {
    let backend = place.open().await;
    same_as_a_fresh_one(place).await;
    let b = &backend;
    all_is_there(b).await;
    contents_are_read(b).await;
    histories_are_read(b).await;
    the_living_go_on(b).await;
    time_goes_on(b).await;
    keys_are_held_and_freed(b).await;
    what_waits_is_run(b).await;
    users_change(b).await;
    histories_end_where_the_jobs_are(b).await;
    what_is_on_its_way_arrives(b).await;
    all_is_pruned(place, b).await;
}

async fn get(b: &PostgresBackend, name: &str) -> JobRecord {
    b.get(id(name)).await.unwrap().unwrap_or_else(|| panic!("no job `{name}`"))
}

async fn key_of(b: &PostgresBackend, name: &str) -> LeaseKey {
    let job = get(b, name).await;
    LeaseKey { job: job.id, epoch: job.epoch, claim_id: job.claim_id.unwrap() }
}

async fn all(b: &PostgresBackend) -> Vec<JobRecord> {
    b.list(&JobQuery::default().limit(100)).await.unwrap().items
}

async fn all_is_there(b: &PostgresBackend) {
    for (name, state) in JOBS {
        assert_eq!(get(b, name).await.state, state, "{name}");
    }
    assert_eq!(all(b).await.len(), JOBS.len());
    let stats = b.stats(&StatsQuery::default()).await.unwrap();
    for state in [State::Available, State::Running, State::Completed, State::Discarded] {
        let stored = all(b).await.iter().filter(|job| job.state == state).count() as u64;
        assert_eq!(stats.in_state(state), stored, "{state:?}");
    }
    let workers = b.workers().await.unwrap();
    let running = |name: &str| workers.iter().find(|w| w.name == name).unwrap().running;
    assert_eq!((running(LIVE), running(LOST)), (3, 2));
    let settings = b.queue_settings(&[]).await.unwrap().remove(0);
    assert!(settings.paused);
    assert_eq!((settings.concurrency, settings.max_depth), (Some(2), Some(100)));
}

async fn contents_are_read(b: &PostgresBackend) {
    let job = get(b, "completed").await;
    assert_eq!(job.result.unwrap().parse::<String>().unwrap(), "the result");
    assert_eq!(job.args.parse::<String>().unwrap(), "completed");
    let job = get(b, "given-up").await;
    let errors: Vec<&str> = job.errors.iter().map(|error| error.message.as_str()).collect();
    assert_eq!(errors, ["first", "hopeless"]);
    let job = get(b, "available").await;
    assert_eq!(job.meta["trace"], "\"quoted\"");
    assert_eq!(job.tags.iter().map(|tag| tag.as_str()).collect::<Vec<_>>(), ["red", "round"]);
    let progress = get(b, "running").await.progress.unwrap();
    assert_eq!(
        (progress.done, progress.total, progress.message.unwrap().as_str()),
        (3, Some(9), "on the way")
    );
    assert!(get(b, "cancelling").await.cancel_requested);
    assert_eq!(get(b, "quarantined").await.crashes, 2);
    assert_eq!(get(b, "snoozed").await.snoozes, 1);
    assert_eq!(blob(b, BLOB).await, BYTES);
    assert_eq!(blob(b, OF_ARGS).await, BYTES);
}

async fn blob(b: &PostgresBackend, name: &str) -> Vec<u8> {
    let body = b.storage().get(&key(name)).await.unwrap();
    let chunks: Vec<_> = body.stream.try_collect().await.unwrap();
    chunks.concat()
}

async fn history(b: &PostgresBackend, id: JobId) -> Vec<Event> {
    b.history(id, None, 100).await.unwrap().events
}

fn states(events: &[Event]) -> Vec<State> {
    let state = |event: &Event| match event.body {
        EventBody::State { to, .. } => Some(to),
        _ => None,
    };
    events.iter().filter_map(state).collect()
}

async fn histories_are_read(b: &PostgresBackend) {
    use State::{Available, Completed, Discarded, Running};
    let of = async |name: &str| history(b, id(name)).await;
    assert_eq!(states(&of("given-up").await), [Available, Running, Available, Running, Discarded]);
    assert_eq!(
        states(&of("quarantined").await),
        [Available, Running, Available, Running, Available]
    );
    let completed = of("completed").await;
    assert_eq!(states(&completed), [Available, Running, Completed]);
    assert!(matches!(completed[3].body, EventBody::Note(Note::Host { .. })));
    let notes = of("running").await;
    let notes = notes.iter().filter(|event| matches!(event.body, EventBody::Note(_))).count();
    assert_eq!(notes, 3);
    // The feed goes on where a reader was before, and tells of what it has lost.
    let read = of("completed").await[1].position;
    let page = b.events(&EventFilter::default(), Some(read), 100).await.unwrap();
    assert!(!page.gap && !page.more && page.events.len() > 30, "{}", page.events.len());
    assert_eq!(page.next, b.tail().await.unwrap());
    let lost = of("quarantined").await[0].position;
    assert!(b.events(&EventFilter::default(), Some(lost), 100).await.unwrap().gap);
}

async fn settle(b: &PostgresBackend, key: LeaseKey, outcome: AttemptOutcome) -> Settled {
    b.settle(&[Settlement::new(key, outcome)]).await.unwrap().remove(0)
}

fn done(result: Option<Payload>) -> AttemptOutcome {
    AttemptOutcome::Completed { result, blobs: Vec::new() }
}

/// A worker that lived through the upgrade keeps its jobs.
async fn the_living_go_on(b: &PostgresBackend) {
    let workers = b.workers().await.unwrap();
    let live = workers.iter().find(|worker| worker.name == LIVE).unwrap().id;
    let names = ["running", "cancelling", "running-unique"];
    let [running, cancelling, unique] = names.map(|name| key_of(b, name));
    let (running, cancelling, unique) = (running.await, cancelling.await, unique.await);
    let beat = b.heartbeat(live, &[running, cancelling, unique]).await.unwrap();
    let expected =
        Heartbeat::Alive { lost: Vec::new(), cancel: vec![cancelling], orphaned: Vec::new() };
    assert_eq!(beat, expected);
    let state = State::Completed;
    let result = Payload::json(&"late").unwrap();
    assert_eq!(settle(b, running, done(Some(result))).await, Settled::Applied { state });
    assert_eq!(settle(b, unique, done(None)).await, Settled::Applied { state });
    assert_eq!(settle(b, unique, done(None)).await, Settled::Already { state });
    // A reply that was lost before the upgrade is asked for after it.
    assert_eq!(
        settle(b, key_of(b, "completed").await, done(None)).await,
        Settled::Already { state }
    );
    let failed = AttemptOutcome::Retry { delay: HOUR, failure: failure("too late") };
    let state = State::Cancelled;
    assert_eq!(settle(b, cancelling, failed).await, Settled::Applied { state });
    assert_eq!(get(b, "running").await.result.unwrap().parse::<String>().unwrap(), "late");
}

/// What was due and who was lost while nobody was there.
async fn time_goes_on(b: &PostgresBackend) {
    let orphan = key_of(b, "orphan").await;
    let mut sum = Maintained::default();
    loop {
        let step = b.maintain(2).await.unwrap();
        sum.promoted += step.promoted;
        sum.workers_removed += step.workers_removed;
        sum.rescued.extend(step.rescued);
        if !step.more {
            break;
        }
    }
    let rescued: BTreeSet<JobId> = sum.rescued.iter().copied().collect();
    assert_eq!(rescued, [id("orphan"), id("last-attempt")].into());
    assert_eq!((sum.promoted, sum.workers_removed), (4, 2), "the lost one, and one without jobs");
    assert_eq!(settle(b, orphan, done(None)).await, Settled::Lost);
    assert_eq!(get(b, "last-attempt").await.state, State::Discarded);
    assert_eq!(get(b, "orphan").await.crashes, 1);
    for name in ["far-scheduled", "far-follow-up"] {
        assert_eq!(get(b, name).await.state, State::Scheduled, "{name}");
    }
}

fn wants(name: &str) -> NewJob {
    let mut job = NewJob::new(kind("mail"), queue("main"), Payload::json("again").unwrap());
    let until = UniqueUntil::Finished;
    let key = UniqueKey::new(name).unwrap();
    job.unique = Some(Unique { key, until, on_conflict: Default::default() });
    job
}

async fn keys_are_held_and_freed(b: &PostgresBackend) {
    for name in ["until-started", "until-finished", "window"] {
        let answer = b.insert(&[wants(name)]).await.unwrap();
        assert_eq!(answer, [Inserted::Duplicate { existing: id(name) }], "{name}");
    }
    for name in ["running-unique", "passed-window"] {
        assert!(b.insert(&[wants(name)]).await.unwrap()[0].is_new(), "{name}");
    }
}

async fn claim(b: &PostgresBackend, queue: &str, lane: Lane) -> Vec<Lease> {
    let w = fixture::worker(b, "new", FAR).await;
    let mut request = request(w, queue, 100);
    request.lane = lane;
    b.claim(&request).await.unwrap().leases
}

async fn complete(b: &PostgresBackend, leases: &[Lease]) {
    let settlements: Vec<Settlement> = leases.iter().map(completed).collect();
    for answer in b.settle(&settlements).await.unwrap() {
        assert_eq!(answer, Settled::Applied { state: State::Completed });
    }
}

fn is_among(leases: &[Lease], names: &[&str]) {
    for name in names {
        assert!(leases.iter().any(|lease| lease.key.job == id(name)), "`{name}` is not claimed");
    }
}

async fn what_waits_is_run(b: &PostgresBackend) {
    let leases = claim(b, "main", Lane::Normal).await;
    let names = [
        "available",
        "orphan",
        "retryable",
        "snoozed",
        "scheduled",
        "follow-up",
        "until-started",
        "until-finished",
    ];
    is_among(&leases, &names);
    assert_eq!(leases.len(), names.len() + 2, "and the two that were inserted");
    assert_eq!(leases[0].key.job, id("available"), "by its priority");
    assert_eq!(leases[0].meta["trace"], "\"quoted\"");
    assert!(b.insert(&[wants("until-started")]).await.unwrap()[0].is_new(), "free by the start");
    complete(b, &leases).await;
    assert!(b.insert(&[wants("until-finished")]).await.unwrap()[0].is_new(), "free by the finish");

    assert_eq!(claim(b, "paused", Lane::Normal).await, []);
    b.configure_queue(&queue("paused"), &QueueChange::default().paused(false)).await.unwrap();
    let leases = claim(b, "paused", Lane::Normal).await;
    is_among(&leases, &["paused"]);
    complete(b, &leases).await;

    let leases = claim(b, "main", Lane::Quarantine).await;
    assert_eq!(leases.len(), 1);
    is_among(&leases, &["quarantined"]);
    complete(b, &leases).await;
}

async fn users_change(b: &PostgresBackend) {
    let change =
        async |target, change| b.change(&ChangeRequest::new(target, change)).await.unwrap().count;
    let far = JobFilter::default().states([State::Scheduled, State::Retryable]);
    assert_eq!(change(Selector::Filter(far), Change::Reschedule { start: Start::Now }).await, 3);
    let given_up = vec![id("given-up"), id("last-attempt")];
    assert_eq!(change(Selector::Ids(given_up), Change::Retry).await, 2);
    let leases = claim(b, "main", Lane::Normal).await;
    is_among(
        &leases,
        &["far-scheduled", "far-retryable", "far-follow-up", "given-up", "last-attempt"],
    );
    assert_eq!(leases.len(), 7, "and the two whose keys were free");
    complete(b, &leases).await;
    let cancelled = vec![id("cancelled")];
    assert_eq!(change(Selector::Ids(cancelled), Change::Delete).await, 1);
}

async fn histories_end_where_the_jobs_are(b: &PostgresBackend) {
    for job in all(b).await {
        let states = states(&history(b, job.id).await);
        assert_eq!(states.last(), Some(&job.state), "{}", job.id);
        assert!(job.state.is_final(), "{}: {:?}", job.id, job.state);
    }
}

async fn what_is_on_its_way_arrives(b: &PostgresBackend) {
    let target = fixture::elsewhere();
    let outbox = Outbox::new(&Client::new(Arc::new(b.clone())), &target);
    assert_eq!(outbox.relay().run_once().await.unwrap().moved, 1);
    let wanted = fixture::on_its_way_to("elsewhere");
    let job = target.get(id("elsewhere")).await.unwrap().unwrap();
    assert_eq!(job.state, State::Available, "its delay is over since long");
    assert_eq!((job.kind, job.queue, job.args), (wanted.kind, wanted.queue, wanted.args));
    assert_eq!((job.timeout, job.meta, job.tags), (wanted.timeout, wanted.meta, wanted.tags));
    assert_eq!(job.unique_key, wanted.unique.map(|unique| unique.key));
    assert_eq!(outbox.stats().await.unwrap().entries, 0);
}

async fn all_is_pruned(place: &Place, b: &PostgresBackend) {
    let mut none = Retention::keep_all();
    none.completed = Some(std::time::Duration::ZERO);
    (none.cancelled, none.discarded, none.events) =
        (none.completed, none.completed, none.completed);
    let mut blobs = BTreeSet::new();
    loop {
        let pruned = b.prune(&none, 10).await.unwrap();
        let named: Vec<BlobKey> = pruned.blobs;
        b.storage().delete(&named).await.unwrap();
        b.blobs_deleted(&named).await.unwrap();
        blobs.extend(named.iter().map(|key| key.as_str().to_owned()));
        if !pruned.more {
            break;
        }
    }
    assert_eq!(blobs, [BLOB, STAGED, OF_ARGS].map(str::to_owned).into());
    assert_eq!(all(b).await, []);
    assert!(b.stats(&StatsQuery::default()).await.unwrap().counts.is_empty());
    assert_eq!(place.value("SELECT coalesce(sum(jobs), 0) FROM windlass.counts").await, "0");
    assert_eq!(b.storage().list("", None, 9).await.unwrap(), []);
    // The window outlives its job.
    let answer = b.insert(&[wants("window")]).await.unwrap();
    assert_eq!(answer, [Inserted::Duplicate { existing: id("window") }]);
}
