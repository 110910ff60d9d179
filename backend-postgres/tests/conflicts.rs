//! Deadlocks and serialization failures: who was ended runs again as a whole, and nothing is lost or doubled. The library never runs above `READ COMMITTED`,
//! so that a `SERIALIZABLE` neighbour fails by itself; what raises 40001 here is a trigger.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::collections::HashMap;
use std::sync::Arc;

use common::{claim, completed, job, ms, worker};
use sqlx::{Connection, PgConnection};
use windlass_core::{
    AttemptOutcome, Change, ChangeRequest, EventBody, Failure, FailureKind, Inserted, JobFilter,
    JobId, Lease, LogLevel, NewJob, Note, OnConflict, Queue, Record, Recorded, Selector, Settled,
    Settlement, State, StatsQuery, Store, Transactional, Unique, UniqueKey, UniqueUntil,
};
use windlass_postgres::{PostgresBackend, PostgresOptions};
use windlass_test_servers::PostgresServer;

struct Place {
    server: PostgresServer,
    backend: Arc<PostgresBackend>,
}

impl Place {
    async fn new() -> Self {
        // Whoever has waited for so long looks whether it is in a deadlock, once, and is ended if so. By then the host waits as well.
        let builder = PostgresServer::builder().setting("deadlock_timeout", "10s");
        let server = builder.start().await.unwrap();
        let url = server.url("postgres");
        let options = PostgresOptions::from_url(&url).unwrap().listen(false).notify(false);
        // Else who waits gives up before it is found to be in a deadlock.
        let options = options.lock_timeout(ms(60_000));
        let backend = Arc::new(PostgresBackend::open(options).await.unwrap());
        Self { server, backend }
    }

    /// A connection of the host's, which looks too late to be the one that is ended.
    async fn host(&self) -> PgConnection {
        let mut conn = PgConnection::connect(&self.server.url("postgres")).await.unwrap();
        sqlx::raw_sql("SET deadlock_timeout = '1min'").execute(&mut conn).await.unwrap();
        conn
    }

    async fn value(&self, sql: &str) -> String {
        self.server.value("postgres", sql).await.unwrap().unwrap_or_default()
    }

    /// Waits until a statement of the library's waits for a lock.
    async fn until_one_waits(&self) {
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        common::until(async || self.value(waits).await == "1").await;
    }

    fn deadlocks(&self) -> usize {
        self.server.log().unwrap().matches("deadlock detected").count()
    }

    /// The numbers that are kept are those of the rows.
    async fn counts_agree(&self) {
        let stats = self.backend.stats(&StatsQuery::default()).await.unwrap();
        for state in State::ALL {
            let sql = format!(
                "SELECT count(*) FROM (SELECT state FROM windlass.jobs UNION ALL SELECT state FROM windlass.finished) AS s WHERE state = {}",
                state.code()
            );
            assert_eq!(stats.in_state(state).to_string(), self.value(&sql).await, "{state}");
        }
    }

    /// Each change of state is told once.
    async fn states(&self, id: JobId) -> Vec<State> {
        let events = self.backend.history(id, None, 100).await.unwrap().events;
        let states = events.into_iter().filter_map(|event| match event.body {
            EventBody::State { to, .. } => Some(to),
            _ => None,
        });
        states.collect()
    }
}

async fn lock(conn: &mut PgConnection, jobs: &[JobId]) {
    let ids: Vec<_> = jobs.iter().map(|id| *id.as_uuid()).collect();
    let sql = "SELECT FROM windlass.jobs WHERE id = ANY ($1) ORDER BY id DESC FOR UPDATE";
    sqlx::query(sql).bind(ids).execute(conn).await.unwrap();
}

/// Runs a call on jobs that the host locks in the reversed order, so that the call is ended in between.
async fn in_deadlock<T: Send + 'static>(
    place: &Place,
    jobs: &[JobId],
    call: impl Future<Output = T> + Send + 'static,
) -> T {
    let before = place.deadlocks();
    let mut host = place.host().await;
    let mut transaction = host.begin().await.unwrap();
    let (last, others) = jobs.split_last().unwrap();
    lock(&mut transaction, &[*last]).await;
    let call = tokio::spawn(call);
    place.until_one_waits().await;
    lock(&mut transaction, others).await;
    transaction.commit().await.unwrap();
    let answer = call.await.unwrap();
    assert!(place.deadlocks() > before, "there was no deadlock");
    place.counts_agree().await;
    answer
}

