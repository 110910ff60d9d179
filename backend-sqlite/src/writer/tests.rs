//! What no answer shows: how often calls are run, and what is remembered of them.

use std::sync::atomic::{AtomicUsize, Ordering};

use sqlx::Executor as _;
use tempfile::TempDir;
use tokio::sync::Mutex;
use windlass_core::{
    AttemptOutcome, Beat, ClaimRequest, Kind, KindSlots, Lease, Payload, Queue as _, QueueName,
    QueueSlots, Settled, Settlement, Store as _, WorkerId, WorkerInfo,
};

use super::*;
use crate::SqliteBackend;
use crate::calls::{Beats, Claim, Settle};
use crate::error::{BUSY, CORRUPT, code};
use crate::ops::claim;
use crate::script::statement;

struct Place {
    _folder: TempDir,
    backend: SqliteBackend,
    conn: SqliteConnection,
    /// Somebody else's connection.
    other: SqliteConnection,
    shared: Shared,
    guess: Guess,
    worker: WorkerId,
}

fn job() -> NewJob {
    let (kind, queue) = (Kind::new("kind").unwrap(), QueueName::new("queue").unwrap());
    NewJob::new(kind, queue, Payload::json(&1).unwrap())
}

fn completed(lease: &Lease) -> Settlement {
    Settlement::new(lease.key, AttemptOutcome::Completed { result: None, blobs: Vec::new() })
}

fn boxed<O: Operation>(operation: O) -> Box<dyn Call> {
    Box::new(Waiting::new(operation).0)
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteOptions::new(folder.path().join("jobs.db"));
        let options = options.busy_timeout(Duration::ZERO);
        let backend = SqliteBackend::open(options.clone()).await.unwrap();
        let info = WorkerInfo::new("test", Duration::from_secs(60), vec![job().queue]);
        let worker = backend.register(&info).await.unwrap().worker;
        let conn = open::writer(&options).await.unwrap();
        let other = open::writer(&options).await.unwrap();
        let options = Arc::new(options);
        let (clock, hub) = (Clock::new(), SharedHub::default());
        let shared = Shared { options, clock, hub, memory: Arc::default() };
        let guess = Guess::default();
        Self { _folder: folder, backend, conn, other, shared, guess, worker }
    }

    fn request(&self) -> ClaimRequest {
        let slots = vec![QueueSlots { queue: job().queue, limit: 1 }];
        ClaimRequest::new(self.worker, slots, vec![KindSlots { kind: job().kind, limit: None }])
    }

    async fn begin(&mut self, look: Option<Script>) -> Txn<'_> {
        let (tick, looked) = Txn::begin(&mut self.conn, look).await.unwrap();
        let Shared { options, clock, memory, .. } = &self.shared;
        let txn = Txn::new(&mut self.conn, tick, clock, &options.limits);
        txn.with_looked(looked).with_memory(memory)
    }

    /// Lets the next transaction guess: one has found the tick as it was known.
    async fn settle_down(&mut self) {
        self.shared.hub.found(Txn::peek(&mut self.conn).await.unwrap());
        self.transaction(&mut [boxed(Close)], false).await.map(drop).unwrap();
        assert!(self.guess.tick);
    }

    async fn transaction(
        &mut self,
        batch: &mut [Box<dyn Call>],
        guarded: bool,
    ) -> Result<Outcome, Arc<sqlx::Error>> {
        transaction(&mut self.conn, &self.shared, &mut self.guess, batch, guarded).await
    }

    /// The lease of a job that this process claims.
    async fn claimed(&mut self, guarded: bool) -> Lease {
        self.backend.insert(&[job()]).await.unwrap();
        let (call, answer) = Waiting::new(Claim { request: self.request() });
        let mut batch: Vec<Box<dyn Call>> = vec![Box::new(call)];
        self.transaction(&mut batch, guarded).await.map(drop).unwrap();
        batch.into_iter().for_each(Call::answer);
        answer.await.unwrap().unwrap().leases.remove(0)
    }

    fn knows(&self, lease: &Lease) -> bool {
        self.shared.memory.knows(&[&completed(lease)])
    }
}

/// A call that needs no look, and fails when it is run for the first time.
struct Once {
    runs: Arc<AtomicUsize>,
    fails: Fails,
}

enum Fails {
    /// Early, since somebody holds the lock, who gives it back then.
    Busy(Mutex<SqliteConnection>),
    /// Early, as a table is damaged.
    Damaged,
    /// As late as at the COMMIT.
    DamagedLate,
}

#[async_trait]
impl Operation for Once {
    type Output = ();
    const NAME: &'static str = "once";

    async fn run(&self, txn: &mut Txn<'_>) -> Result<()> {
        if self.runs.fetch_add(1, Ordering::Relaxed) > 0 {
            return Ok(());
        }
        if let Fails::Damaged | Fails::DamagedLate = self.fails {
            txn.write(statement("SELECT * FROM damaged"));
        }
        if let Fails::DamagedLate = self.fails {
            return Ok(());
        }
        let answer = txn.settle().await;
        if let Fails::Busy(holder) = &self.fails {
            holder.lock().await.execute("ROLLBACK").await.unwrap();
        }
        answer
    }

