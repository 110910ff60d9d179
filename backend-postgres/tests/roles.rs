//! What each role may do, and what it may not.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{HOUR, Place, claim, completed, everything, job, ms, queue, worker};
use windlass_core::{
    AttemptOutcome, Backend, BlobKey, Change, ChangeRequest, Error, EventFilter, Inserted, JobId,
    JobQuery, NewJob, OnConflict, Queue, QueueChange, Record, Retention, Selector, Start,
    StatsQuery, Store, Unique, UniqueKey, UniqueUntil, WorkerInfo,
};
use windlass_postgres::{PostgresBackend, Role};

/// A place with its schema, and a backend of a role that has been given its grants.
async fn granted(role: Role) -> (Place, PostgresBackend, PostgresBackend) {
    let place = Place::new().await;
    let owner = place.open().await;
    let name = place.role().await;
    place.execute(&PostgresBackend::grants_sql("windlass", role, &name).unwrap()).await;
    let backend = PostgresBackend::open(place.options_as(&name)).await.unwrap();
    (place, owner, backend)
}

fn refused<T: std::fmt::Debug>(what: &str, answer: Result<T, Error>) {
    let error = answer.expect_err(what);
    assert!(everything(&error).contains("lacks a privilege"), "{what}: {error:?}");
}

fn with(change: impl FnOnce(&mut NewJob)) -> NewJob {
    let mut job = job();
    change(&mut job);
    job
}

fn unique(key: &str, until: UniqueUntil, on_conflict: OnConflict) -> NewJob {
    let key = UniqueKey::new(key).unwrap();
    with(|job| job.unique = Some(Unique { key, until, on_conflict }))
}

fn blob(name: &str) -> BlobKey {
    BlobKey::new(name).unwrap()
}

async fn put(backend: &PostgresBackend, key: &BlobKey) {
    let body = futures_util::stream::iter([Ok(Bytes::from_static(b"some bytes"))]);
    backend.storage().put(key, Box::pin(body)).await.unwrap();
}

/// Every way in: plain, in bulk, with delays, unique keys of each kind, blobs and a maximum depth.
async fn enqueue(owner: &PostgresBackend, backend: &PostgresBackend) -> JobId {
    let first = job();
    backend.insert(&[first.clone(), job()]).await.unwrap();
    let again = backend.insert(std::slice::from_ref(&first)).await.unwrap();
    assert_eq!(again, [Inserted::Duplicate { existing: first.id }]);
    backend.insert(&[with(|job| job.start = Start::In(HOUR))]).await.unwrap();
    for until in [UniqueUntil::Started, UniqueUntil::Finished, UniqueUntil::For(HOUR)] {
        let key = format!("{until:?}");
        assert!(
            backend.insert(&[unique(&key, until, OnConflict::Keep)]).await.unwrap()[0].is_new()
        );
        for conflict in [OnConflict::Keep, OnConflict::Reject, OnConflict::Replace] {
            let answer = backend.insert(&[unique(&key, until, conflict)]).await.unwrap();
            assert!(!answer[0].is_new(), "{answer:?}");
        }
    }
    // A window that has passed.
    let brief = || unique("brief", UniqueUntil::For(ms(1)), OnConflict::Keep);
    backend.insert(&[brief()]).await.unwrap();
    tokio::time::sleep(ms(5)).await;
    assert!(backend.insert(&[brief()]).await.unwrap()[0].is_new());
    let key = blob("a/b");
    backend.stage_blobs(std::slice::from_ref(&key), HOUR).await.unwrap();
    put(backend, &key).await;
    put(backend, &key).await;
    backend.insert(&[with(|job| job.blobs = vec![key.clone()])]).await.unwrap();
    let replaced = |conflict| {
        let mut job = unique("blob", UniqueUntil::Finished, conflict);
        job.blobs = vec![key.clone()];
        job
    };
    backend.insert(&[replaced(OnConflict::Keep)]).await.unwrap();
    backend.insert(&[replaced(OnConflict::Replace)]).await.unwrap();
    let depth = QueueChange::default().max_depth(Some(1_000));
    owner.configure_queue(&queue(), &depth).await.unwrap();
    backend.insert(&[job()]).await.unwrap();
    first.id
}

