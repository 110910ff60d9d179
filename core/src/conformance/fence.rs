//! The fence: every owner's write shows job, epoch and claim id and finds the job running, or changes nothing.
//!
//! Each part is wrong alone in a case of its own, for each call that carries a key. F1, F17.

use super::Harness;
use super::support::*;
use crate::{
    AttemptOutcome, Backend, ClaimId, Epoch, Inserted, JobId, LeaseKey, LogLevel, NewJob, Note,
    Queue, Record, Recorded, Settled, Settlement, State, Store,
};

fn log() -> Note {
    Note::Log { level: LogLevel::Info, message: "line".to_owned() }
}

async fn record(b: &dyn Backend, key: LeaseKey) -> Recorded {
    let mut answers = b.record(&[Record::new(key, vec![log()])]).await.unwrap();
    assert_eq!(answers.len(), 1, "one answer per record");
    answers.remove(0)
}

fn stale_epochs(key: LeaseKey) -> [LeaseKey; 2] {
    [Epoch(key.epoch.0 - 1), key.epoch.next()].map(|epoch| LeaseKey { epoch, ..key })
}

/// Settles under `wrong` with every outcome, carrying follow-ups and notes, and expects that job `id` and all else stay.
async fn settles_nothing(b: &dyn Backend, id: JobId, wrong: LeaseKey) {
    let (before, past, jobs) = (get(b, id).await, history(b, id).await, count(b).await);
    for outcome in every_outcome() {
        let follow_ups = match outcome {
            AttemptOutcome::Completed { .. } => vec![job_of("follow", K)],
            _ => Vec::new(),
        };
        let settlement = Settlement {
            follow_ups,
            notes: vec![log()],
            ..Settlement::new(wrong, outcome.clone())
        };
        let answer = settle_whole(b, settlement).await;
        assert_eq!(answer, Settled::Lost, "{outcome:?} under {wrong:?}");
        assert_eq!(get(b, id).await, before, "a lost settlement writes nothing");
    }
    assert_eq!(history(b, id).await, past, "a lost settlement leaves no event");
    assert_eq!(count(b).await, jobs, "a lost settlement inserts no follow-up");
}

async fn records_nothing(b: &dyn Backend, id: JobId, wrong: LeaseKey) {
    let (before, past) = (get(b, id).await, history(b, id).await);
    assert_eq!(record(b, wrong).await, Recorded::Lost);
    assert_eq!(get(b, id).await, before, "a lost record writes nothing");
    assert_eq!(history(b, id).await, past, "a lost record leaves no event");
}

pub async fn f01_settle_with_a_wrong_epoch_is_lost<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    for wrong in stale_epochs(lease.key) {
        settles_nothing(b, lease.key.job, wrong).await;
    }
    complete(b, &lease).await;
}

pub async fn f01_settle_with_a_wrong_claim_id_is_lost<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    let wrong = LeaseKey { claim_id: ClaimId::new(), ..lease.key };
    settles_nothing(b, lease.key.job, wrong).await;
    complete(b, &lease).await;
}

/// Two jobs of one claim differ in nothing but their id.
pub async fn f01_settle_changes_only_the_job_it_names<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    for outcome in every_outcome() {
        insert_all(b, jobs(2)).await;
        let leases = claim(b, w, 2).await;
        let before = get(b, leases[1].key.job).await;
        settled(b, leases[0].key, outcome).await;
        assert_eq!(get(b, leases[1].key.job).await, before, "the other job of the claim runs on");
        complete(b, &leases[1]).await;
        change_one(b, leases[0].key.job, crate::Change::Delete).await;
    }
}

pub async fn settle_of_an_unknown_job_is_lost<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    let wrong = LeaseKey { job: JobId::new(), ..lease.key };
    settles_nothing(b, lease.key.job, wrong).await;
}

/// The claim id of a job that runs, with the epoch of its own, names another job: no part may be looked up alone.
pub async fn f01_settle_with_the_claim_of_another_job_is_lost<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let one = run_new(b, w, job()).await;
    let two = run_new(b, w, job()).await;
    let wrong = LeaseKey { job: two.key.job, ..one.key };
    settles_nothing(b, two.key.job, wrong).await;
    settles_nothing(b, one.key.job, wrong).await;
}

/// A final row carries the fence of its finisher, which must not open it again.
pub async fn f01_settle_does_not_change_a_final_job<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    for end in [completed(), discarded(), cancelled()] {
        let lease = run_new(b, w, job()).await;
        let state = settled(b, lease.key, end).await;
        let (before, past) = (get(b, lease.key.job).await, history(b, lease.key.job).await);
        for outcome in every_outcome() {
            let answer = settle(b, lease.key, outcome.clone()).await;
            assert_eq!(answer, Settled::Already { state }, "{outcome:?} of a job that is {state}");
            assert_eq!(get(b, lease.key.job).await, before, "final rows stay as they are");
        }
        assert_eq!(history(b, lease.key.job).await, past);
        assert!(claim(b, w, 9).await.is_empty(), "nothing became available again");
    }
}

/// A key whose owner gave the job back is spent, though nobody claimed the job since.
pub async fn f01_settle_after_giving_the_job_back_is_lost<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    for given_back in [retry(HOUR), snoozed(HOUR), AttemptOutcome::Released, retry(ms(0))] {
        let lease = run_new(b, w, job()).await;
        settled(b, lease.key, given_back).await;
        settles_nothing(b, lease.key.job, lease.key).await;
        assert!(change_one(b, lease.key.job, crate::Change::Delete).await);
    }
}

