//! A reader of the event feed that lives through all faults: it must miss nothing, and be told nothing twice.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use tokio::task::JoinHandle;
use windlass::{Client, EventFilter, Followed, Position, Since};

use crate::Result;
use crate::checker::{Change, Told};

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
    read: Arc<Mutex<Read>>,
    task: JoinHandle<()>,
}

impl Follower {
    /// Begins with the first event.
    pub async fn start(url: &str) -> Result<Self> {
        let client: Client = windlass::connect(url).await?;
        let filter = EventFilter::default().states_only();
        let mut events = client.subscribe(filter, Since::Start).await?;
        let read: Arc<Mutex<Read>> = Arc::default();
        let all = read.clone();
        let task = tokio::spawn(async move {
            while let Some(item) = events.next().await {
                let mut read = all.lock().unwrap_or_else(PoisonError::into_inner);
                match item {
                    Ok(Followed::Event(event)) => {
                        read.last = Some(event.position);
                        let change = Change::of(&event.body);
                        read.told.extend(change.map(|change| Told { job: event.job, change }));
                    }
                    Ok(_) => read.wrong.push("the feed's reader was told of a gap".to_owned()),
                    Err(error) => read.wrong.push(format!("the feed's reader ended: {error}")),
                }
            }
        });
        Ok(Self { read, task })
    }

    /// Reads on to a position, and ends. Answers what it was told, and what went wrong.
    pub async fn end(self, last: Option<Position>) -> (Vec<Told>, Vec<String>) {
        let begun = Instant::now();
        let there = || {
            let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
            read.last >= last
        };
        while !there() && !self.task.is_finished() && begun.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let reached = there();
        self.task.abort();
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if !reached && read.wrong.is_empty() {
            let at = read.last;
            let text =
                format!("the feed's reader is at {at:?} after {PATIENCE:?}, and not at {last:?}");
            read.wrong.push(text);
        }
        (std::mem::take(&mut read.told), std::mem::take(&mut read.wrong))
    }
}
