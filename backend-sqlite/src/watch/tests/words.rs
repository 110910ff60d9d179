//! What is told.

use super::*;

const SHORTEST: Duration = Duration::from_millis(5);

/// A watch that is told of a write, and its looks.
struct Told {
    watch: Watch,
    written: Instant,
}

impl Told {
    fn new() -> Self {
        let mut watch = Watch::by_looks(None);
        let read = watch.read + Duration::from_secs(60);
        watch.saw(tick(1), read);
        let written = read + Duration::from_secs(60);
        watch.change(written);
        Self { watch, written }
    }

    /// The time of the next look, which finds this.
    fn look(&mut self, found: Tick) -> Duration {
        let now = self.watch.next(SHORTEST);
        self.watch.saw(found, now);
        now - self.written
    }

    /// How late a commit is seen that comes so long after the write.
    fn late(&mut self, commit: Duration, before: Tick) -> Duration {
        while self.watch.next(SHORTEST) - self.written < commit {
            self.look(before);
        }
        self.look(tick(9)) - commit
    }
}

#[test]
fn a_commit_is_seen_however_long_the_log_is_synced() {
    for (ms, most) in [(1, 1), (2, 2), (20, 5), (100, 20), (400, 80), (3_000, 600)] {
        let late = Told::new().late(Duration::from_millis(ms), tick(1));
        assert!(late <= Duration::from_millis(most), "{ms} ms: {late:?} late");
    }
}

/// The last word may have been of both.
#[test]
fn a_commit_behind_another_is_seen() {
    for ms in [2, 5, 50, 200, 900, 5_000] {
        let commit = Duration::from_millis(ms);
        let mut told = Told::new();
        told.look(tick(2));
        let (late, most) = (told.late(commit, tick(2)), (3 * commit + SHORTEST).min(NET));
        assert!(late <= most, "{ms} ms: {late:?} late");
    }
}

#[test]
fn a_commit_takes_few_reads_and_silence_fewer() {
    let mut told = Told::new();
    told.look(tick(1));
    let mut looks = vec![told.look(tick(2))];
    while looks.last() < Some(&Duration::from_secs(10)) {
        looks.push(told.look(tick(2)));
    }
    let reads = looks.iter().filter(|look| **look < NET).count();
    assert!(reads <= 6, "{looks:?}");
    let last = looks.windows(2).last().map(|pair| pair[1] - pair[0]);
    assert_eq!(last, Some(NET), "{looks:?}");
}

/// However often the log is written.
#[test]
fn looks_keep_their_distance() {
    let mut told = Told::new();
    for n in 2..50 {
        let before = told.look(tick(n));
        told.watch.change(told.written + before + Duration::from_micros(100));
        assert!(told.watch.next(SHORTEST) >= told.written + before + SHORTEST);
    }
}

/// Whoever wants looks seldom has them once a second.
#[test]
fn a_write_puts_no_look_off() {
    let mut told = Told::new();
    let read = told.watch.read;
    assert!(told.watch.next(60 * NET) <= read.max(told.written) + SOON + NET);
    told.watch.change(read + NET / 2);
    assert_eq!(told.watch.next(60 * NET), read + NET);
    told.look(tick(2));
    assert!(told.watch.next(60 * NET) <= told.watch.read + NET);
}

/// All that is known is known.
async fn settled() -> Place {
    let mut place = Place::new().await;
    place.watch = Watch::new(open::log(&mut place.conn).await);
    for _ in 0..2 {
        assert!(place.watch.is_due(Instant::now()) && place.watch.words.is_some());
        let tick = Txn::peek(&mut place.conn).await.unwrap();
        place.watch.saw(tick, Instant::now());
    }
    place
}

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn a_commit_of_another_connection_ends_a_rest() {
    let mut place = settled().await;
    // Nothing is said: the net.
    place.watch.changed -= 2 * NET;
    place.watch.rest(SHORTEST, HOUR).await;
    assert!(!place.watch.is_unread());
    for _ in 0..3 {
        place.commit().await;
        place.watch.rest(SHORTEST, HOUR).await;
        assert!(place.watch.is_unread(), "told of it");
        assert!(place.watch.is_due(Instant::now()));
        let tick = Txn::peek(&mut place.conn).await.unwrap();
        place.watch.saw(tick, Instant::now());
        assert!(!place.watch.is_unread());
    }
}

/// The word of a write may come just after its time is there, once.
#[tokio::test]
async fn a_system_that_says_nothing_is_not_believed() {
    let mut place = settled().await;
    let elsewhere = tempfile::NamedTempFile::new().unwrap();
    place.watch.words = Words::of(elsewhere.path());
    assert!(place.watch.is_due(Instant::now()), "what was written before is not known");
    place.watch.changed -= 60 * NET;
    for believed in [true, false] {
        assert!(place.watch.is_due(Instant::now()), "nothing has happened");
        place.next_time();
        place.commit().await;
        assert!(place.watch.is_due(Instant::now()));
        assert_eq!(place.watch.words.is_some(), believed);
    }
    // The commit behind the last write may not be there yet.
    place.watch.saw(place.watch.tick, Instant::now());
    assert!(place.watch.is_due(Instant::now()));
    place.watch.rest(SHORTEST, Duration::from_millis(1)).await;
}

#[tokio::test]
async fn a_word_that_came_late_clears_the_doubt() {
    let mut place = settled().await;
    let elsewhere = tempfile::NamedTempFile::new().unwrap();
    place.watch.words = Words::of(elsewhere.path());
    place.watch.is_due(Instant::now());
    for n in 0..4 {
        place.next_time();
        place.commit().await;
        if n % 2 == 1 {
            std::fs::write(elsewhere.path(), "x").unwrap();
        }
        place.watch.is_due(Instant::now());
        assert!(place.watch.words.is_some());
    }
}

/// Some file systems tell of what this process writes alone.
#[tokio::test]
async fn words_of_own_commits_are_no_reason_to_believe() {
    let mut place = settled().await;
    let elsewhere = tempfile::NamedTempFile::new().unwrap();
    place.watch.words = Words::of(elsewhere.path());
    place.watch.is_due(Instant::now());
    for believed in [true, false] {
        // An own commit.
        place.next_time();
        place.commit().await;
        std::fs::write(elsewhere.path(), "x").unwrap();
        let tick = Txn::peek(&mut place.conn).await.unwrap();
        place.watch.committed(tick, Instant::now());
        assert!(place.watch.is_due(Instant::now()));
        place.next_time();
        place.commit().await;
        place.watch.is_due(Instant::now());
        assert_eq!(place.watch.words.is_some(), believed);
    }
}

#[tokio::test]
async fn where_the_log_is_gone_looks_go_on() {
    let mut place = settled().await;
    std::fs::rename(place.log(), place.folder.path().join("elsewhere")).unwrap();
    place.watch.rest(SHORTEST, Duration::from_millis(1)).await;
    assert!(place.watch.words.is_none());
}

/// It would only make this process look.
#[tokio::test]
async fn what_this_process_committed_is_no_news() {
    let mut place = settled().await;
    place.commit().await;
    let tick = Txn::peek(&mut place.conn).await.unwrap();
    place.watch.committed(tick, Instant::now());
    assert!(place.watch.is_heard_of());
}
