#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::net::TcpListener;
use std::pin::Pin;
use std::sync::mpsc;
use std::thread;

use futures_util::FutureExt as _;
use sqlx::postgres::PgPoolOptions;
use tokio::runtime::Builder;
use windlass_test_servers::PostgresServer;

use super::sweep::Sweeper;
use super::*;

const HOUR: Duration = Duration::from_secs(3_600);
/// A machine that stands still for a while makes no connection stale, and none late.
const LASTING: Times = Times { fresh: HOUR, kept: HOUR, opening: HOUR };

async fn pool(most: u32) -> PgPool {
    let server = PostgresServer::shared().await.unwrap();
    let url = server.url(&server.create_database().await.unwrap());
    let options = PgPoolOptions::new().max_connections(most).acquire_timeout(HOUR);
    options.connect_lazy(&url).unwrap()
}

/// Spares for so many calls at once, of a pool with as many places.
async fn spares(most: u32, times: Times) -> (Arc<Spares>, PgPool) {
    (Spares::with(most, times), pool(most).await)
}

async fn pid(held: &mut Held) -> i32 {
    let query = sqlx::query_scalar("SELECT pg_backend_pid()");
    query.fetch_one(held.conn().unwrap()).await.unwrap()
}

/// Gives a connection back on which all went well.
fn well(mut held: Held) {
    held.ended(true);
    drop(held);
}

fn waiting(spares: &Spares) -> usize {
    spares.lock().waiters.len()
}

async fn until(mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(60), wait).await.expect("it comes to hold");
}

type Acquiring<'a> = Pin<Box<dyn Future<Output = Result<Held>> + 'a>>;

/// A call that has begun to wait.
fn begun<'a>(spares: &'a Arc<Spares>, pool: &'a PgPool) -> Acquiring<'a> {
    let mut acquiring: Acquiring<'a> = Box::pin(spares.acquire(pool));
    assert!(acquiring.as_mut().now_or_never().is_none(), "it need not wait");
    acquiring
}

#[tokio::test]
async fn those_that_follow_each_other_share_a_connection() {
    let (spares, pool) = spares(2, LASTING).await;
    let mut first = spares.acquire(&pool).await.unwrap();
    let shared = pid(&mut first).await;
    well(first);
    for _ in 0..20 {
        let mut held = spares.acquire(&pool).await.unwrap();
        assert_eq!(pid(&mut held).await, shared);
        well(held);
    }
    assert_eq!((spares.idle(), pool.size()), (1, 1));
}

#[tokio::test]
async fn one_that_was_idle_for_long_is_tried_first() {
    let (spares, pool) = spares(2, Times { fresh: Duration::ZERO, ..LASTING }).await;
    let held = spares.acquire(&pool).await.unwrap();
    well(held);
    assert!(spares.take().is_none());
    until(|| pool.num_idle() == 1).await;
}

#[tokio::test]
async fn who_waits_is_given_none_that_was_idle_for_long() {
    let (spares, pool) = spares(2, Times { fresh: Duration::ZERO, ..LASTING }).await;
    let held = spares.acquire(&pool).await.unwrap();
    well(held);
    assert!(spares.take_or_wait().is_err());
    until(|| pool.num_idle() == 1).await;
}

#[tokio::test]
async fn one_that_was_kept_for_long_goes_back() {
    let (spares, pool) = spares(2, Times { kept: Duration::ZERO, ..LASTING }).await;
    let held = spares.acquire(&pool).await.unwrap();
    well(held);
    assert_eq!(spares.idle(), 0);
    until(|| pool.num_idle() == 1).await;
}

/// How long it was kept counts from when it came out of the pool, and not from its last use.
#[tokio::test]
async fn one_that_is_used_again_and_again_is_not_kept_for_ever() {
    let (spares, pool) = spares(2, LASTING).await;
    let first = spares.acquire(&pool).await.unwrap();
    let taken = first.taken();
    well(first);
    let again = spares.acquire(&pool).await.unwrap();
    assert_eq!(again.taken(), taken);
}

