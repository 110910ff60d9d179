//! Guards broken on purpose, to show that the checker sees it. Each mistake is made between the fault layer and the store, through the
//! public traits.

use std::str::FromStr;
use std::time::Duration;

use futures_util::FutureExt;
use windlass_core::{
    AttemptOutcome, Change, ChangeRequest, ClaimRequest, Claimed, Error, Failure, FailureKind,
    Inserted, JobFilter, JobId, JobQuery, JobRecord, Lease, LeaseKey, Maintained, MemoryBackend,
    NewJob, Queue, Record, Recorded, Result, Selector, Settled, Settlement, State, Store,
};

/// How long after the end of a lease its jobs are taken, where that is the mistake.
const LATE: Duration = Duration::from_secs(15);

/// A guard that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    /// A finish is accepted whenever the job runs.
    AcceptsStale,
    /// A finish is accepted when the job runs under the same claim id, whatever the epoch.
    ForgetsEpoch,
    /// A unique key is free once its holder runs.
    FreesKeyEarly,
    /// Some inserts are acknowledged and not stored.
    LosesInserts,
    /// An insert that is refused is made all the same.
    InsertsRefused,
    /// A snooze or release does not give the attempt back.
    KeepsAttempts,
    /// A finish that comes twice runs the job again.
    RevivesFinal,
    /// A claim takes more than was asked.
    ClaimsTooMuch,
    /// Jobs of lost workers are not taken from them.
    NeverRescues,
    /// They are taken from them later than any worker rests.
    RescuesLate,
    /// Jobs are taken from workers that are alive.
    RescuesEarly,
    /// A record is accepted from whoever sends it.
    RecordsStale,
    /// A claim that is sent again gets a job that runs under another.
    GivesOthersJobs,
}

impl Mistake {
    /// Every mistake.
    pub const ALL: [Self; 13] = [
        Self::AcceptsStale,
        Self::ForgetsEpoch,
        Self::FreesKeyEarly,
        Self::LosesInserts,
        Self::InsertsRefused,
        Self::KeepsAttempts,
        Self::RevivesFinal,
        Self::ClaimsTooMuch,
        Self::NeverRescues,
        Self::RescuesLate,
        Self::RescuesEarly,
        Self::RecordsStale,
        Self::GivesOthersJobs,
    ];
}

impl FromStr for Mistake {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|mistake| format!("{mistake:?}") == text);
        named.ok_or_else(|| format!("no such mistake; one of {:?}", Self::ALL))
    }
}

/// The memory backend answers at once.
pub(super) fn now<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    call.now_or_never().unwrap_or_else(|| {
        Err(Error::Timeout { what: "a call that should not wait".into(), after: Duration::ZERO })
    })
}

fn get(memory: &MemoryBackend, id: JobId) -> Option<JobRecord> {
    now(memory.get(id)).ok().flatten()
}

pub(super) fn insert(
    mistake: Option<Mistake>,
    memory: &MemoryBackend,
    jobs: &[NewJob],
) -> Result<Vec<Inserted>> {
    match mistake {
        Some(Mistake::LosesInserts) if jobs.len() == 1 => Ok(vec![Inserted::New(jobs[0].id)]),
        Some(Mistake::InsertsRefused) => {
            let answers = now(memory.insert(jobs))?;
            for (job, answer) in jobs.iter().zip(&answers) {
                let refused = match answer {
                    Inserted::Rejected { .. } => true,
                    Inserted::Duplicate { existing } => *existing != job.id,
                    _ => false,
                };
                if refused {
                    let mut job = job.clone();
                    job.unique = None;
                    now(memory.insert(&[job]))?;
                }
            }
            Ok(answers)
        }
        Some(Mistake::FreesKeyEarly) => {
            let is_held_by_running = |job: &NewJob| {
                let Some(unique) = &job.unique else { return false };
                let filter = JobFilter::default().states([State::Running]);
                let query = JobQuery::from(filter.unique_key(unique.key.clone()));
                now(memory.list(&query)).is_ok_and(|page| !page.items.is_empty())
            };
            let freed = |job: &NewJob| match is_held_by_running(job) {
                true => {
                    let mut job = job.clone();
                    job.unique = None;
                    job
                }
                false => job.clone(),
            };
            now(memory.insert(&jobs.iter().map(freed).collect::<Vec<_>>()))
        }
        _ => now(memory.insert(jobs)),
    }
}