#[tokio::test]
async fn a_producer_can_only_enqueue() {
    let (_place, owner, backend) = granted(Role::Producer).await;
    let id = enqueue(&owner, &backend).await;
    refused("get", backend.get(id).await);
    refused("list", backend.list(&JobQuery::default()).await);
    refused("events", backend.events(&EventFilter::default(), None, 9).await);
    let info = WorkerInfo::new("no", HOUR, vec![queue()]);
    refused("register", backend.register(&info).await);
    let id = worker(&owner).await;
    refused("heartbeat", backend.heartbeat(id, &[]).await);
    refused("claim", backend.claim(&common::request(id, 1)).await);
    let lease = claim(&owner, id, 1).await.remove(0);
    refused("settle", backend.settle(&[completed(&lease)]).await);
    let waiting = job();
    owner.insert(std::slice::from_ref(&waiting)).await.unwrap();
    for change in [Change::Cancel { reason: None }, Change::Delete] {
        let request = ChangeRequest::new(Selector::Ids(vec![waiting.id]), change);
        refused("change", backend.change(&request).await);
    }
    refused(
        "configure",
        backend.configure_queue(&queue(), &QueueChange::default().paused(true)).await,
    );
    refused("prune", backend.prune(&Retention::default(), 9).await);
    refused("delete", backend.storage().delete(&[blob("a/b")]).await);
    let read = async {
        let body = backend.storage().get(&blob("a/b")).await?;
        futures_util::TryStreamExt::try_collect::<Vec<_>>(body.stream).await
    };
    refused("read", read.await);
}

/// Whether the server refuses statements to a role, run past the library.
async fn forbidden(place: &Place, role: &str, statements: &[&str]) {
    let url = place.server.url_as(role, "pass", &place.database);
    let mut conn = <sqlx::PgConnection as sqlx::Connection>::connect(&url).await.unwrap();
    for sql in statements {
        let done = sqlx::raw_sql(sqlx::AssertSqlSafe((*sql).to_owned())).execute(&mut conn).await;
        let state = done.as_ref().err().and_then(sqlx::Error::as_database_error);
        let state = state.and_then(|error| error.code()).unwrap_or_default();
        assert_eq!(state, "42501", "{sql}: {done:?}");
    }
}

/// By SQL of its own, too.
#[tokio::test]
async fn a_producer_gets_at_nothing_past_the_library() {
    let place = Place::new().await;
    let owner = place.open().await;
    place.execute("CREATE TABLE host (secret text)").await;
    let name = place.role().await;
    place.execute(&PostgresBackend::grants_sql("windlass", Role::Producer, &name).unwrap()).await;
    enqueue(&owner, &owner).await;
    let columns =
        "args, errors, trail, meta, tags, progress, claim_id, epoch, encoding, rank, lane";
    for column in columns.split(", ") {
        forbidden(&place, &name, &[&format!("SELECT {column} FROM windlass.jobs")]).await;
    }
    let columns = place.value(
        "SELECT string_agg(column_name, ',') FROM information_schema.columns WHERE table_schema = 'windlass' AND table_name = 'jobs'",
    );
    for column in columns.await.split(',') {
        forbidden(&place, &name, &[&format!("UPDATE windlass.jobs SET {column} = {column}")]).await;
    }
    forbidden(
        &place,
        &name,
        &[
            "SELECT * FROM windlass.jobs FOR UPDATE",
            "SELECT id FROM windlass.jobs FOR KEY SHARE",
            "DELETE FROM windlass.jobs",
            "INSERT INTO windlass.jobs (id, claim_id) VALUES (gen_random_uuid(), gen_random_uuid())",
            "INSERT INTO windlass.jobs (id, epoch) VALUES (gen_random_uuid(), 9)",
            "INSERT INTO windlass.jobs (id, lane) VALUES (gen_random_uuid(), 1)",
            "SELECT result FROM windlass.finished",
            "SELECT args FROM windlass.finished",
            "UPDATE windlass.finished SET state = 5",
            "DELETE FROM windlass.finished",
            "INSERT INTO windlass.finished (id) VALUES (gen_random_uuid())",
            "SELECT * FROM windlass.records",
            "SELECT * FROM windlass.overview",
            "SELECT body FROM windlass.events",
            "UPDATE windlass.events SET at = 0",
            "DELETE FROM windlass.events",
            "UPDATE windlass.unique_keys SET job = gen_random_uuid()",
            "DELETE FROM windlass.unique_keys",
            "INSERT INTO windlass.queues (name, paused) VALUES ('queue', true)",
            "UPDATE windlass.queues SET paused = true",
            "UPDATE windlass.queues SET name = name",
            "DELETE FROM windlass.queues",
            "SELECT name FROM windlass.workers",
            "UPDATE windlass.workers SET expires_at = 0",
            "INSERT INTO windlass.workers (id) VALUES (gen_random_uuid())",
            "DELETE FROM windlass.workers",
            "UPDATE windlass.counts SET jobs = 0",
            "DELETE FROM windlass.counts",
            "SELECT job FROM windlass.job_blobs",
            "DELETE FROM windlass.job_blobs",
            "SELECT bytes FROM windlass.blob_chunks",
            "UPDATE windlass.blob_chunks SET bytes = ''",
            "DELETE FROM windlass.blob_chunks",
            "DELETE FROM windlass.blobs",
            "UPDATE windlass.horizon SET seq = 0",
            "INSERT INTO windlass.migrations (version) VALUES (99)",
            "TRUNCATE windlass.jobs",
            "ALTER TABLE windlass.jobs ADD COLUMN more text",
            "CREATE TABLE windlass.more (id text)",
            "DROP FUNCTION windlass.now()",
            "SELECT setval('windlass.feed', 1)",
            "SELECT * FROM host",
        ],
    )
    .await;
}