/// Each round has a sweep of its own.
#[tokio::test]
async fn those_that_nobody_uses_go_back() {
    let fresh = Duration::from_millis(20);
    let (spares, pool) = spares(2, Times { fresh, ..LASTING }).await;
    for _ in 0..3 {
        let held = spares.acquire(&pool).await.unwrap();
        well(held);
        until(|| spares.idle() == 0 && pool.num_idle() == 1).await;
        until(|| !spares.lock().swept).await;
    }
}

#[tokio::test]
async fn a_sweep_leaves_those_that_are_fresh() {
    let (spares, pool) = spares(2, LASTING).await;
    let held = spares.acquire(&pool).await.unwrap();
    well(held);
    assert!(Sweeper(Arc::downgrade(&spares)).step());
    assert_eq!(spares.idle(), 1);
}

/// Between its last step and its end another one may begin.
#[test]
fn a_sweep_that_has_ended_leaves_the_next_one_alone() {
    let spares = Spares::new(1);
    let mut sweeper = Sweeper(Arc::downgrade(&spares));
    assert!(!sweeper.step());
    spares.lock().swept = true;
    drop(sweeper);
    assert!(spares.lock().swept);
}

/// It drops what it is given, on the thread that gives it.
#[test]
fn a_sweep_may_begin_on_a_runtime_that_ends() {
    let spares = Spares::new(1);
    let (done, ended) = mpsc::channel();
    let begun = spares.clone();
    thread::spawn(move || {
        // One with threads of its own may end a moment later.
        let runtime = Builder::new_current_thread().build().unwrap();
        let handle = runtime.handle().clone();
        let _in = handle.enter();
        runtime.shutdown_background();
        sweep::begin(&begun, &handle);
        done.send(()).unwrap();
    });
    ended.recv_timeout(Duration::from_secs(60)).expect("it comes back");
    assert!(!spares.lock().swept, "the next one would not begin");
}

#[tokio::test]
async fn none_is_kept_after_the_end() {
    let (spares, pool) = spares(2, LASTING).await;
    let (one, other) = (spares.acquire(&pool).await.unwrap(), spares.acquire(&pool).await.unwrap());
    well(one);
    assert_eq!(spares.idle(), 1);
    spares.close();
    assert_eq!(spares.idle(), 0);
    well(other);
    assert_eq!(spares.idle(), 0);
    assert!(matches!(spares.acquire(&pool).await, Err(Error::PoolClosed)));
}

/// The pool has a place, and is not asked for it.
#[tokio::test]
async fn there_are_no_more_than_permits() {
    let (spares, pool) = (Spares::with(1, LASTING), pool(2).await);
    let mut first = spares.acquire(&pool).await.unwrap();
    let shared = pid(&mut first).await;
    let second = begun(&spares, &pool);
    assert_eq!(pool.size(), 1);
    well(first);
    assert_eq!(pid(&mut second.await.unwrap()).await, shared);
}

/// Nobody knows what is under way on it.
#[tokio::test]
async fn one_that_was_given_up_is_closed() {
    let (spares, pool) = spares(1, LASTING).await;
    let mut given_up = spares.acquire(&pool).await.unwrap();
    let before = pid(&mut given_up).await;
    drop(given_up);
    assert_eq!(spares.idle(), 0);
    let mut next = spares.acquire(&pool).await.unwrap();
    assert_ne!(pid(&mut next).await, before);
}

/// The driver sees whether it still is of use.
#[tokio::test]
async fn one_on_which_a_call_failed_goes_back() {
    let (spares, pool) = spares(1, LASTING).await;
    let mut held = spares.acquire(&pool).await.unwrap();
    held.ended(false);
    drop(held);
    assert_eq!(spares.idle(), 0);
    until(|| pool.num_idle() == 1).await;
}