    fn knows(&self, _: &Memory) -> bool {
        true
    }
}

/// The code of the error by which a guess ends, and how often the call was run.
async fn end_of_guess(place: &mut Place, fails: Fails) -> (Option<i32>, usize) {
    let runs = Arc::new(AtomicUsize::new(0));
    let mut batch = [boxed(Once { runs: runs.clone(), fails })];
    let outcome = place.transaction(&mut batch, false).await;
    (outcome.err().and_then(|error| code(&error)), runs.load(Ordering::Relaxed))
}

#[tokio::test]
async fn f43_a_guess_that_has_waited_for_the_lock_does_not_wait_again() {
    let mut place = Place::new().await;
    place.settle_down().await;
    let mut holder = open::writer(&place.shared.options).await.unwrap();
    holder.execute("BEGIN IMMEDIATE").await.unwrap();
    let fails = Fails::Busy(Mutex::new(holder));
    assert_eq!(end_of_guess(&mut place, fails).await, (Some(BUSY), 1));
}

/// A table that can't be read.
const DAMAGED: &str = "CREATE VIRTUAL TABLE damaged USING rtree(id, low, high);
    INSERT INTO damaged VALUES (1, 1, 2); UPDATE damaged_node SET data = x'00'";

#[tokio::test]
async fn what_breaks_the_connection_is_no_wrong_guess() {
    for fails in [Fails::Damaged, Fails::DamagedLate] {
        let mut place = Place::new().await;
        sqlx::raw_sql(DAMAGED).execute(&mut place.other).await.unwrap();
        place.settle_down().await;
        assert_eq!(end_of_guess(&mut place, fails).await, (Some(CORRUPT), 1));
    }
}

#[tokio::test]
async fn what_breaks_the_connection_is_no_job_remembered_wrongly() {
    let mut place = Place::new().await;
    let lease = place.claimed(false).await;
    sqlx::raw_sql(DAMAGED).execute(&mut place.other).await.unwrap();
    let trigger = "CREATE TRIGGER fails AFTER INSERT ON windlass_finished
        BEGIN SELECT count(*) FROM damaged; END";
    place.other.execute(trigger).await.unwrap();
    place.guess = Guess::default();
    let mut batch = [boxed(Settle { settlements: vec![completed(&lease)] })];
    let outcome = place.transaction(&mut batch, false).await;
    assert_eq!(outcome.err().and_then(|error| code(&error)), Some(CORRUPT));
}

/// A call that was written as remembered, and is to be run again, has no answer until then.
#[tokio::test]
async fn the_error_of_a_run_that_is_repeated_is_nobodys_answer() {
    let mut place = Place::new().await;
    let lease = place.claimed(false).await;
    place.other.execute("UPDATE windlass_jobs SET epoch = epoch + 1").await.unwrap();
    place.guess = Guess::default();
    // A job that stands twice is read in between: the error is the call's.
    let settlements = vec![completed(&lease), completed(&lease)];
    let mut batch = [boxed(Settle { settlements })];
    let outcome = place.transaction(&mut batch, false).await.unwrap();
    assert!(matches!(outcome, Outcome::RunGuarded) && batch[0].error().is_some());
    place.other.execute("BEGIN IMMEDIATE").await.unwrap();
    let error = place.transaction(&mut batch, true).await.map(drop).unwrap_err();
    assert!(code(&error) == Some(BUSY) && batch[0].error().is_none());
}

#[tokio::test]
async fn a_claim_is_remembered_once_it_is_committed() {
    for guarded in [false, true] {
        let mut place = Place::new().await;
        let lease = place.claimed(guarded).await;
        assert!(place.knows(&lease), "guarded: {guarded}");
    }
}

#[tokio::test]
async fn a_claim_that_is_rolled_back_is_not_remembered() {
    let mut place = Place::new().await;
    place.backend.insert(&[job()]).await.unwrap();
    let request = place.request();
    let mut txn = place.begin(None).await;
    let lease = claim::claim(&mut txn, &request).await.unwrap().leases.remove(0);
    rollback(txn.conn).await;
    assert!(!place.knows(&lease), "rolled back with the transaction");
    let mut txn = place.begin(None).await;
    let mark = txn.mark();
    let lease = claim::claim(&mut txn, &request).await.unwrap().leases.remove(0);
    txn.reset(mark);
    txn.commit().await.map(drop).unwrap();
    assert!(!place.knows(&lease), "taken back by itself");
}

/// What a run by itself read is written as read: it recalls nothing.
#[tokio::test]
async fn a_guarded_settlement_reads_its_jobs() {
    let mut place = Place::new().await;
    let lease = place.claimed(false).await;
    place.other.execute("UPDATE windlass_jobs SET epoch = epoch + 1").await.unwrap();
    let (call, answer) = Waiting::new(Settle { settlements: vec![completed(&lease)] });
    let mut batch: Vec<Box<dyn Call>> = vec![Box::new(call)];
    place.transaction(&mut batch, true).await.map(drop).unwrap();
    batch.into_iter().for_each(Call::answer);
    assert_eq!(answer.await.unwrap().unwrap(), [Settled::Lost]);
}