/// Running jobs, oldest first, as the library locks them.
async fn running(place: &Place, number: usize) -> (Vec<Lease>, Vec<JobId>) {
    let w = worker(&place.backend).await;
    place.backend.insert(&(0..number).map(|_| job()).collect::<Vec<_>>()).await.unwrap();
    let mut leases = claim(&place.backend, w, 100).await;
    leases.sort_by_key(|lease| lease.key.job);
    let jobs = leases.iter().map(|lease| lease.key.job).collect();
    (leases, jobs)
}

#[tokio::test]
async fn f43_settlements_that_ran_into_a_deadlock_are_applied_once_and_all() {
    let place = Place::new().await;
    let (leases, jobs) = running(&place, 21).await;
    let failure = |message: &str| Failure { kind: FailureKind::Error, message: message.to_owned() };
    let outcomes = leases.iter().enumerate().map(|(n, lease)| match n % 3 {
        0 => completed(lease),
        1 => {
            let outcome = AttemptOutcome::Discarded { failure: failure("no") };
            Settlement::new(lease.key, outcome)
        }
        _ => {
            let delay = common::HOUR;
            Settlement::new(lease.key, AttemptOutcome::Retry { failure: failure("later"), delay })
        }
    });
    let settlements: Vec<Settlement> = outcomes.collect();
    let (backend, sent) = (place.backend.clone(), settlements.clone());
    let answers = in_deadlock(&place, &jobs, async move { backend.settle(&sent).await }).await;
    let ends = [State::Completed, State::Discarded, State::Retryable];
    for (n, answer) in answers.unwrap().into_iter().enumerate() {
        let state = ends[n % 3];
        assert_eq!(answer, Settled::Applied { state }, "{n}");
        let expected = [State::Available, State::Running, state];
        assert_eq!(place.states(jobs[n]).await, expected, "{n}");
    }
    for (n, answer) in place.backend.settle(&settlements).await.unwrap().into_iter().enumerate() {
        let again = match ends[n % 3] {
            State::Retryable => Settled::Lost,
            state => Settled::Already { state },
        };
        assert_eq!(answer, again, "{n}");
    }
}

#[tokio::test]
async fn f43_notes_and_changes_that_ran_into_a_deadlock_are_written_once_and_all() {
    let place = Place::new().await;
    let (leases, jobs) = running(&place, 10).await;
    let note = || Note::Log { level: LogLevel::Info, message: "once".into() };
    let records: Vec<_> = leases.iter().map(|lease| Record::new(lease.key, vec![note()])).collect();
    let backend = place.backend.clone();
    let answers = in_deadlock(&place, &jobs, async move { backend.record(&records).await }).await;
    assert!(answers.unwrap().iter().all(|answer| matches!(answer, Recorded::Applied)));
    for id in &jobs {
        let events = place.backend.history(*id, None, 100).await.unwrap().events;
        let notes = events.iter().filter(|event| matches!(event.body, EventBody::Note(_)));
        assert_eq!(notes.count(), 1);
    }
    let filter = JobFilter::default();
    let request = ChangeRequest::new(Selector::Filter(filter), Change::Cancel { reason: None });
    let backend = place.backend.clone();
    let cancelled = in_deadlock(&place, &jobs, async move { backend.change(&request).await }).await;
    assert_eq!(cancelled.unwrap().count, 10);
}

fn unique(key: &str) -> NewJob {
    let mut job = job();
    job.unique = Some(Unique {
        key: UniqueKey::new(key).unwrap(),
        until: UniqueUntil::Finished,
        on_conflict: OnConflict::default(),
    });
    job
}

