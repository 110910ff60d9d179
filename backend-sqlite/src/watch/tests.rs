//! Looks at a log, and words of the system about it.

#[cfg(target_os = "linux")]
mod words;

use sqlx::{Connection as _, Executor as _, SqliteConnection};
use tempfile::TempDir;

use super::*;
use crate::open;
use crate::options::SqliteOptions;
use crate::txn::Txn;

const LOOK: Duration = Duration::from_millis(20);

fn stamp(length: u64, nanoseconds: i64) -> Option<Stamp> {
    Some(Stamp { file: 1, length, seconds: 1, nanoseconds })
}

fn tick(now: i64) -> Tick {
    Tick { now, ..Tick::default() }
}

/// A watch on a log that looks like this, and its looks.
struct Looks {
    watch: Watch,
    log: Option<Stamp>,
    tick: Tick,
    start: Instant,
    now: Instant,
}

impl Looks {
    fn new() -> Self {
        let watch = Watch::by_looks(None);
        let now = watch.changed;
        let mut looks = Self { watch, log: stamp(1, 1), tick: tick(1), start: now, now };
        looks.reads(Duration::from_secs(60));
        looks
    }

    fn look(&mut self) -> bool {
        self.now += LOOK;
        let read = self.watch.judge(self.log, self.now);
        if read {
            self.watch.saw(self.tick, self.now);
        }
        read
    }

    /// How often the tick is read in such a time.
    fn reads(&mut self, time: Duration) -> usize {
        self.start = self.now;
        let mut reads = 0;
        while self.now - self.start < time {
            reads += usize::from(self.look());
        }
        reads
    }

    /// How late a commit is seen that comes so long after the log was written.
    fn late(&mut self, commit: Duration) -> Duration {
        self.start = self.now;
        self.reads(commit);
        let commit = self.now;
        while !self.look() {}
        self.now - commit
    }
}

#[test]
fn an_idle_log_leaves_the_tick_alone_but_for_the_net() {
    let mut looks = Looks::new();
    assert_eq!(looks.reads(Duration::from_secs(60)), 60);
}

/// A heartbeat a second, as of a hundred workers in ten processes.
#[test]
fn a_commit_takes_few_reads() {
    let mut looks = Looks::new();
    for n in 2..10 {
        looks.log = stamp(1, n);
        looks.tick = tick(n);
        let reads = looks.reads(Duration::from_secs(1));
        assert!(reads <= 9, "{reads} reads");
    }
}

#[test]
fn whatever_changes_of_the_log_is_a_reason_to_read() {
    let changes = [
        stamp(2, 1),
        stamp(2, 2),
        Some(Stamp { seconds: 2, ..stamp(2, 2).unwrap() }),
        Some(Stamp { file: 2, seconds: 2, ..stamp(2, 2).unwrap() }),
        None,
    ];
    let mut looks = Looks::new();
    for log in changes {
        assert!((0..2).any(|_| !looks.look()), "it was quiet before");
        looks.log = log;
        assert!(looks.look(), "{log:?}");
        looks.reads(Duration::from_secs(60));
    }
}

#[test]
fn where_nothing_can_be_told_each_look_reads() {
    let mut looks = Looks::new();
    looks.log = None;
    assert_eq!(looks.reads(Duration::from_secs(10)), 500);
}

#[test]
fn a_commit_is_seen_however_long_the_log_is_synced() {
    for (ms, most) in [(5, LOOK), (100, LOOK), (400, 3 * LOOK), (3_000, 20 * LOOK)] {
        let mut looks = Looks::new();
        looks.log = stamp(2, 2);
        let late = looks.late(Duration::from_millis(ms));
        assert!(late <= most, "{ms} ms: {late:?} late");
    }
}

/// The log looks the same when another commit is written right behind one.
#[test]
fn a_commit_behind_another_is_seen() {
    for ms in [5, 50, 200, 900, 5_000] {
        let mut looks = Looks::new();
        looks.log = stamp(2, 2);
        looks.tick = tick(2);
        let commit = Duration::from_millis(ms);
        let (late, most) = (looks.late(commit), (commit + 2 * LOOK).min(NET));
        assert!(late <= most, "{ms} ms: {late:?} late");
    }
}

