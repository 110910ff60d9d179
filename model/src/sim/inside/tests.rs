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

/// Checks that saw a job inserted and claimed.
struct Scene {
    inside: Inside,
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
        let mut scene = Self { inside: Inside::default(), worker, lease, request };
        scene.inside.sent(&[new_job()]);
        scene.inside.leased(worker, at(10));
        scene.step("insert", None, State::Available, 0, Cause::Inserted);
        scene.step("claim", Some(State::Available), State::Running, 1, Cause::Claimed);
        scene.inside.claimed(&scene.request, std::slice::from_ref(&scene.lease));
        scene.inside.step_over("claim");
        scene.is_good();
        scene
    }

    fn step(&mut self, step: &str, from: Option<State>, to: State, attempt: u32, cause: Cause) {
        let event = change(from, to, attempt, cause, self.worker);
        self.inside.events(step, &[event]);
    }

    fn complete(&mut self, run: u64) {
        self.step("settle", Some(State::Running), State::Completed, 1, Cause::Settled);
        let result = Some(Payload::json(&run).unwrap());
        let outcome = AttemptOutcome::Completed { result, blobs: Vec::new() };
        let settlement = Settlement::new(self.lease.key, outcome);
        self.inside.settled(&[settlement], &[Settled::Applied { state: State::Completed }]);
        self.inside.step_over("settle");
    }

    fn run(&mut self, run: u64) {
        self.inside.run_begins(run, self.lease.key);
    }

    fn is_good(&self) {
        assert!(self.inside.broken.is_empty(), "{:?}", self.inside.broken);
    }

    fn is_red(&self, words: &str) {
        let broken = &self.inside.broken;
        assert!(broken.iter().any(|text| text.contains(words)), "{broken:?}");
    }
}

#[test]
fn a_good_life_breaks_no_rule() {
    let mut scene = Scene::new();
    scene.run(1);
    scene.inside.run_ends_well(1);
    scene.complete(1);
    scene.is_good();
}

#[test]
fn a_change_by_a_call_that_may_not_make_it() {
    let mut scene = Scene::new();
    scene.step("settle", Some(State::Running), State::Available, 1, Cause::Changed);
    scene.is_red("settle made it");
}

#[test]
fn a_rescue_by_a_call_that_wants_no_key_of_the_job() {
    let rescued_by_insert = |unique| {
        let mut scene = Scene::new();
        let mut job = new_job();
        job.unique = unique;
        scene.inside.sent(&[job]);
        scene.step("insert", Some(State::Running), State::Available, 1, Cause::Rescued);
        scene.inside.broken.iter().any(|text| text.contains("insert made it"))
    };
    assert!(rescued_by_insert(None), "it holds nothing that a new job could want");
    let key = windlass_core::UniqueKey::new("a").unwrap();
    let unique = Unique { key, until: Default::default(), on_conflict: Default::default() };
    assert!(!rescued_by_insert(Some(unique)));
}

#[test]
fn a_change_that_nobody_is_told_of() {
    let mut scene = Scene::new();
    scene.step("claim", Some(State::Available), State::Running, 2, Cause::Claimed);
    scene.inside.step_over("claim");
    scene.is_red("without an answer that says so");
}

#[test]
fn a_finish_under_a_key_that_holds_nothing_at_that_moment() {
    let mut scene = Scene::new();
    scene.run(1);
    scene.inside.run_ends_well(1);
    scene.complete(1);
    scene.complete(1);
    scene.is_red("a stale finish was accepted");
}

#[test]
fn nothing_is_told_where_only_outsiders_count() {
    let mut scene = Scene::new();
    scene.inside.silent = true;
    scene.complete(1);
    scene.is_good();
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
    scene.inside.run_begins(1, other);
    scene.inside.run_ends_well(1);
    scene.complete(1);
    scene.is_red("completed with the result of");
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
    scene.inside.claimed(&scene.request, &[lease]);
    scene.is_red("given to a claim that doesn't hold it");
}

#[test]
fn a_record_under_another_key() {
    let mut scene = Scene::new();
    let mut key = scene.lease.key;
    key.epoch = windlass_core::Epoch(9);
    scene.inside.recorded(&[Record::new(key, Vec::new())], &[Recorded::Applied]);
    scene.is_red("a stale record was accepted");
}
