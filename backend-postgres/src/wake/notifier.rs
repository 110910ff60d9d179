//! Tells other processes in which queues there may be jobs. Never in a transaction of a user's: Postgres makes commits that notify wait for
//! each other. What comes up while one message is on its way goes into the next.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::seldom::Seldom;
use super::{Shared, commits};
use crate::sql::query;

/// Least time from the beginning of a message to that of the next, and most.
const LEAST_GAP: Duration = Duration::from_millis(1);
const MOST_GAP: Duration = Duration::from_millis(5);
/// In between, so many times what the last one took: a server that is busy is told less often.
const TIMES: u32 = 5;
/// A payload has less than 8,000 bytes.
const PAYLOAD_BYTES: usize = 7_900;
/// Stands for every queue; no name has this character.
const EVERYTHING: &str = "*";

/// The queues that others are still to be told of.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queues: Mutex<Queues>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Queues {
    waiting: BTreeSet<String>,
    /// In a message of which it is not known yet whether it was sent: a closing backend ends the task in the middle of one, and sends it again.
    under_way: BTreeSet<String>,
    /// The backend is gone: nothing more comes in.
    left: bool,
}

impl Outbox {
    pub(super) fn put(&self, queues: &BTreeSet<String>) {
        let mut lists = self.lock();
        for queue in queues {
            if !lists.waiting.contains(queue) {
                lists.waiting.insert(queue.clone());
            }
        }
        drop(lists);
        self.filled.notify_one();
    }

    /// Lets the task end once all is told. Whether something is left to tell.
    pub(super) fn leave(&self) -> bool {
        let mut lists = self.lock();
        lists.left = true;
        let any = !lists.waiting.is_empty() || !lists.under_way.is_empty();
        drop(lists);
        self.filled.notify_one();
        any
    }

    /// Whether nothing more comes in.
    fn is_left(&self) -> bool {
        self.lock().left
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the next message is to tell.
    fn take(&self) -> BTreeSet<String> {
        let mut lists = self.lock();
        let waiting = std::mem::take(&mut lists.waiting);
        lists.under_way.extend(waiting);
        lists.under_way.clone()
    }

    /// The message was sent, or can't be.
    fn sent(&self) {
        self.lock().under_way.clear();
    }
}

/// Sends what is in the outbox, as long as there is a backend, and what it has left.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut warning = Seldom::default();
    loop {
        shared.outbox.filled.notified().await;
        let begun = Instant::now();
        if let Err(error) = send(&shared).await {
            warning.warn(
                "other processes are not told of new jobs; they find them by polling",
                &error,
            );
        }
        if shared.outbox.is_left() {
            return farewell(&shared).await;
        }
        sleep_until(begun + gap(begun.elapsed())).await;
    }
}

/// The time from the beginning of a message that took so long to the next.
fn gap(took: Duration) -> Duration {
    took.saturating_mul(TIMES).clamp(LEAST_GAP, MOST_GAP)
}

/// Tells all that there is to tell, for the last time: first what is known, which shall not wait for the rest. Who is not told finds the jobs by
/// polling, such as those of transactions that are still open.
pub(super) async fn farewell(shared: &Arc<Shared>) {
    let _ = send(shared).await;
    commits::ask_last(shared).await;
    let _ = send(shared).await;
}

/// Sends what is in the outbox now, in one message. What can't be sent is dropped: polling finds the jobs.
pub(super) async fn send(shared: &Shared) -> windlass_core::Result<()> {
    let queues = shared.outbox.take();
    if queues.is_empty() {
        return Ok(());
    }
    let line = &shared.line;
    let payload = write(&line.sender, &queues);
    let statement = query(&line.sql.notify).bind(line.channel.clone()).bind(payload);
    let sent = line.session.fetch("notify", statement).await;
    shared.outbox.sent();
    sent.map(drop)
}

fn write(sender: &str, queues: &BTreeSet<String>) -> String {
    let bytes: usize = queues.iter().map(|queue| queue.len() + 1).sum();
    if sender.len() + 1 + bytes > PAYLOAD_BYTES {
        return format!("{sender},{EVERYTHING}");
    }
    let mut payload = sender.to_owned();
    for queue in queues {
        payload.push(',');
        payload.push_str(queue);
    }
    payload
}

