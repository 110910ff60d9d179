//! Hints across processes: told after the commit, heard again after a cut, and never more than hints.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;

use common::{HOUR, Place, claim, job, ms, queue, worker};
use sqlx::Connection;
use sqlx::postgres::PgListener;
use tokio::task::JoinHandle;
use windlass_core::{Queue, Store, Transactional, Wake};
use windlass_postgres::PostgresBackend;
use windlass_test_servers::Proxy;

/// Connections that listen. Notifications come to those that are not in the middle of something.
const LISTENERS: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND query LIKE 'LISTEN%' AND state = 'idle'";
/// Ends them.
const CUT: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = current_database() AND query LIKE 'LISTEN%'";

/// A backend that listens, with the hints of its beginning used up.
async fn listening(place: &Place) -> Arc<PostgresBackend> {
    let backend = Arc::new(place.open().await);
    listens(&backend).await;
    quiet(&backend).await;
    backend
}

/// Waits until a backend listens that has no other news: from then on what was told before may be missed, which is a hint.
async fn listens(backend: &PostgresBackend) {
    assert_eq!(backend.wait(&[queue()], HOUR / 60).await.unwrap(), Wake::Hint, "it listens");
}

/// Uses up the hints of what was before.
async fn quiet(backend: &PostgresBackend) {
    let id = worker(backend).await;
    loop {
        claim(backend, id, 9).await;
        if backend.wait(&[queue()], ms(100)).await.unwrap() == Wake::Timeout {
            break;
        }
    }
    backend.deregister(id).await.unwrap();
}

fn waiter(backend: &Arc<PostgresBackend>) -> JoinHandle<Wake> {
    let backend = backend.clone();
    tokio::spawn(async move { backend.wait(&[queue()], HOUR).await.unwrap() })
}

async fn woken(waiter: JoinHandle<Wake>) {
    let wake = tokio::time::timeout(HOUR / 60, waiter).await.expect("a hint").unwrap();
    assert_eq!(wake, Wake::Hint);
}

#[tokio::test]
async fn one_insert_elsewhere_is_heard() {
    let place = Place::new().await;
    let (here, there) = (listening(&place).await, place.open().await);
    for _ in 0..3 {
        let waiter = waiter(&here);
        there.insert(&[job()]).await.unwrap();
        woken(waiter).await;
        quiet(&here).await;
    }
}

#[tokio::test]
async fn what_a_closing_backend_has_done_is_still_told() {
    let place = Place::new().await;
    let (here, there) = (listening(&place).await, place.open().await);
    let waiter = waiter(&here);
    there.insert(&[job()]).await.unwrap();
    at_a_stopped_clock(windlass_core::Backend::close(&there)).await.unwrap();
    woken(waiter).await;
}

/// A producer that goes away at once after its insert: its runtime goes on, and tells.
#[tokio::test]
async fn what_a_dropped_backend_has_done_is_still_told() {
    let place = Place::new().await;
    let (here, there) = (listening(&place).await, place.open().await);
    let pending = waiter(&here);
    there.insert(&[job()]).await.unwrap();
    drop(there);
    woken(pending).await;

    quiet(&here).await;
    let (there, pending) = (place.open().await, waiter(&here));
    insert_in_transaction(&place, &there).await;
    drop(there);
    woken(pending).await;
}

async fn insert_in_transaction(place: &Place, backend: &PostgresBackend) {
    let mut host = place.host().await;
    let mut transaction = host.begin().await.unwrap();
    backend.insert_in(&mut transaction, &[job()]).await.unwrap();
    transaction.commit().await.unwrap();
}

/// A program that adds a job, closes and ends.
#[tokio::test]
async fn what_a_program_has_done_that_closes_and_ends_is_told() {
    let place = Arc::new(Place::new().await);
    let here = listening(&place).await;
    for in_transaction in [false, true] {
        let (waiter, place) = (waiter(&here), place.clone());
        let program = async move {
            let there = Arc::new(place.open().await);
            if in_transaction {
                insert_in_transaction(&place, &there).await;
            } else {
                there.insert(&[job()]).await.unwrap();
            }
            at_a_stopped_clock(windlass_core::Client::new(there).close()).await.unwrap();
        };
        tokio::task::spawn_blocking(|| {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_all().build().unwrap().block_on(program);
        })
        .await
        .unwrap();
        woken(waiter).await;
        quiet(&here).await;
    }
}