/// A job is changed between the look and the claim, which shows what the claim goes by.
#[tokio::test]
async fn a_claim_takes_what_was_picked_with_the_look() {
    let mut place = Place::new().await;
    let request = place.request();
    let NewJob { queue, kind, .. } = job();
    place.shared.memory.note_ready(Some((queue, kind)));
    place.backend.insert(&[job()]).await.unwrap();
    let look = claim::look(&request, &place.shared.memory);
    let mut txn = place.begin(Some(look)).await;
    txn.conn.execute("UPDATE windlass_jobs SET priority = 7").await.unwrap();
    let lease = claim::claim(&mut txn, &request).await.unwrap().leases.remove(0);
    assert_eq!(lease.priority, job().priority);
}

/// A writer that nobody calls: its parts are, one by one.
fn thread(conn: SqliteConnection, shared: Shared) -> Thread {
    let (calls, urgent) = (mpsc::channel(1).1, mpsc::channel(1).1);
    let (last_news, watch, guess) = (Instant::now(), Watch::by_looks(None), Guess::default());
    Thread { conn: Some(conn), shared, calls, urgent, last_news, watch, guess }
}

/// Idle workers look for news as rarely as the quiet allows, whatever their upkeep calls for.
#[tokio::test]
async fn upkeep_is_no_news() {
    let mut place = Place::new().await;
    place.shared.hub.found(Txn::peek(&mut place.conn).await.unwrap());
    let (beat, claim) = (Beat::new(place.worker, Vec::new()), place.request());
    let mut thread = thread(place.conn, place.shared);
    // The machine may have started only now.
    let Some(long_ago) = Instant::now().checked_sub(2 * QUIET[1]) else { return };
    thread.last_news = long_ago;
    let shortest = thread.shared.options.watch_interval;
    let mut upkeep = [boxed(Beats { beats: vec![beat] }), boxed(Claim { request: claim })];
    thread.work(&mut upkeep).await;
    assert_eq!(thread.interval(), 4 * shortest);
    thread.work(&mut [boxed(Insert { jobs: vec![job()] })]).await;
    assert_eq!(thread.interval(), shortest);
}

/// Hints can't be relied on while looks fail, or while there is no connection to look with.
#[tokio::test]
async fn what_others_do_is_heard_while_looks_succeed() {
    let mut place = Place::new().await;
    let hub = place.shared.hub.clone();
    let mut thread = thread(place.conn, place.shared);
    thread.look().await;
    assert!(hub.hears());
    place.other.execute("ALTER TABLE windlass_tick RENAME TO gone").await.unwrap();
    thread.look().await;
    assert!(!hub.hears());
    place.other.execute("ALTER TABLE gone RENAME TO windlass_tick").await.unwrap();
    thread.look().await;
    assert!(hub.hears());
    thread.conn = None;
    thread.look().await;
    assert!(!hub.hears() && thread.conn.is_some());
    thread.look().await;
    assert!(hub.hears());
}

/// Or a database that can't be read would be asked all the time.
#[tokio::test]
async fn after_a_look_that_failed_the_next_one_takes_its_time() {
    let mut place = Place::new().await;
    let (moment, hour) = (Duration::from_millis(50), Duration::from_secs(3_600));
    let mut thread = thread(place.conn, place.shared);
    thread.watch_log().await;
    thread.look().await;
    place.other.execute("ALTER TABLE windlass_tick RENAME TO gone").await.unwrap();
    thread.look().await;
    // The log was written just now.
    let rest = tokio::time::timeout(moment, thread.watch.rest(Duration::ZERO, hour));
    assert!(rest.await.is_err());
    place.other.execute("ALTER TABLE gone RENAME TO windlass_tick").await.unwrap();
    thread.watch.rest(Duration::ZERO, Duration::ZERO).await;
    thread.look().await;
    assert!(thread.shared.hub.hears());
}

/// What the system says of our own commits is no reason to look.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn own_commits_are_no_news() {
    let place = Place::new().await;
    let mut thread = thread(place.conn, place.shared);
    thread.watch_log().await;
    thread.look().await;
    for _ in 0..3 {
        thread.work(&mut [boxed(Insert { jobs: vec![job()] })]).await;
        assert!(thread.watch.is_heard_of());
    }
    place.backend.insert(&[job()]).await.unwrap();
    assert!(!thread.watch.is_heard_of());
}

/// What the tick says at a look wakes who waits, also by a connection that was opened anew.
#[tokio::test]
async fn a_look_finds_what_others_did() {
    let place = Place::new().await;
    let hub = place.shared.hub.clone();
    let mut thread = thread(place.conn, place.shared);
    thread.look().await;
    for lost in [false, true] {
        let known = hub.tick();
        place.backend.insert(&[job()]).await.unwrap();
        if lost {
            thread.conn = None;
            thread.look().await;
        }
        thread.look().await;
        assert!(hub.tick().turn > known.turn);
    }
}