pub(super) fn claim(
    mistake: Option<Mistake>,
    memory: &MemoryBackend,
    request: &ClaimRequest,
) -> Result<Claimed> {
    let mut request = request.clone();
    if mistake == Some(Mistake::ClaimsTooMuch) {
        for slots in &mut request.queues {
            slots.limit += 1;
        }
    }
    let mut claimed = now(memory.claim(&request))?;
    if mistake == Some(Mistake::GivesOthersJobs) && request.resend && claimed.leases.is_empty() {
        let running = JobQuery::from(JobFilter::default().states([State::Running]));
        let others = now(memory.list(&running))?.items;
        let lease = others.first().map(|job| {
            let claim_id = request.claim_id;
            Lease::of(job, LeaseKey { job: job.id, epoch: job.epoch, claim_id })
        });
        claimed.leases.extend(lease);
    }
    Ok(claimed)
}

pub(super) fn record(
    mistake: Option<Mistake>,
    memory: &MemoryBackend,
    records: &[Record],
) -> Result<Vec<Recorded>> {
    let mut answers = now(memory.record(records))?;
    if mistake == Some(Mistake::RecordsStale) {
        answers.fill(Recorded::Applied);
    }
    Ok(answers)
}

pub(super) fn settle(
    mistake: Option<Mistake>,
    memory: &MemoryBackend,
    settlements: &[Settlement],
) -> Result<Vec<Settled>> {
    let mut settlements = settlements.to_vec();
    if mistake == Some(Mistake::KeepsAttempts) {
        for settlement in &mut settlements {
            if let AttemptOutcome::Snoozed { .. } | AttemptOutcome::Released = settlement.outcome {
                let failure = Failure { kind: FailureKind::Error, message: String::new() };
                settlement.outcome = AttemptOutcome::Retry { delay: Duration::ZERO, failure };
            }
        }
    }
    let mut answers = now(memory.settle(&settlements))?;
    for (settlement, answer) in settlements.iter().zip(&mut answers) {
        let key = settlement.key;
        match (mistake, &answer) {
            (Some(Mistake::AcceptsStale | Mistake::ForgetsEpoch), Settled::Lost) => {
                let Some(job) = get(memory, key.job).filter(|j| j.state == State::Running) else {
                    continue;
                };
                let Some(claim_id) = job.claim_id else { continue };
                if mistake == Some(Mistake::ForgetsEpoch) && claim_id != key.claim_id {
                    continue;
                }
                let mut forged = settlement.clone();
                forged.key = LeaseKey { job: job.id, epoch: job.epoch, claim_id };
                if let Some(forced) = now(memory.settle(&[forged]))?.pop() {
                    *answer = forced;
                }
            }
            (Some(Mistake::RevivesFinal), Settled::Already { .. }) => {
                let target = Selector::Ids(vec![key.job]);
                now(memory.change(&ChangeRequest::new(target, Change::Retry)))?;
            }
            _ => {}
        }
    }
    Ok(answers)
}

pub(super) fn maintain(
    mistake: Option<Mistake>,
    memory: &MemoryBackend,
    limit: u32,
) -> Result<Maintained> {
    if matches!(mistake, Some(Mistake::NeverRescues | Mistake::RescuesLate)) {
        let running = JobQuery::from(JobFilter::default().states([State::Running]));
        let (time, workers) = (memory.now(), now(memory.workers())?);
        let waits = |job: &JobRecord| {
            let worker = workers.iter().find(|w| Some(w.id) == job.worker);
            let until = worker.map(|w| w.expires_at);
            // Of a worker that is not known any more nothing tells how late it is.
            let lost = until.is_none_or(|until| until <= time);
            let taken = until.is_none_or(|until| time.duration_since(until).unsigned_abs() >= LATE);
            lost && (mistake == Some(Mistake::NeverRescues) || !taken)
        };
        if now(memory.list(&running))?.items.iter().any(waits) {
            return Ok(Maintained::default());
        }
    }
    if mistake == Some(Mistake::RescuesEarly) {
        for worker in now(memory.workers())?.into_iter().take(1) {
            now(memory.deregister(worker.id))?;
        }
    }
    now(memory.maintain(limit))
}