/// Who tells others nothing counts on their silence, too.
#[tokio::test]
async fn who_notifies_nobody_relies_on_no_hints() {
    let place = Place::new().await;
    let here = Arc::new(PostgresBackend::open(place.options().notify(false)).await.unwrap());
    listens(&here).await;
    place.until(LISTENERS, "1").await;
    assert!(!here.hears());
    quiet(&here).await;
    let (there, waiter) = (place.open().await, waiter(&here));
    there.insert(&[job()]).await.unwrap();
    woken(waiter).await;
}

#[tokio::test]
async fn hints_are_relied_on_while_the_listening_connection_stands() {
    let place = Place::new().await;
    let proxy = Proxy::start(place.server.port()).await.unwrap();
    let direct = place.server.at_port(proxy.port()).url(&place.database);
    let options = place.options().direct_url(&direct).unwrap();
    let here = Arc::new(PostgresBackend::open(options).await.unwrap());
    assert!(!here.hears(), "it does not listen yet");
    listens(&here).await;
    assert!(here.hears());
    quiet(&here).await;
    for _ in 0..2 {
        proxy.refuse().await;
        let pending = waiter(&here);
        proxy.cut().await;
        woken(pending).await;
        assert!(!here.hears(), "it can't connect");
        quiet(&here).await;
        let pending = waiter(&here);
        proxy.accept().await.unwrap();
        woken(pending).await;
        assert!(here.hears());
        quiet(&here).await;
    }
}

/// No time passes during the call, so that none of its timeouts does, however slow the machine is.
async fn at_a_stopped_clock<T>(call: impl Future<Output = T>) -> T {
    // While such a task runs the clock is not moved on, though nothing but sockets is waited for.
    let (end, ends) = std::sync::mpsc::channel::<()>();
    let task = tokio::task::spawn_blocking(move || ends.recv());
    tokio::time::pause();
    let answer = call.await;
    tokio::time::resume();
    drop(end);
    assert!(task.await.unwrap().is_err(), "it ran to the end");
    answer
}

#[tokio::test]
async fn a_listener_that_was_cut_listens_again_and_wakes_all() {
    let place = Place::new().await;
    let (here, there) = (listening(&place).await, place.open().await);
    let pending = waiter(&here);
    assert_eq!(place.value(CUT).await, "1");
    woken(pending).await;
    place.until(LISTENERS, "1").await;
    quiet(&here).await;
    let pending = waiter(&here);
    there.insert(&[job()]).await.unwrap();
    woken(pending).await;
}

#[tokio::test]
async fn f49_a_message_that_can_not_be_read_wakes() {
    let place = Place::new().await;
    let here = listening(&place).await;
    for payload in ["", "?", "{\"v\": 9}"] {
        let waiter = waiter(&here);
        place.execute(&format!("NOTIFY windlass_windlass, '{payload}'")).await;
        woken(waiter).await;
        quiet(&here).await;
    }
}

/// Other queues, other schemas and this process itself are no news from elsewhere.
#[tokio::test]
async fn what_concerns_nobody_here_wakes_nobody() {
    let place = Place::new().await;
    let here = listening(&place).await;
    let other = PostgresBackend::open(place.options().schema("other").unwrap()).await.unwrap();
    other.insert(&[job()]).await.unwrap();
    place.execute("NOTIFY windlass_windlass, 'someone,another-queue'").await;
    assert_eq!(here.wait(&[queue()], ms(300)).await.unwrap(), Wake::Timeout);
}

#[tokio::test]
async fn a_process_that_shall_not_listen_has_no_connection_for_it() {
    let place = Place::new().await;
    let backend = PostgresBackend::open(place.options().listen(false)).await.unwrap();
    assert_eq!(backend.wait(&[queue()], ms(200)).await.unwrap(), Wake::Timeout);
    assert_eq!(place.value(LISTENERS).await, "0");
    let waiter = waiter(&Arc::new(backend.clone()));
    backend.insert(&[job()]).await.unwrap();
    woken(waiter).await;
}

#[tokio::test]
async fn jobs_of_a_hosts_transaction_wake_once_it_has_committed() {
    let place = Place::new().await;
    let (here, there) = (listening(&place).await, listening(&place).await);
    let mut host = place.host().await;
    let mut transaction = host.begin().await.unwrap();
    there.insert_in(&mut transaction, &[job()]).await.unwrap();
    for backend in [&here, &there] {
        assert_eq!(backend.wait(&[queue()], ms(200)).await.unwrap(), Wake::Timeout, "too early");
    }
    let waiters = [waiter(&here), waiter(&there)];
    transaction.commit().await.unwrap();
    for waiter in waiters {
        woken(waiter).await;
    }
}