/// What the functions do that run with the rights of their owner, nobody does without a grant, nor for another schema's objects.
#[tokio::test]
async fn functions_with_their_owners_rights_are_for_those_who_enqueue() {
    let place = Place::new().await;
    let owner = place.open().await;
    enqueue(&owner, &owner).await;
    let calls = [
        "SELECT windlass.lock_depths('{queue}')",
        "SELECT windlass.lock_holder(gen_random_uuid(), 'key')",
        "SELECT windlass.drop_stale('{key}', ARRAY[gen_random_uuid()])",
        "SELECT windlass.sweep_blobs(9)",
        "SELECT windlass.replace_holder(gen_random_uuid(), 2::smallint, '', '', 0::smallint, 0, 0, 0, 0, '', '', 0::smallint, '', '', \
         2::smallint, 0, '', 9, 0)",
    ];
    let name = place.role().await;
    place.execute(&PostgresBackend::grants_sql("windlass", Role::Reader, &name).unwrap()).await;
    forbidden(&place, &name, &calls).await;
    let name = place.role().await;
    place.execute(&PostgresBackend::grants_sql("windlass", Role::Producer, &name).unwrap()).await;
    let url = place.server.url_as(&name, "pass", &place.database);
    let mut conn = <sqlx::PgConnection as sqlx::Connection>::connect(&url).await.unwrap();
    // Objects of the caller's own do not come in between.
    let shadow = "CREATE TEMPORARY TABLE jobs (id uuid); CREATE FUNCTION pg_temp.count() RETURNS bigint LANGUAGE sql AS 'SELECT 1 / 0'; \
         SET search_path = pg_temp, pg_catalog";
    sqlx::raw_sql(shadow).execute(&mut conn).await.unwrap();
    for call in calls {
        sqlx::raw_sql(call).execute(&mut conn).await.unwrap();
    }
    let pinned = "SELECT bool_and(proconfig::text LIKE '%search_path=pg_catalog, pg_temp%')::text FROM pg_proc \
         WHERE prosecdef AND pronamespace = 'windlass'::regnamespace";
    assert_eq!(place.value(pinned).await, "true");
}

