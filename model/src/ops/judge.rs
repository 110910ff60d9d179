//! The history of a sequence, and what the shared checker says of it.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use windlass_checker::history::{Entry, What, micros};
use windlass_checker::{
    Change, Evidence, FinalJob, Journal, Promises, Recorder, Told, UndoneBy, check,
};
use windlass_core::{
    AttemptOutcome, Backend, EventFilter, JobId, Lane, MemoryBackend, Position, Queue as _,
    QueueChange, Result, Settlement, Store as _, WorkerInfo,
};

use super::make::{claim_request, queue};
use super::read::{ALL, all_jobs, history};
use super::run::FAR;

/// Longer than any pause that the store makes by itself.
const DAY: Duration = Duration::from_secs(86_400);
/// Far more turns than it takes to end all jobs.
const TURNS: u32 = 20;

/// What was asked and answered, by the clock of the memory backend.
#[derive(Debug)]
pub(super) struct Book {
    clock: MemoryBackend,
    entries: Mutex<Vec<Entry>>,
}

impl Book {
    pub(super) const fn new(clock: MemoryBackend) -> Self {
        Self { clock, entries: Mutex::new(Vec::new()) }
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for Book {
    fn now(&self) -> u64 {
        u64::try_from(self.clock.now().as_microsecond()).unwrap_or_default()
    }

    fn record(&self, what: What) {
        let now = self.now();
        let mut entries = self.entries();
        // No two are of one moment: their order is known.
        let t = now.max(entries.last().map_or(0, |last| last.t + 1));
        entries.push(Entry { t, process: "caller".to_owned(), what });
    }
}

/// Ends all jobs and checks the history.
///
/// # Errors
/// What is wrong.
pub(super) async fn judge(
    model: &Recorder<dyn Backend, Book>,
    again: &BTreeSet<JobId>,
) -> Result<(), String> {
    let gathered = async {
        drain(model).await?;
        evidence(model, again).await
    };
    let findings = check(&gathered.await.map_err(|error| error.to_string())?);
    let said = |job: Option<JobId>| job.is_none_or(|job| !again.contains(&job));
    let wrong = findings.violations.iter().filter(|violation| said(violation.job));
    let wrong: Vec<_> = wrong.map(ToString::to_string).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!("the checker of the model's history says\n{}", wrong.join("\n")))
}

/// Lets time pass until all is due and nobody has a lease, and works off what is left.
async fn drain(model: &Recorder<dyn Backend, Book>) -> Result<()> {
    model.journal().clock.advance(FAR + DAY);
    let queues = [queue(0), queue(1)];
    let mut open = QueueChange::default().paused(false);
    open.concurrency = Some(None);
    for queue in &queues {
        model.configure_queue(queue, &open).await?;
    }
    let worker = WorkerInfo::new("at the end", FAR, queues.to_vec());
    model.register(&worker).await?;
    for _ in 0..TURNS {
        model.maintain(1_000).await?;
        for lane in [Lane::Normal, Lane::Quarantine] {
            let kinds = [(0, None), (1, None), (2, None)];
            let mut request = claim_request(worker.id, &[(0, 100), (1, 100)], &kinds, false);
            request.lane = lane;
            let leases = model.claim(&request).await?.leases;
            let end = |lease: &windlass_core::Lease| {
                let outcome = AttemptOutcome::Completed { result: None, blobs: Vec::new() };
                Settlement::new(lease.key, outcome)
            };
            model.settle(&leases.iter().map(end).collect::<Vec<_>>()).await?;
        }
        if all_jobs(model).await?.iter().all(|job| job.state.is_final()) {
            break;
        }
        model.journal().clock.advance(DAY);
    }
    Ok(())
}

async fn evidence(
    model: &Recorder<dyn Backend, Book>,
    again: &BTreeSet<JobId>,
) -> Result<Evidence> {
    let mut jobs = Vec::new();
    for job in all_jobs(model).await?.iter().filter(|job| !again.contains(&job.id)) {
        let events = history(model, job.id, ALL).await?;
        let changes = events.iter().filter_map(|event| Change::of(&event.body)).collect();
        jobs.push(FinalJob::of(job, changes));
    }
    let (mut told, mut after): (Vec<Told>, Option<Position>) = (Vec::new(), None);
    loop {
        let page = model.events(&EventFilter::default(), after, ALL).await?;
        let changes = page.events.iter();
        let changes = changes.filter_map(|event| Some((event.job, Change::of(&event.body)?)));
        told.extend(changes.map(|(job, change)| Told { t: 0, job, change }));
        if !page.more || page.next == after {
            break;
        }
        after = page.next;
    }
    // What is not in the evidence is not there to be missed.
    again.iter().for_each(|job| model.journal().record(What::Removed { job: *job }));
    let promises = Promises {
        undone_by: UndoneBy::Nothing,
        inserts: true,
        one_writer: false,
        transactional: false,
        busy: false,
        lease: micros(FAR),
        recovery: 0,
        call: 0,
    };
    let entries = std::mem::take(&mut *model.journal().entries());
    let mut evidence = Evidence::new(entries, jobs, promises);
    evidence.told = Some(told);
    Ok(evidence)
}
