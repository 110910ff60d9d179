//! Each rule turns red by itself, for what no mistake behind the store's traits can bring about.

use jiff::Timestamp;
use windlass_core::{JobFilter, MemoryBackend, Payload, Position, Settlement, Store};

use super::*;

const JOB: u128 = 7;

fn id() -> JobId {
    JobId::from_uuid(uuid::Uuid::from_u128(JOB))
}

fn new_job() -> NewJob {
    let args = Payload::json(&1).unwrap();
    let mut job = NewJob::new("k".parse().unwrap(), "q".parse().unwrap(), args);
    job.id = id();
    job
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn change(from: Option<State>, to: State, attempt: u32, cause: Cause, worker: WorkerId) -> Event {
    Event {
        position: Position { seq: 1, job: id() },
        at: at(0),
        job: id(),
        kind: "k".parse().unwrap(),
        queue: "q".parse().unwrap(),
        body: EventBody::State { from, to, attempt, cause, worker: Some(worker), error: None },
    }
}

/// A checker that saw a job inserted and claimed.
struct Scene {
    checker: Checker,
    worker: WorkerId,
    lease: Lease,
    request: ClaimRequest,
}

impl Scene {
    fn new() -> Self {
        let worker = WorkerId::new();
        let memory = MemoryBackend::new();
        let record = futures_util::FutureExt::now_or_never(async {
            memory.insert(&[new_job()]).await.unwrap();
            memory.list(&JobFilter::default().into()).await.unwrap().items.remove(0)
        });
        let request = ClaimRequest::new(worker, Vec::new(), Vec::new());
        let key =
            LeaseKey { job: id(), epoch: windlass_core::Epoch(1), claim_id: request.claim_id };
        let lease = Lease::of(&record.unwrap(), key);
        let mut scene = Self { checker: Checker::default(), worker, lease, request };
        scene.checker.sent(&[new_job()]);
        scene.checker.leased(worker, at(10));
        scene.step("insert", None, State::Available, 0, Cause::Inserted);
        scene.step("claim", Some(State::Available), State::Running, 1, Cause::Claimed);
        scene.checker.claimed(&scene.request, std::slice::from_ref(&scene.lease));
        scene.checker.step_over("claim");
        scene.is_good();
        scene
    }

    fn step(&mut self, step: &str, from: Option<State>, to: State, attempt: u32, cause: Cause) {
        let event = change(from, to, attempt, cause, self.worker);
        self.checker.events(step, &[event]);
    }

    fn complete(&mut self, run: u64) {
        self.step("settle", Some(State::Running), State::Completed, 1, Cause::Settled);
        let result = Some(Payload::json(&run).unwrap());
        let outcome = AttemptOutcome::Completed { result, blobs: Vec::new() };
        let settlement = Settlement::new(self.lease.key, outcome);
        self.checker.settled(&[settlement], &[Settled::Applied { state: State::Completed }]);
        self.checker.step_over("settle");
    }

    fn run(&mut self, run: u64) {
        self.checker.run_begins(run, id(), Some(self.lease.key));
    }

    fn is_good(&self) {
        assert!(self.checker.broken.is_empty(), "{:?}", self.checker.broken);
    }

    fn is_red(&self, words: &str) {
        let broken = &self.checker.broken;
        assert!(broken.iter().any(|text| text.contains(words)), "{broken:?}");
    }
}

#[test]
fn a_good_life_breaks_no_rule() {
    let mut scene = Scene::new();
    scene.run(1);
    scene.checker.run_ends(1, true);
    scene.complete(1);
    scene.is_good();
}

#[test]
fn a_job_that_nobody_sent() {
    let mut scene = Scene::new();
    scene.checker.sent.clear();
    scene.step("insert", None, State::Available, 0, Cause::Inserted);
    scene.is_red("nobody sent it");
}

#[test]
fn a_final_state_that_changes() {
    let mut scene = Scene::new();
    scene.run(1);
    scene.checker.run_ends(1, true);
    scene.complete(1);
    scene.step("maintain", Some(State::Completed), State::Available, 1, Cause::Promoted);
    scene.is_red("a final state changed");
}

#[test]
fn a_claim_that_finishes_twice() {
    let mut scene = Scene::new();
    scene.run(1);
    scene.checker.run_ends(1, true);
    scene.complete(1);
    scene.complete(1);
    scene.is_red("finished twice");
}

#[test]
fn a_result_of_a_run_that_did_not_return() {
    let mut scene = Scene::new();
    scene.run(1);
    scene.complete(1);
    scene.is_red("completed with the result of");
}

#[test]
fn a_result_of_another_claim() {
    let mut scene = Scene::new();
    let mut other = scene.lease.key;
    other.epoch = windlass_core::Epoch(9);
    scene.checker.issued.insert(other);
    scene.checker.run_begins(1, id(), Some(other));
    scene.checker.run_ends(1, true);
    scene.complete(1);
    scene.is_red("completed with the result of");
}

#[test]
fn two_runs_of_one_claim() {
    let mut scene = Scene::new();
    scene.run(1);
    scene.run(2);
    scene.is_red("runs twice");
}

#[test]
fn a_run_without_a_claim() {
    let mut scene = Scene::new();
    scene.checker.run_begins(1, id(), None);
    scene.is_red("runs without a claim");
}

#[test]
fn runs_at_once_though_nobody_lost_the_job() {
    let mut scene = Scene::new();
    scene.run(1);
    let mut other = scene.lease.key;
    other.epoch = windlass_core::Epoch(9);
    scene.checker.issued.insert(other);
    scene.checker.run_begins(2, id(), Some(other));
    scene.is_red("runs twice at once");
}

#[test]
fn a_rescue_from_a_worker_in_its_lease() {
    let mut scene = Scene::new();
    scene.step("maintain", Some(State::Running), State::Available, 1, Cause::Rescued);
    scene.is_red("in its lease and in time");
}

#[test]
fn a_lease_given_to_another_claim() {
    let mut scene = Scene::new();
    let mut lease = scene.lease.clone();
    lease.key.claim_id = windlass_core::ClaimId::new();
    scene.checker.claimed(&scene.request, &[lease]);
    scene.is_red("given to a claim that doesn't hold it");
}

#[test]
fn a_record_under_another_key() {
    let mut scene = Scene::new();
    let mut key = scene.lease.key;
    key.epoch = windlass_core::Epoch(9);
    scene.checker.recorded(&[Record::new(key, Vec::new())], &[Recorded::Applied]);
    scene.is_red("a stale record was accepted");
}

#[test]
fn more_jobs_at_once_than_allowed() {
    let mut scene = Scene::new();
    scene.checker.too_many("main", 5, 4);
    scene.is_red("5 jobs of main at once");
}
