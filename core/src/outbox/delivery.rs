//! One round of a relay: what became of the entries it took.

use std::time::{Duration, Instant};

use super::{Outbox, OutboxStore, PutBack, TakenEntry, parcel};
use crate::{Backend, Backoff, Error, Inserted, JobId, NewJob, Result};

/// What one round did.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// Entries that are gone from the outbox.
    pub(super) moved: u64,
    /// Of these, entries whose job was there already: an earlier round was interrupted.
    pub(super) repeated: u64,
    /// Of these, entries for which another job stands that holds the unique key.
    pub(super) duplicates: u64,
    /// Entries that the target refused.
    pub(super) refused: u64,
    /// Something was put back, so that going on at once makes no sense.
    pub(super) held_up: Option<Error>,
}

/// How long a refused entry waits before it is offered again.
fn patience(refusals: u32) -> Duration {
    Backoff::exponential(Duration::from_secs(1), Duration::from_secs(600))
        .with_jitter(0.2)
        .delay(refusals, fastrand::f64())
}

/// How long an entry for a full queue waits.
const FULL: Duration = Duration::from_millis(500);

/// An entry with its job.
struct Offer {
    job: NewJob,
    refusals: u32,
}

/// What the rounds so far have found.
#[derive(Default)]
struct Ledger {
    delivered: Vec<JobId>,
    back: Vec<PutBack>,
    round: Round,
}

impl Ledger {
    fn arrived(&mut self, id: JobId, inserted: Inserted) {
        match inserted {
            Inserted::Duplicate { existing } if existing == id => self.round.repeated += 1,
            Inserted::Duplicate { .. } | Inserted::Rejected { .. } => self.round.duplicates += 1,
            // No entry says `Replace`: `parcel::pack` refuses it.
            Inserted::New(_) | Inserted::Replaced { .. } => {}
        }
        self.delivered.push(id);
    }

    fn refused(&mut self, id: JobId, refusals: u32, error: &Error) {
        tracing::error!(job = %id, %error, "the target refuses an entry of the outbox");
        self.round.refused += 1;
        let text = with_causes(error);
        self.back.push(PutBack::new(id, patience(refusals + 1), Some(text)));
    }

    fn not_now(&mut self, id: JobId, delay: Duration, error: Error) {
        self.back.push(PutBack::new(id, delay, None));
        self.round.held_up = Some(error);
    }
}

fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(one) = cause {
        text.push_str(": ");
        text.push_str(&one.to_string());
        cause = one.source();
    }
    text
}

/// Takes entries, inserts them into the target and removes them. `Ok(None)` when there were none.
///
/// # Errors
/// Those of the outbox's database, and [`Error::Closed`]; entries that were taken come back when their time is up.
pub(super) async fn round<B: OutboxStore, T: Backend + ?Sized>(
    outbox: &Outbox<B, T>,
    limit: u32,
    hold: Duration,
) -> Result<Option<Round>> {
    let asked = Instant::now();
    let taken = outbox.store.take(limit, hold).await?;
    if taken.is_empty() {
        return Ok(None);
    }
    let mut ledger = Ledger::default();
    let offers = unpack(taken, &mut ledger);
    insert(outbox, offers, asked + hold / 2, &mut ledger).await?;
    outbox.store.delivered(&ledger.delivered).await?;
    ledger.round.moved = ledger.delivered.len() as u64;
    if !ledger.back.is_empty() {
        let text = |back: PutBack| PutBack {
            refusal: back.refusal.map(|text| outbox.target.limits().cut_error(&text)),
            ..back
        };
        let back: Vec<_> = ledger.back.into_iter().map(text).collect();
        outbox.store.put_back(&back).await?;
    }
    Ok(Some(ledger.round))
}

fn unpack(taken: Vec<TakenEntry>, ledger: &mut Ledger) -> Vec<Offer> {
    let mut offers = Vec::with_capacity(taken.len());
    for TakenEntry { entry, waited, refusals } in taken {
        match parcel::unpack(&entry, waited) {
            Ok(job) => offers.push(Offer { job, refusals }),
            Err(error) => ledger.refused(entry.id, refusals, &error),
        }
    }
    offers
}

/// Inserts offers in one call, or one by one where one of them can't be inserted.
async fn insert<B: OutboxStore, T: Backend + ?Sized>(
    outbox: &Outbox<B, T>,
    offers: Vec<Offer>,
    until: Instant,
    ledger: &mut Ledger,
) -> Result<()> {
    let (jobs, refusals): (Vec<_>, Vec<_>) =
        offers.into_iter().map(|offer| (offer.job, offer.refusals)).unzip();
    let most = outbox.target.limits().batch.max(1);
    for (jobs, refusals) in jobs.chunks(most).zip(refusals.chunks(most)) {
        if past(until, jobs) {
            continue;
        }
        match outbox.target.backend().insert(jobs).await {
            Ok(inserted) => {
                for (job, inserted) in jobs.iter().zip(inserted) {
                    ledger.arrived(job.id, inserted);
                }
            }
            Err(Error::Closed(what)) => return Err(Error::Closed(what)),
            Err(error) if error.is_transient() && !is_full(&error) => away(jobs, error, ledger),
            Err(_) => singly(outbox, jobs, refusals, until, ledger).await?,
        }
    }
    Ok(())
}

/// Inserts jobs one by one, since one of them stands in the way of all.
async fn singly<B: OutboxStore, T: Backend + ?Sized>(
    outbox: &Outbox<B, T>,
    jobs: &[NewJob],
    refusals: &[u32],
    until: Instant,
    ledger: &mut Ledger,
) -> Result<()> {
    let mut full = std::collections::HashSet::new();
    for (place, job) in jobs.iter().enumerate() {
        let one = std::slice::from_ref(job);
        if past(until, one) {
            continue;
        }
        if full.contains(&job.queue) {
            ledger.back.push(PutBack::new(job.id, FULL, None));
            continue;
        }
        match outbox.target.backend().insert(one).await {
            Ok(inserted) => {
                inserted.into_iter().for_each(|inserted| ledger.arrived(job.id, inserted));
            }
            Err(Error::Closed(what)) => return Err(Error::Closed(what)),
            Err(error) if is_full(&error) => {
                full.insert(job.queue.clone());
                ledger.not_now(job.id, FULL, error);
            }
            Err(error) if error.is_transient() => {
                away(&jobs[place..], error, ledger);
                return Ok(());
            }
            Err(error) => ledger.refused(job.id, refusals.get(place).copied().unwrap_or(0), &error),
        }
    }
    Ok(())
}

/// Whether the time is up within which others are sure not to have the entries; then they are left until their hold is over.
fn past(until: Instant, jobs: &[NewJob]) -> bool {
    let past = Instant::now() >= until;
    if past {
        tracing::warn!(
            jobs = jobs.len(),
            "the relay was held up and leaves its entries to the next round"
        );
    }
    past
}

/// The target is away: what was not inserted, as far as is known, is offered again.
fn away(jobs: &[NewJob], error: Error, ledger: &mut Ledger) {
    let back = jobs.iter().map(|job| PutBack::new(job.id, Duration::ZERO, None));
    ledger.back.extend(back);
    ledger.round.held_up = Some(error);
}

const fn is_full(error: &Error) -> bool {
    matches!(error, Error::QueueFull { .. })
}
