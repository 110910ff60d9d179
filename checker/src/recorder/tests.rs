//! What goes through a recorder is what the checker needs.

use std::sync::Mutex;

use futures_util::FutureExt;
use windlass_core::{
    AttemptOutcome, KindSlots, MemoryBackend, Payload, QueueSlots, State, WorkerInfo,
};

use super::*;
use crate::history::Entry;
use crate::{Evidence, FinalJob, Promises, Rule, UndoneBy, check};

#[derive(Debug, Default)]
struct Book(Mutex<Vec<What>>);

impl Journal for Book {
    fn now(&self) -> u64 {
        self.0.lock().unwrap().len() as u64
    }

    fn record(&self, what: What) {
        self.0.lock().unwrap().push(what);
    }
}

fn job() -> NewJob {
    NewJob::new("k".parse().unwrap(), "q".parse().unwrap(), Payload::json(&1).unwrap())
}

type Recorded = Recorder<MemoryBackend, Book>;

/// Inserts a job and works off what is there: each list of follow-ups is a sending of the settlement of the first.
async fn live(on: &Recorded, sendings: Vec<Vec<NewJob>>) -> Result<()> {
    let queue: QueueName = "q".parse().unwrap();
    on.insert(&[job()]).await?;
    let info = WorkerInfo::new("w", Duration::from_secs(9), vec![queue.clone()]);
    let worker = on.register(&info).await?.worker;
    let slots = vec![QueueSlots { queue, limit: 1 }];
    let kinds = vec![KindSlots { kind: "k".parse().unwrap(), limit: None }];
    for follow_ups in [sendings, vec![Vec::new()]] {
        let request = ClaimRequest::new(worker, slots.clone(), kinds.clone());
        let key = on.claim(&request).await?.leases.remove(0).key;
        on.record(&[Record::new(key, Vec::new())]).await?;
        let settlement = |follow_ups| {
            let outcome = AttemptOutcome::Completed { result: None, blobs: Vec::new() };
            let mut settlement = Settlement::new(key, outcome);
            settlement.follow_ups = follow_ups;
            settlement
        };
        on.settle(&follow_ups.into_iter().map(settlement).collect::<Vec<_>>()).await?;
    }
    on.deregister(worker).await
}

/// All that is known after it.
fn lived(sendings: Vec<Vec<NewJob>>) -> Evidence {
    let recorder = Recorder::new(Arc::new(MemoryBackend::new()), Book::default());
    live(&recorder, sendings).now_or_never().unwrap().unwrap();
    let jobs = recorder.list(&JobQuery::default()).now_or_never().unwrap().unwrap().items;
    let with_history = |job: &JobRecord| {
        let page = recorder.history(job.id, None, 100).now_or_never().unwrap().unwrap();
        let changes = page.events.iter().filter_map(|event| crate::Change::of(&event.body));
        FinalJob::of(job, changes.collect())
    };
    let jobs: Vec<_> = jobs.iter().map(with_history).collect();
    assert_eq!(jobs.len(), 2);
    assert!(jobs.iter().all(|job| job.state == State::Completed));
    let entries = recorder.journal().0.lock().unwrap().clone();
    let entries = entries.into_iter().enumerate().map(|(t, what)| {
        let (t, process) = (t as u64, "one".to_owned());
        Entry { t, process, what }
    });
    let promises = Promises {
        undone_by: UndoneBy::Nothing,
        inserts: true,
        one_writer: false,
        transactional: false,
        busy: false,
        lease: 9,
        recovery: 9,
        call: 9,
    };
    Evidence::new(entries.collect(), jobs, promises)
}

#[test]
fn what_goes_through_is_written_down_and_holds() {
    let child = job();
    let mut evidence = lived(vec![vec![child.clone()]]);
    let findings = check(&evidence);
    assert!(findings.hold(), "{:?}", findings.violations);
    assert_eq!((findings.figures.acknowledged, findings.figures.claims), (1, 2));
    // The follow-up is known to be one.
    evidence.jobs.retain(|job| job.id != child.id);
    assert_eq!(check(&evidence).count(Rule::FollowUps), 1);
}

#[test]
fn answers_of_one_key_in_a_list_are_told_apart() {
    // Only the first sending is applied, with its follow-up.
    let findings = check(&lived(vec![vec![job()], vec![job()]]));
    assert!(findings.hold(), "{:?}", findings.violations);
}

#[test]
fn an_insert_that_nobody_waits_for_may_be_applied_or_not() {
    let (book, jobs) = (Book::default(), [job()]);
    drop(UnderWay::new(&book, &jobs));
    let last = book.0.lock().unwrap().pop();
    assert!(matches!(last, Some(What::Failed { job, .. }) if job == jobs[0].id), "{last:?}");
    UnderWay::new(&book, &jobs).answered(&Ok(vec![Inserted::New(jobs[0].id)]));
    let last = book.0.lock().unwrap().pop();
    assert!(matches!(last, Some(What::Acked { answer: Answer::New, .. })), "{last:?}");
}