/// Whoever works may change any job: what sets the roles apart is the settings of queues.
#[tokio::test]
async fn a_worker_and_an_operator_differ_in_the_settings_of_queues_alone() {
    let grants = |role| PostgresBackend::grants_sql("windlass", role, "x").unwrap();
    let (worker, operator) = (grants(Role::Worker), grants(Role::Operator));
    let more: Vec<&str> = operator.strip_prefix(&worker).unwrap().lines().collect();
    assert_eq!(more, [r#"GRANT INSERT, UPDATE, DELETE ON "windlass".queues TO "x";"#]);
    let (_place, owner, backend) = granted(Role::Worker).await;
    let id = enqueue(&owner, &owner).await;
    for change in [Change::Cancel { reason: None }, Change::Retry, Change::Delete] {
        let request = ChangeRequest::new(Selector::Ids(vec![id]), change);
        assert_eq!(backend.change(&request).await.unwrap().count, 1);
    }
}

/// A worker works: the schema, the settings of queues and the host's own tables are none of its business.
#[tokio::test]
async fn a_worker_gets_at_nothing_but_its_work() {
    let place = Place::new().await;
    let owner = place.open().await;
    place.execute("CREATE TABLE host (secret text)").await;
    let name = place.role().await;
    place.execute(&PostgresBackend::grants_sql("windlass", Role::Worker, &name).unwrap()).await;
    enqueue(&owner, &owner).await;
    forbidden(
        &place,
        &name,
        &[
            "INSERT INTO windlass.queues (name, paused) VALUES ('queue', true)",
            "UPDATE windlass.queues SET paused = true",
            "UPDATE windlass.queues SET name = name",
            "DELETE FROM windlass.queues",
            "INSERT INTO windlass.migrations (version) VALUES (99)",
            "DELETE FROM windlass.horizon",
            "TRUNCATE windlass.jobs",
            "ALTER TABLE windlass.jobs ADD COLUMN more text",
            "DROP TABLE windlass.jobs",
            "CREATE TABLE windlass.more (id text)",
            "CREATE FUNCTION windlass.more() RETURNS bigint LANGUAGE sql AS 'SELECT 1'",
            "DROP FUNCTION windlass.now()",
            "SELECT setval('windlass.feed', 1)",
            "SELECT * FROM host",
            "INSERT INTO host VALUES ('x')",
        ],
    )
    .await;
}

#[tokio::test]
async fn a_worker_can_only_work() {
    let (_place, owner, backend) = granted(Role::Worker).await;
    enqueue(&owner, &backend).await;
    let id = worker(&backend).await;
    let leases = claim(&backend, id, 5).await;
    assert_eq!(leases.len(), 5);
    backend.heartbeat(id, &[]).await.unwrap();
    backend.record(&[Record::new(leases[0].key, Vec::new())]).await.unwrap();
    let mut more = completed(&leases[0]);
    more.follow_ups = vec![job(), unique("follow", UniqueUntil::Finished, OnConflict::Keep)];
    backend.settle(&[more]).await.unwrap();
    backend.settle(&[completed(&leases[1])]).await.unwrap();
    let release = windlass_core::Settlement::new(leases[2].key, AttemptOutcome::Released);
    backend.settle(&[release]).await.unwrap();
    backend.deregister(id).await.unwrap();
    let maintained = backend.maintain(99).await.unwrap();
    assert_eq!(maintained.rescued.len(), 2);
    backend.prune(&Retention::default(), 99).await.unwrap();
    backend.blobs_deleted(&[blob("a/b")]).await.unwrap();
    backend.storage().delete(&[blob("a/b")]).await.unwrap();
    backend.queue_settings(&[]).await.unwrap();
    backend.workers().await.unwrap();
    backend.events(&EventFilter::default(), None, 9).await.unwrap();
    backend.watch(backend.tail().await.unwrap(), ms(50)).await.unwrap();
    refused(
        "configure",
        backend.configure_queue(&queue(), &QueueChange::default().paused(true)).await,
    );
}

#[tokio::test]
async fn an_operator_can_do_everything() {
    let (_place, owner, backend) = granted(Role::Operator).await;
    let id = enqueue(&owner, &backend).await;
    backend.configure_queue(&queue(), &QueueChange::default().max_depth(None)).await.unwrap();
    for change in [Change::Cancel { reason: None }, Change::Retry, Change::Delete] {
        let request = ChangeRequest::new(Selector::Ids(vec![id]), change);
        assert_eq!(backend.change(&request).await.unwrap().count, 1);
    }
    let id = worker(&backend).await;
    let lease = claim(&backend, id, 1).await.remove(0);
    backend.settle(&[completed(&lease)]).await.unwrap();
}

#[tokio::test]
async fn a_reader_can_read_everything_and_change_nothing() {
    let (place, owner, backend) = granted(Role::Reader).await;
    let id = enqueue(&owner, &owner).await;
    assert!(backend.get(id).await.unwrap().is_some());
    assert!(backend.list(&JobQuery::default()).await.unwrap().items.len() > 5);
    assert!(!backend.history(id, None, 9).await.unwrap().events.is_empty());
    assert!(!backend.events(&EventFilter::default(), None, 9).await.unwrap().events.is_empty());
    backend.watch(backend.tail().await.unwrap(), Duration::from_millis(50)).await.unwrap();
    backend.stats(&StatsQuery::default()).await.unwrap();
    backend.workers().await.unwrap();
    backend.queue_settings(&[]).await.unwrap();
    backend.ping().await.unwrap();
    let _ = backend.storage().get(&blob("a/b")).await.unwrap();
    refused("insert", backend.insert(&[job()]).await);
    refused("register", backend.register(&WorkerInfo::new("no", HOUR, vec![queue()])).await);
    refused("configure", backend.configure_queue(&queue(), &QueueChange::default()).await);
    let jobs = place.value("SELECT count(*) FROM windlass.overview").await;
    assert_ne!(jobs, "0");
}