#[tokio::test]
async fn jobs_of_a_hosts_transaction_that_was_rolled_back_wake_nobody() {
    let place = Place::new().await;
    let here = listening(&place).await;
    let mut host = place.host().await;
    let mut transaction = host.begin().await.unwrap();
    here.insert_in(&mut transaction, &[job()]).await.unwrap();
    transaction.rollback().await.unwrap();
    assert_eq!(here.wait(&[queue()], ms(600)).await.unwrap(), Wake::Timeout);
}

/// The entry's number is drawn before the commit: growth that is only looked for in the numbers would be missed.
#[tokio::test]
async fn events_of_a_long_transaction_elsewhere_wake_a_watcher() {
    let place = Place::new().await;
    let (here, there) = (Arc::new(place.open().await), place.open().await);
    here.insert(&[job()]).await.unwrap();
    let tail = here.tail().await.unwrap();
    let mut host = place.host().await;
    let mut transaction = host.begin().await.unwrap();
    there.insert_in(&mut transaction, &[job()]).await.unwrap();
    // The first watch sees that numbers were drawn, the last that they are there to be read.
    while here
        .events(&windlass_core::EventFilter::default(), tail, 9)
        .await
        .unwrap()
        .events
        .is_empty()
    {
        here.watch(tail, ms(100)).await.unwrap();
        if !transaction_is_over(&place).await {
            here.watch(tail, ms(300)).await.unwrap();
            break;
        }
    }
    let watching = here.clone();
    let watcher = tokio::spawn(async move {
        let begun = std::time::Instant::now();
        watching.watch(tail, HOUR).await.unwrap();
        begun.elapsed()
    });
    tokio::time::sleep(ms(300)).await;
    transaction.commit().await.unwrap();
    tokio::time::timeout(HOUR / 60, watcher).await.expect("the watcher wakes").unwrap();
    let page = here.events(&windlass_core::EventFilter::default(), tail, 9).await.unwrap();
    assert_eq!(page.events.len(), 1);
}

async fn transaction_is_over(place: &Place) -> bool {
    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'";
    place.value(open).await == "0"
}

#[tokio::test]
async fn with_the_last_handle_all_connections_go() {
    let place = Place::new().await;
    let backend = place.open().await;
    let clone = backend.clone();
    worker(&clone).await;
    clone.insert(&[job()]).await.unwrap();
    clone.wait(&[queue()], ms(1)).await.unwrap();
    clone.watch(None, ms(50)).await.unwrap();
    place.until(LISTENERS, "1").await;
    drop(clone);
    backend.insert(&[job()]).await.unwrap();
    assert_eq!(place.value(LISTENERS).await, "1");
    drop(backend);
    let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    place.until(others, "0").await;
}

/// The runtime of the first caller is not that of the backend.
#[tokio::test]
async fn listening_goes_on_when_the_runtime_it_began_in_is_gone() {
    let place = Place::new().await;
    let (here, there) = (Arc::new(place.open().await), place.open().await);
    let first = here.clone();
    tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(listens(&first));
    })
    .await
    .unwrap();
    place.until("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'", "0").await;
    assert!(!here.hears(), "nobody listens");
    // The first connection's hint is used up by a claim; the next is that of another connection.
    let id = worker(&here).await;
    claim(&here, id, 1).await;
    listens(&here).await;
    quiet(&here).await;
    let waiter = waiter(&here);
    there.insert(&[job()]).await.unwrap();
    woken(waiter).await;
}

/// What the server tells whoever listens, up to a last word of the test's own.
async fn told(place: &Place, listener: &mut PgListener) -> Vec<String> {
    place.execute("NOTIFY windlass_windlass, 'last'").await;
    let mut heard = Vec::new();
    loop {
        let next = tokio::time::timeout(HOUR / 60, listener.recv()).await.unwrap().unwrap();
        match next.payload() {
            "last" => return heard,
            other => heard.push(other.to_owned()),
        }
    }
}

async fn listener(place: &Place) -> PgListener {
    let mut listener = PgListener::connect(&place.url()).await.unwrap();
    listener.listen("windlass_windlass").await.unwrap();
    listener
}

