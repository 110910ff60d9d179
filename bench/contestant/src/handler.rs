//! What runs jobs, and notes which ran.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::histogram::Histogram;
use crate::{Figures, Payload, Result, micros};

/// Runs jobs. Clones note in the same place.
#[derive(Clone)]
pub struct Handler {
    wait: Duration,
    notes: Arc<Notes>,
}

struct Notes {
    /// A bit for each number that is expected, from this one.
    first: u64,
    seen: Vec<AtomicU64>,
    /// The latencies of jobs before this number aren't kept: connections open then.
    warm: AtomicU64,
    latencies: Histogram,
    distinct: AtomicU64,
    repeated: AtomicU64,
    /// Who waits is woken once so many jobs ran.
    target: AtomicU64,
    reached: tokio::sync::Notify,
}

impl Handler {
    /// Waits so long in each job. Jobs have numbers from `first`, and there are at most `count`. The latencies of those before `warm` aren't kept.
    pub(crate) fn new(wait: Duration, first: u64, count: u64, warm: u64) -> Self {
        let seen = (0..count.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        let notes = Notes {
            first,
            seen,
            warm: AtomicU64::new(warm),
            latencies: Histogram::default(),
            distinct: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
            target: AtomicU64::new(u64::MAX),
            reached: tokio::sync::Notify::new(),
        };
        Self { wait, notes: Arc::new(notes) }
    }

    /// Runs a job.
    pub async fn run(&self, payload: Payload) {
        self.notes.begin(&payload);
        if !self.wait.is_zero() {
            tokio::time::sleep(self.wait).await;
        }
        self.notes.end(&payload);
    }

    /// Runs a job given as JSON.
    pub async fn run_json(&self, json: &[u8]) -> Result<()> {
        self.run(serde_json::from_slice(json)?).await;
        Ok(())
    }

    /// Runs a job in a thread that may be held up.
    pub fn run_blocking(&self, payload: &Payload) {
        self.notes.begin(payload);
        if !self.wait.is_zero() {
            std::thread::sleep(self.wait);
        }
        self.notes.end(payload);
    }

    /// Latencies are kept from this number on.
    pub(crate) fn warm_until(&self, number: u64) {
        self.notes.warm.store(number, Ordering::Relaxed);
    }

    /// How many jobs ran, each counted once.
    pub(crate) fn distinct(&self) -> u64 {
        self.notes.distinct.load(Ordering::Relaxed)
    }

    /// Runs of jobs that had run already.
    pub(crate) fn repeated(&self) -> u64 {
        self.notes.repeated.load(Ordering::Relaxed)
    }

    /// Waits until so many jobs ran. Only one may wait.
    pub(crate) async fn until(&self, count: u64) {
        // First told, then looked: a job that ends in between finds the target.
        self.notes.target.store(count, Ordering::SeqCst);
        while self.notes.distinct.load(Ordering::SeqCst) < count {
            self.notes.reached.notified().await;
        }
    }

    /// Figures with the latencies and the repeats.
    pub(crate) fn figures(&self) -> Figures {
        let at = |share| self.notes.latencies.at(share);
        Figures {
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            jobs: self.distinct(),
            repeated: self.repeated(),
            ..Figures::default()
        }
    }
}

impl Notes {
    fn begin(&self, payload: &Payload) {
        if payload.number >= self.warm.load(Ordering::Relaxed) {
            self.latencies.add(micros().saturating_sub(payload.sent_at));
        }
    }

    fn end(&self, payload: &Payload) {
        // A job from outside of the run can't be told from a repeat.
        let number = payload.number.wrapping_sub(self.first);
        let bit = 1 << (number % 64);
        let word = usize::try_from(number / 64).ok().and_then(|word| self.seen.get(word));
        if word.is_none_or(|word| word.fetch_or(bit, Ordering::Relaxed) & bit != 0) {
            self.repeated.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let distinct = self.distinct.fetch_add(1, Ordering::SeqCst) + 1;
        if distinct == self.target.load(Ordering::SeqCst) {
            self.reached.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn repeats_and_strangers_are_told_apart_from_jobs() {
        let handler = Handler::new(Duration::ZERO, 100, 70, 0);
        for number in [100, 163, 164, 100, 169, 99, 500] {
            handler.run(Payload::new(number)).await;
        }
        handler.until(4).await;
        let figures = handler.figures();
        assert_eq!((figures.jobs, figures.repeated), (4, 3));
        assert!(figures.p50.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_waits() {
        let (handler, begun) =
            (Handler::new(Duration::from_millis(7), 0, 1, 1), tokio::time::Instant::now());
        let json = serde_json::to_vec(&Payload::new(0)).unwrap();
        handler.run_json(&json).await.unwrap();
        assert_eq!(begun.elapsed(), Duration::from_millis(7));
        handler.run_json(b"{}").await.unwrap_err();
        // It was a job for warming up.
        assert_eq!(handler.figures().p50, None);
    }
}
