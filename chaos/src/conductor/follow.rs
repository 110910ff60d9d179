//! A reader of the event feed that lives through all faults: it must miss nothing, and be told nothing twice.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use tokio::task::JoinHandle;
use windlass::{Client, EventFilter, Followed, Position, Since};
use windlass_checker::{Change, Told};

use crate::Result;
use crate::history::now;

/// How long it may take to read what is left once all is healed.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was read so far.
#[derive(Debug, Default)]
struct Read {
    told: Vec<Told>,
    last: Option<Position>,
    wrong: Vec<String>,
}

/// The reader.
#[derive(Debug)]
pub struct Follower {
    url: String,
    read: Arc<Mutex<Read>>,
    reading: Option<(Client, JoinHandle<()>)>,
}

fn lock(read: &Mutex<Read>) -> MutexGuard<'_, Read> {
    read.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Follower {
    /// Begins with the first event.
    pub async fn start(url: &str) -> Result<Self> {
        let mut follower = Self { url: url.to_owned(), read: Arc::default(), reading: None };
        follower.resume().await?;
        Ok(follower)
    }

    /// Reads on where it paused, if it did.
    pub async fn resume(&mut self) -> Result<()> {
        if self.reading.is_some() {
            return Ok(());
        }
        let client: Client = windlass::connect(&self.url).await?;
        let filter = EventFilter::default().states_only();
        let since = lock(&self.read).last.map_or(Since::Start, Since::After);
        let mut events = client.subscribe(filter, since).await?;
        let all = self.read.clone();
        let task = tokio::spawn(async move {
            while let Some(item) = events.next().await {
                let mut read = lock(&all);
                match item {
                    Ok(Followed::Event(event)) => {
                        read.last = Some(event.position);
                        let change = Change::of(&event.body);
                        let (t, job) = (now(), event.job);
                        read.told.extend(change.map(|change| Told { t, job, change }));
                    }
                    Ok(_) => read.wrong.push("the feed's reader was told of a gap".to_owned()),
                    Err(error) => read.wrong.push(format!("the feed's reader ended: {error}")),
                }
            }
        });
        self.reading = Some((client, task));
        Ok(())
    }

    /// Reads nothing for a while, and has nothing open.
    pub async fn pause(&mut self) {
        if let Some((client, task)) = self.reading.take() {
            task.abort();
            // It ends by that, and its reading with it.
            let _ = task.await;
            if let Err(error) = client.close().await {
                eprintln!("the feed's reader can't close its client: {error}");
            }
        }
    }

    /// Reads on to a position, and ends. Answers what it was told, and what went wrong.
    pub async fn end(&mut self, last: Option<Position>) -> (Vec<Told>, Vec<String>) {
        let begun = Instant::now();
        let there = || lock(&self.read).last >= last;
        let ended = || self.reading.as_ref().is_none_or(|(_, task)| task.is_finished());
        while !there() && !ended() && begun.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let reached = there();
        self.pause().await;
        let mut read = lock(&self.read);
        if !reached && read.wrong.is_empty() {
            let at = read.last;
            let text =
                format!("the feed's reader is at {at:?} after {PATIENCE:?}, and not at {last:?}");
            read.wrong.push(text);
        }
        (std::mem::take(&mut read.told), std::mem::take(&mut read.wrong))
    }
}