/// Commits that notify wait for each other, whoever they are: the host's never does. Who inserted is gone before the commit, so that what is
/// told could come only from there.
#[tokio::test]
async fn f33_an_insert_in_a_hosts_transaction_notifies_nobody() {
    let place = Place::new().await;
    let mut listener = listener(&place).await;
    let mut host = place.host().await;
    let mut transaction = host.begin().await.unwrap();
    let backend = place.open().await;
    let id = worker(&backend).await;
    // The word for this insert could come at any time: it is from one that tells nobody.
    let silent = PostgresBackend::open(place.options().notify(false)).await.unwrap();
    silent.insert(&[job()]).await.unwrap();
    let lease = claim(&backend, id, 1).await.remove(0);
    backend.insert_in(&mut transaction, &[job(), job()]).await.unwrap();
    backend.settle_in(&mut transaction, &common::completed(&lease)).await.unwrap();
    windlass_core::Backend::close(&backend).await.unwrap();
    drop(backend);
    transaction.commit().await.unwrap();
    assert_eq!(place.value("SELECT count(*) FROM windlass.jobs").await, "2");
    assert!(told(&place, &mut listener).await.is_empty());
}

#[tokio::test]
async fn f33_many_inserts_are_told_in_few_words() {
    let place = Place::new().await;
    let (backend, mut listener) = (Arc::new(place.open().await), listener(&place).await);
    backend.insert(&(0..1_000).map(|_| job()).collect::<Vec<_>>()).await.unwrap();
    let first = tokio::time::timeout(HOUR / 60, listener.recv()).await.unwrap().unwrap();
    assert!(first.payload().ends_with(",queue"), "{}", first.payload());
    assert!(told(&place, &mut listener).await.is_empty(), "one word for one call");

    let mut host = place.host().await;
    let mut transaction = host.begin().await.unwrap();
    for _ in 0..50 {
        backend.insert_in(&mut transaction, &[job()]).await.unwrap();
    }
    transaction.commit().await.unwrap();
    tokio::time::timeout(HOUR / 60, listener.recv()).await.unwrap().unwrap();
    assert!(told(&place, &mut listener).await.is_empty(), "one word for one transaction");

    // However many there are, the words are at least 5 ms apart.
    let begun = std::time::Instant::now();
    let inserts = (0..8).map(|_| {
        let backend = backend.clone();
        tokio::spawn(async move {
            for _ in 0..50 {
                backend.insert(&[job()]).await.unwrap();
            }
        })
    });
    for insert in inserts.collect::<Vec<_>>() {
        insert.await.unwrap();
    }
    windlass_core::Backend::close(&*backend).await.unwrap();
    let words = told(&place, &mut listener).await.len() as u128;
    let most = begun.elapsed().as_millis() / 5 + 2;
    assert!((1..=most).contains(&words), "{words} words, at most {most} fit");
}

/// Settlements, heartbeats and maintenance that change nothing claimable wake nobody: an idle worker stays idle.
#[tokio::test]
async fn f34_what_makes_nothing_claimable_wakes_nobody() {
    let place = Place::new().await;
    let backend = listening(&place).await;
    let w = worker(&backend).await;
    backend.insert(&[job(), job()]).await.unwrap();
    let leases = claim(&backend, w, 2).await;
    quiet(&backend).await;
    let waiting = waiter(&backend);
    for lease in &leases {
        backend.settle(&[common::completed(lease)]).await.unwrap();
        backend.heartbeat(w, &[]).await.unwrap();
        backend.maintain(100).await.unwrap();
        assert!(claim(&backend, w, 1).await.is_empty());
    }
    assert!(!waiting.is_finished());
    backend.insert(&[job()]).await.unwrap();
    woken(waiting).await;
}

/// Calls that find nothing to do write nothing: the server gives no transaction a number.
#[tokio::test]
async fn f34_idle_calls_write_nothing() {
    // Others would take numbers on a server that is shared.
    let builder = windlass_test_servers::PostgresServer::builder().setting("autovacuum", "off");
    let server = builder.start().await.unwrap();
    let backend = PostgresBackend::connect(&server.url("postgres")).await.unwrap();
    let w = worker(&backend).await;
    let number = async || -> u64 {
        let next = server.value("postgres", "SELECT pg_current_xact_id()").await.unwrap();
        next.unwrap().parse().unwrap()
    };
    let before = number().await;
    for _ in 0..20 {
        assert!(claim(&backend, w, 5).await.is_empty());
        backend.maintain(100).await.unwrap();
        backend.prune(&windlass_core::Retention::default(), 100).await.unwrap();
        backend.events(&windlass_core::EventFilter::default(), None, 9).await.unwrap();
    }
    assert_eq!(number().await, before + 1, "the question takes one itself");
    backend.insert(&[job()]).await.unwrap();
    assert_ne!(number().await, before + 2, "the check sees writes");
}
