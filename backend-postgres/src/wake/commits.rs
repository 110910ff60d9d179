//! Waits for the commits of hosts' transactions that added jobs: a `NOTIFY` inside them would make them wait for each other.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::Shared;
use crate::error::state;
use crate::sql::query;
use crate::txn::News;

/// Between two looks at a transaction: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(250));
/// A transaction that is open for longer is no longer waited for. Polling finds its jobs.
const PATIENCE: Duration = Duration::from_secs(600);
/// Transactions waited for at once, and asked for in one statement.
const MOST: (usize, usize) = (10_000, 500);
/// The server doesn't know the number: it was restored, or another one took over.
const NO_SUCH_NUMBER: &str = "22023";

/// The transactions that are waited for.
#[derive(Debug, Default)]
pub(super) struct Pending {
    list: Mutex<Vec<Waiting>>,
    added: Notify,
}

#[derive(Debug)]
struct Waiting {
    transaction: String,
    news: News,
    since: Instant,
    pause: Duration,
    next: Instant,
}

impl Pending {
    fn lock(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, transaction: String, news: News) {
        let mut list = self.lock();
        if let Some(known) = list.iter_mut().rev().find(|known| known.transaction == transaction) {
            known.news.queues.extend(news.queues);
            known.news.events |= news.events;
            return;
        }
        if list.len() >= MOST.0 {
            return;
        }
        let now = Instant::now();
        list.push(Waiting { transaction, news, since: now, pause: PAUSES.0, next: now + PAUSES.0 });
        drop(list);
        self.added.notify_one();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn next(&self) -> Option<Instant> {
        self.lock().iter().map(|waiting| waiting.next).min()
    }

    /// The transactions to ask for now; the next time is twice as far. Those that were waited for too long are forgotten.
    fn due(&self, now: Instant) -> Vec<String> {
        let mut list = self.lock();
        list.retain(|waiting| now.duration_since(waiting.since) < PATIENCE);
        let due = list.iter_mut().filter(|waiting| waiting.next <= now).take(MOST.1);
        due.map(|waiting| {
            waiting.pause = (waiting.pause * 2).min(PAUSES.1);
            waiting.next = now + waiting.pause;
            waiting.transaction.clone()
        })
        .collect()
    }

    fn take(&self, transaction: &str) -> Option<News> {
        let mut list = self.lock();
        let place = list.iter().position(|waiting| waiting.transaction == transaction)?;
        Some(list.swap_remove(place).news)
    }
}

/// Asks how transactions ended, for ever.
pub(super) async fn run(shared: Arc<Shared>) {
    loop {
        let Some(next) = shared.pending.next() else {
            shared.pending.added.notified().await;
            continue;
        };
        tokio::select! {
            () = sleep_until(next) => ask(&shared, Instant::now()).await,
            () = shared.pending.added.notified() => {}
        }
    }
}

/// Asks once more before the end.
pub(super) async fn ask_last(shared: &Arc<Shared>) {
    ask(shared, Instant::now() + PAUSES.1).await;
}

/// Asks for the transactions that are due at a time.
async fn ask(shared: &Arc<Shared>, at: Instant) {
    let due = shared.pending.due(at);
    if due.is_empty() {
        return;
    }
    let line = &shared.line;
    let statement = query(&line.sql.commits).bind(due.clone());
    match line.session.try_fetch(statement).await {
        Ok(rows) => rows.iter().for_each(|row| ended(shared, row)),
        // A hint may be spurious: better one too many.
        Err(error) if state(&error).as_deref() == Some(NO_SUCH_NUMBER) => {
            for transaction in due {
                tell(shared, &transaction);
            }
        }
        // They are asked for again.
        Err(error) => {
            tracing::debug!(%error, "how transactions of the host ended is not known yet")
        }
    }
}

fn ended(shared: &Arc<Shared>, row: &PgRow) {
    let Ok(transaction) = row.try_get::<String, _>(0) else { return };
    match row.try_get::<Option<String>, _>(1).ok().flatten().as_deref() {
        Some("in progress") => {}
        Some("aborted") => drop(shared.pending.take(&transaction)),
        // Committed, or so long ago that the server has forgotten.
        _ => tell(shared, &transaction),
    }
}

fn tell(shared: &Arc<Shared>, transaction: &str) {
    if let Some(news) = shared.pending.take(transaction) {
        shared.committed(&news);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(queue: &str) -> News {
        News { queues: [queue.to_owned()].into(), events: true }
    }

    #[test]
    fn a_transaction_is_asked_for_ever_more_seldom_and_given_up() {
        let pending = Pending::default();
        pending.put("7".into(), news("a"));
        pending.put("7".into(), news("b"));
        let begun = pending.lock()[0].since;
        let (mut asked, mut last) = (0, begun);
        while let Some(next) = pending.next() {
            asked += pending.due(next).len();
            last = next;
        }
        let waited = last - begun;
        assert!(waited >= PATIENCE && waited < PATIENCE + PAUSES.1, "{waited:?}");
        assert!((2_300..2_500).contains(&asked), "about four times a second: {asked}");
    }

    #[test]
    fn two_calls_in_one_transaction_are_told_together() {
        let pending = Pending::default();
        pending.put("7".into(), news("a"));
        pending.put("7".into(), news("b"));
        let told = pending.take("7").unwrap();
        assert_eq!(told.queues.len(), 2);
        assert!(pending.take("7").is_none());
    }
}