/// What a message says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told<'a> {
    /// It is from this process, which knows already.
    Own,
    /// There may be jobs in these queues.
    Queues(Vec<&'a str>),
    /// There may be jobs anywhere.
    Everything,
}

/// Reads a message. One that can't be read, perhaps of another version of this library, means everything.
pub(super) fn read<'a>(sender: &str, payload: &'a str) -> Told<'a> {
    let mut parts = payload.split(',');
    if parts.next() == Some(sender) {
        return Told::Own;
    }
    let queues: Vec<&str> = parts.collect();
    let is_name = |queue: &&str| windlass_core::QueueName::new(queue).is_ok();
    if queues.is_empty() || !queues.iter().all(is_name) {
        return Told::Everything;
    }
    Told::Queues(queues)
}

/// A message as another process may send it, and one that is written here: what is told is told whole, or everything is.
#[cfg(any(test, fuzzing))]
pub fn notice(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let is_name = |queue: &str| windlass_core::QueueName::new(queue).is_ok();
    if let Told::Queues(queues) = read("0000000000000001", &text) {
        assert!(!queues.is_empty() && queues.iter().all(|queue| is_name(queue)));
    }
    let names = text.split(',').filter(|queue| is_name(queue));
    let queues: BTreeSet<String> = names.map(str::to_owned).collect();
    let payload = write("0000000000000002", &queues);
    assert!(payload.len() <= PAYLOAD_BYTES);
    assert_eq!(read("0000000000000002", &payload), Told::Own);
    match read("0000000000000001", &payload) {
        Told::Queues(told) => assert!(told.into_iter().eq(&queues)),
        told => assert!(told == Told::Everything && (queues.is_empty() || payload.ends_with('*'))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_a_task_was_telling_when_it_ended_is_told_again() {
        let outbox = Outbox::default();
        outbox.put(&queues(&["a"]));
        assert_eq!(outbox.take(), queues(&["a"]));
        // The task is dropped here. More comes in, and all of it is told.
        outbox.put(&queues(&["b"]));
        assert_eq!(outbox.take(), queues(&["a", "b"]));
        outbox.sent();
        assert_eq!(outbox.take(), queues(&[]));
    }

    #[test]
    fn a_busy_server_is_told_less_often() {
        let gap = |took| gap(Duration::from_micros(took)).as_micros();
        assert_eq!([0, 100, 400, 2_000, u64::MAX].map(gap), [1_000, 1_000, 2_000, 5_000, 5_000]);
    }

    #[test]
    fn what_was_written_is_read() {
        let payload = write("a1", &queues(&["x", "y:z"]));
        assert_eq!(read("b2", &payload), Told::Queues(vec!["x", "y:z"]));
        assert_eq!(read("a1", &payload), Told::Own);
    }

    /// Inside a transaction of a user's it would make commits wait for each other.
    #[test]
    fn only_the_statement_that_stands_for_itself_notifies() {
        let all = crate::sql::Statements::new("x").all();
        let told = all.iter().filter(|(_, sql)| sql.as_str().to_lowercase().contains("notify"));
        assert_eq!(told.map(|(name, _)| *name).collect::<Vec<_>>(), ["notify"]);
        assert!(!crate::schema::script("x").to_lowercase().contains("notify"));
    }

    #[test]
    fn too_much_for_one_message_means_everything() {
        let many: BTreeSet<String> = (0..100).map(|n| format!("{n:0>100}")).collect();
        let payload = write("a1", &many);
        assert!(payload.len() <= PAYLOAD_BYTES);
        assert_eq!(read("b2", &payload), Told::Everything);
        let fits: BTreeSet<String> = (0..70).map(|n| format!("{n:0>100}")).collect();
        assert!(matches!(read("b2", &write("a1", &fits)), Told::Queues(q) if q.len() == 70));
    }

    #[test]
    fn what_can_not_be_read_means_everything() {
        for odd in ["", "x", "x,", "x,a b", "x,a,,b", "{\"v\":2}", "x,\u{1f980}"] {
            assert_eq!(read("b2", odd), Told::Everything, "{odd:?}");
        }
    }
}