/// A database, and another connection that writes there.
struct Place {
    folder: TempDir,
    conn: SqliteConnection,
    other: SqliteConnection,
    watch: Watch,
    now: Instant,
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real");
        std::fs::create_dir(&real).unwrap();
        // SQLite puts the log beside the file that a link leads to.
        std::os::unix::fs::symlink(real.join("jobs.db"), folder.path().join("link")).unwrap();
        let mut other = writer(real.join("jobs.db")).await;
        crate::schema::migrate(&mut other, &SqliteOptions::new(real.join("jobs.db")))
            .await
            .unwrap();
        let mut conn = writer(folder.path().join("link")).await;
        let log = open::log(&mut conn).await;
        assert!(log.as_ref().is_some_and(|log| log.exists()), "{log:?}");
        let now = Instant::now();
        Self { folder, conn, other, watch: Watch::by_looks(log), now }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("real/jobs.db-wal")
    }

    /// Until a write shows in a file's time, as it does for all but some milliseconds.
    fn next_time(&self) {
        let (probe, log) = (self.folder.path().join("probe"), Stamp::of(&self.log()));
        let time = |stamp: Option<Stamp>| stamp.map(|s| (s.seconds, s.nanoseconds));
        loop {
            std::fs::write(&probe, "x").unwrap();
            if time(Stamp::of(&probe)) > time(log) {
                return;
            }
        }
    }

    /// The log has been as it is for long.
    async fn settle(&mut self) {
        for _ in 0..10 {
            self.now += Duration::from_secs(10);
            assert!(self.watch.is_due(self.now), "the net");
            let tick = Txn::peek(&mut self.conn).await.unwrap();
            self.watch.saw(tick, self.now);
        }
        self.now += LOOK;
        assert!(!self.watch.is_due(self.now), "nothing has happened");
        self.next_time();
    }

    async fn commit(&mut self) {
        self.other.execute("UPDATE windlass_tick SET seq = seq + 1").await.unwrap();
    }

    fn is_due(&mut self) -> bool {
        self.now += LOOK;
        self.watch.is_due(self.now)
    }

    async fn checkpoint(&mut self, how: &str) {
        let done: (i64, i64, i64) =
            sqlx::query_as(sqlx::AssertSqlSafe(format!("PRAGMA wal_checkpoint({how})")))
                .fetch_one(&mut self.other)
                .await
                .unwrap();
        assert_eq!(done.0, 0, "nobody was in the way");
    }
}

async fn writer(path: PathBuf) -> SqliteConnection {
    open::writer(&SqliteOptions::new(path)).await.unwrap()
}

#[tokio::test]
async fn a_commit_of_another_connection_shows() {
    let mut place = Place::new().await;
    for _ in 0..20 {
        place.settle().await;
        place.commit().await;
        assert!(place.is_due());
    }
}

/// After it the log is written again from its beginning, and gets no longer.
#[tokio::test]
async fn a_commit_into_a_log_that_begins_anew_shows() {
    let mut place = Place::new().await;
    for _ in 0..20 {
        place.commit().await;
    }
    place.checkpoint("RESTART").await;
    let length = Stamp::of(&place.log()).unwrap().length;
    for _ in 0..5 {
        place.settle().await;
        place.commit().await;
        assert!(place.is_due());
        assert_eq!(Stamp::of(&place.log()).unwrap().length, length);
    }
}

#[tokio::test]
async fn a_commit_into_a_log_that_was_cut_off_shows() {
    let mut place = Place::new().await;
    for _ in 0..5 {
        place.checkpoint("TRUNCATE").await;
        place.settle().await;
        place.commit().await;
        assert!(place.is_due());
    }
}

/// The last connection that closes removes the log.
#[tokio::test]
async fn a_commit_into_a_log_that_was_made_anew_shows() {
    let mut place = Place::new().await;
    place.settle().await;
    for conn in [&mut place.conn, &mut place.other] {
        let elsewhere = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        std::mem::replace(conn, elsewhere).close().await.unwrap();
    }
    assert!(!place.log().exists());
    assert!(place.watch.is_due(place.now + LOOK) && place.watch.is_due(place.now + 3 * NET));
    place.conn = writer(place.folder.path().join("link")).await;
    place.other = writer(place.folder.path().join("real/jobs.db")).await;
    place.commit().await;
    place.settle().await;
    place.commit().await;
    assert!(place.is_due());
}

/// A time in whole seconds may be that of several commits.
#[test]
fn a_coarse_time_tells_nothing() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let time = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    file.as_file().set_modified(time).unwrap();
    assert_eq!(Stamp::of(file.path()), None);
    file.as_file().set_modified(time + FRESH).unwrap();
    assert!(Stamp::of(file.path()).is_some());
}