pub async fn f01_a_stale_holder_cannot_finish_a_newer_attempt<H: Harness>(h: H) {
    let b = &*h.backend();
    let (slow, quick) = (worker(b).await, worker(b).await);
    let stale = run_new(b, slow, job()).await;
    lose(b, slow).await;
    settles_nothing(b, stale.key.job, stale.key).await;
    let fresh = claim_one(b, quick).await;
    assert!(fresh.key.epoch > stale.key.epoch.next(), "the rescue and the claim raise the epoch");
    settles_nothing(b, stale.key.job, stale.key).await;
    complete(b, &fresh).await;
    let kept = get(b, stale.key.job).await;
    assert_eq!((kept.worker, kept.claim_id), (Some(quick), Some(fresh.key.claim_id)));
    assert_eq!(settle(b, stale.key, completed()).await, Settled::Lost, "it was not the finisher");
}

pub async fn f01_a_stale_holder_cannot_finish_a_job_that_a_user_retried<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    complete(b, &lease).await;
    assert!(change_one(b, lease.key.job, crate::Change::Retry).await);
    settles_nothing(b, lease.key.job, lease.key).await;
    let fresh = claim_one(b, w).await;
    settles_nothing(b, lease.key.job, lease.key).await;
    complete(b, &fresh).await;
}

pub async fn record_with_a_wrong_epoch_is_lost<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    for wrong in stale_epochs(lease.key) {
        records_nothing(b, lease.key.job, wrong).await;
    }
    assert_eq!(record(b, lease.key).await, Recorded::Applied);
}

pub async fn record_with_a_wrong_claim_id_is_lost<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    let wrong = LeaseKey { claim_id: ClaimId::new(), ..lease.key };
    records_nothing(b, lease.key.job, wrong).await;
}

pub async fn record_of_another_or_unknown_job_is_lost<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let one = run_new(b, w, job()).await;
    let two = run_new(b, w, job()).await;
    for id in [two.key.job, JobId::new()] {
        let wrong = LeaseKey { job: id, ..one.key };
        records_nothing(b, one.key.job, wrong).await;
        records_nothing(b, two.key.job, wrong).await;
    }
}

pub async fn record_after_the_end_is_lost<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    for outcome in every_outcome() {
        let lease = run_new(b, w, job()).await;
        settled(b, lease.key, outcome).await;
        records_nothing(b, lease.key.job, lease.key).await;
        assert!(change_one(b, lease.key.job, crate::Change::Delete).await);
    }
}

pub async fn record_of_a_stale_holder_is_lost<H: Harness>(h: H) {
    let b = &*h.backend();
    let (slow, quick) = (worker(b).await, worker(b).await);
    let stale = run_new(b, slow, job()).await;
    lose(b, slow).await;
    records_nothing(b, stale.key.job, stale.key).await;
    let fresh = claim_one(b, quick).await;
    records_nothing(b, stale.key.job, stale.key).await;
    assert_eq!(record(b, fresh.key).await, Recorded::Applied);
}

pub async fn heartbeat_reports_keys_with_a_wrong_part_as_lost<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    let claim_id = LeaseKey { claim_id: ClaimId::new(), ..lease.key };
    let unknown = LeaseKey { job: JobId::new(), ..lease.key };
    let [below, above] = stale_epochs(lease.key);
    for wrong in [below, above, claim_id, unknown] {
        let (lost, _, _) = beat(b, w, &[lease.key, wrong]).await;
        assert_eq!(lost, [wrong], "only the wrong key is lost");
    }
}

pub async fn heartbeat_reports_ended_attempts_as_lost<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    for outcome in every_outcome() {
        let lease = run_new(b, w, job()).await;
        settled(b, lease.key, outcome.clone()).await;
        let (lost, cancel, orphaned) = beat(b, w, &[lease.key]).await;
        assert_eq!(lost, [lease.key], "after {outcome:?} the job runs no more");
        assert!(cancel.is_empty() && orphaned.is_empty());
        assert!(change_one(b, lease.key.job, crate::Change::Delete).await);
    }
}

/// A batch in which some keys are wrong applies exactly the right ones.
pub async fn lost_settlements_do_not_keep_others_of_the_batch<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    insert_all(b, jobs(6)).await;
    let leases = claim(b, w, 6).await;
    let batch: Vec<_> = leases
        .iter()
        .enumerate()
        .map(|(n, lease)| {
            let claim_id = if n % 2 == 0 { lease.key.claim_id } else { ClaimId::new() };
            Settlement::new(LeaseKey { claim_id, ..lease.key }, completed())
        })
        .collect();
    let answers = b.settle(&batch).await.unwrap();
    for (n, (answer, lease)) in answers.iter().zip(&leases).enumerate() {
        let (wanted, left) = if n % 2 == 0 {
            (Settled::Applied { state: State::Completed }, State::Completed)
        } else {
            (Settled::Lost, State::Running)
        };
        assert_eq!(*answer, wanted);
        assert_eq!(state(b, lease.key.job).await, left);
    }
}

/// The unique key, too, is freed only by who owns the job.
pub async fn a_lost_settlement_frees_no_unique_key<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, unique_job("a")).await;
    for wrong in stale_epochs(lease.key) {
        assert_eq!(settle(b, wrong, completed()).await, Settled::Lost);
    }
    let other: NewJob = unique_job("a");
    let answer = b.insert(&[other]).await.unwrap();
    assert_eq!(answer, [Inserted::Duplicate { existing: lease.key.job }]);
}