/// One place is taken by a connection on its way back, the other by calls that follow each other: these don't keep it to themselves.
#[tokio::test]
async fn who_waits_for_a_place_gets_what_comes_free() {
    let (spares, pool) = spares(2, LASTING).await;
    let _held_up = pool.acquire().await.unwrap();
    let mut busy = spares.acquire(&pool).await.unwrap();
    let shared = pid(&mut busy).await;
    let third = begun(&spares, &pool);
    assert_eq!(waiting(&spares), 1);
    well(busy);
    let again = begun(&spares, &pool);
    let mut third = third.await.unwrap();
    assert_eq!(pid(&mut third).await, shared);
    well(third);
    assert_eq!(pid(&mut again.await.unwrap()).await, shared);
}

#[tokio::test]
async fn who_waits_for_a_place_gets_one_of_the_pool() {
    let (spares, pool) = spares(1, LASTING).await;
    let held_up = pool.acquire().await.unwrap();
    let acquiring = begun(&spares, &pool);
    assert_eq!(waiting(&spares), 1);
    drop(held_up);
    well(acquiring.await.unwrap());
    assert_eq!(spares.idle(), 1, "the one that has one waits no longer");
}

/// A call that is given up has been handed a connection, and not seen it.
#[tokio::test]
async fn what_nobody_takes_is_kept() {
    let (spares, pool) = spares(2, LASTING).await;
    let _held_up = pool.acquire().await.unwrap();
    let busy = spares.acquire(&pool).await.unwrap();
    let given_up = begun(&spares, &pool);
    well(busy);
    assert_eq!(spares.idle(), 0);
    drop(given_up);
    assert_eq!(spares.idle(), 1);
}

/// Those that gave up leave the line, if not before then with the next one.
#[tokio::test]
async fn the_line_does_not_grow_by_those_that_gave_up() {
    let (spares, pool) = spares(1, LASTING).await;
    let _held_up = pool.acquire().await.unwrap();
    for _ in 0..5 {
        drop(begun(&spares, &pool));
        assert_eq!(waiting(&spares), 1);
    }
}

/// Else a busy pool would never grow: others come free sooner than one is opened.
#[tokio::test]
async fn one_that_is_being_opened_is_not_given_up_for_another() {
    let (spares, pool) = spares(2, LASTING).await;
    let mut first = spares.acquire(&pool).await.unwrap();
    let before = pid(&mut first).await;
    let second = begun(&spares, &pool);
    well(first);
    assert_eq!(spares.idle(), 1);
    assert_ne!(pid(&mut second.await.unwrap()).await, before);
}

/// But when that lasts: here nobody answers.
#[tokio::test]
async fn one_that_can_not_be_opened_is_given_up_for_another() {
    let (spares, pool) = spares(2, Times { opening: Duration::ZERO, ..LASTING }).await;
    let mut first = spares.acquire(&pool).await.unwrap();
    let before = pid(&mut first).await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://user@{}/database", listener.local_addr().unwrap());
    let options = PgPoolOptions::new().max_connections(1).acquire_timeout(HOUR);
    let deaf = options.connect_lazy(&url).unwrap();
    let mut second = begun(&spares, &deaf);
    while waiting(&spares) == 0 {
        tokio::task::yield_now().await;
        assert!(second.as_mut().now_or_never().is_none(), "nobody has given it one");
    }
    well(first);
    assert_eq!(pid(&mut second.await.unwrap()).await, before);
}

#[tokio::test]
async fn who_waits_for_a_place_is_told_of_the_end() {
    let (spares, pool) = spares(1, LASTING).await;
    let _held_up = pool.acquire().await.unwrap();
    let acquiring = begun(&spares, &pool);
    spares.close();
    assert!(matches!(acquiring.await, Err(Error::PoolClosed)));
}

/// The driver takes none back there, and does not say so by an error.
#[test]
fn one_may_be_dropped_where_there_is_no_runtime() {
    let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
    for well in [None, Some(false), Some(true)] {
        let (spares, mut held) = runtime.block_on(async {
            let (spares, pool) = spares(1, LASTING).await;
            let held = spares.acquire(&pool).await.unwrap();
            (spares, held)
        });
        if let Some(well) = well {
            held.ended(well);
        }
        drop(held);
        assert_eq!(spares.idle(), 0);
    }
}