/// The host takes the keys of the library's batch in the reversed order, and commits or not.
#[tokio::test]
async fn f43_inserts_that_ran_into_a_deadlock_are_whole() {
    let place = Place::new().await;
    for (round, commits) in [(0, true), (1, false)] {
        let key = |n: usize| format!("round {round} key {n}");
        let before = place.deadlocks();
        let mut host = place.host().await;
        let mut transaction = host.begin().await.unwrap();
        let theirs = [unique(&key(0)), unique(&key(9))];
        place.backend.insert_in(&mut transaction, &theirs[1..]).await.unwrap();
        let ours: Vec<NewJob> = (0..10).map(|n| unique(&key(n))).collect();
        let (backend, jobs) = (place.backend.clone(), ours.clone());
        let call = tokio::spawn(async move { backend.insert(&jobs).await });
        place.until_one_waits().await;
        place.backend.insert_in(&mut transaction, &theirs[..1]).await.unwrap();
        match commits {
            true => transaction.commit().await.unwrap(),
            false => transaction.rollback().await.unwrap(),
        }
        let answers = call.await.unwrap().unwrap();
        assert!(place.deadlocks() > before, "there was no deadlock");
        for (n, (job, answer)) in ours.iter().zip(answers).enumerate() {
            let expected = match n {
                0 if commits => Inserted::Duplicate { existing: theirs[0].id },
                9 if commits => Inserted::Duplicate { existing: theirs[1].id },
                _ => Inserted::New(job.id),
            };
            assert_eq!(answer, expected, "{n}");
            assert_eq!(place.states(answer.id()).await, [State::Available]);
        }
        place.counts_agree().await;
    }
}

/// Every table's writes, and every commit, fail now and then, for as long as the test lasts.
const TROUBLE: &str = "
    CREATE SEQUENCE public.troubles;
    CREATE FUNCTION public.trouble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF random() < TG_ARGV[0]::float THEN
            PERFORM nextval('public.troubles'); -- outlives the rollback
            IF random() < 0.5 THEN RAISE EXCEPTION 'on purpose' USING ERRCODE = '40001'; END IF;
            RAISE EXCEPTION 'on purpose' USING ERRCODE = '40P01';
        END IF;
        RETURN NULL;
    END $$;
    DO $$ DECLARE name text; BEGIN
        FOR name IN SELECT c.oid::regclass FROM pg_class AS c WHERE c.relnamespace = 'windlass'::regnamespace AND c.relkind = 'r'
            AND c.relname NOT IN ('workers') LOOP
            EXECUTE format('CREATE TRIGGER trouble AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH STATEMENT EXECUTE FUNCTION public.trouble(0.06)', name);
            EXECUTE format('CREATE CONSTRAINT TRIGGER late AFTER INSERT OR UPDATE OR DELETE ON %s DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
                EXECUTE FUNCTION public.trouble(0.005)', name);
        END LOOP;
    END $$";

#[tokio::test]
async fn f43_serialization_failures_are_run_again_and_lose_and_double_nothing() {
    let place = Place::new().await;
    place.server.execute("postgres", TROUBLE).await.unwrap();
    let backend = &place.backend;
    let mut inserted = HashMap::new();
    for round in 0..60 {
        let mut jobs: Vec<NewJob> = (0..5).map(|_| job()).collect();
        jobs.push(unique(&format!("key {round}")));
        jobs.push(unique(&format!("key {round}")));
        let answers = backend.insert(&jobs).await.unwrap();
        assert_eq!(answers[6], Inserted::Duplicate { existing: jobs[5].id });
        for (job, answer) in jobs[..6].iter().zip(answers) {
            assert_eq!(answer, Inserted::New(job.id));
            inserted.insert(job.id, round);
        }
    }
    let w = worker(backend).await;
    let (mut ended, mut attempts) = (0, 0);
    while ended < inserted.len() {
        let leases = claim(backend, w, 12).await;
        attempts += leases.len();
        let settlements = leases.iter().map(|lease| {
            let first = lease.attempt == 1 && inserted[&lease.key.job] % 2 == 0;
            if !first {
                return completed(lease);
            }
            let failure = Failure { kind: FailureKind::Error, message: "again".into() };
            Settlement::new(lease.key, AttemptOutcome::Retry { failure, delay: ms(1) })
        });
        let settlements: Vec<_> = settlements.collect();
        for answer in backend.settle(&settlements).await.unwrap() {
            let Settled::Applied { state } = answer else { panic!("{answer:?}") };
            ended += usize::from(state == State::Completed);
        }
        backend.maintain(100).await.unwrap();
    }
    assert_eq!((inserted.len(), attempts), (360, 360 + 180));
    for (id, round) in &inserted {
        let states = place.states(*id).await;
        assert_eq!(states.iter().filter(|state| **state == State::Completed).count(), 1);
        assert_eq!(
            states.iter().filter(|state| **state == State::Running).count(),
            1 + usize::from(round % 2 == 0)
        );
    }
    place.counts_agree().await;
    let troubles: u32 =
        place.value("SELECT last_value FROM public.troubles").await.parse().unwrap();
    println!("{troubles} serialization failures and deadlocks");
    assert!(troubles > 20, "only {troubles} failures");
}
