//! A good history, and for each rule what makes it red: nothing else does.

use windlass_core::{Cause, ClaimId, Epoch, FailureKind, JobId, LeaseKey, State, WorkerId};

use super::{
    Change, Committed, Evidence, FinalJob, Findings, Limit, Promises, Rule, Told, UndoneBy, check,
};
use crate::history::{Answer, Ending, Entry, Held, Moment, Slots, Taken, Until, Verdict, What};

mod claims;
mod conflicts;
mod heard;
mod keys;
mod recovery;
mod undone;
mod workers;

const SECOND: u64 = 1_000_000;

/// A history in the making.
struct Story {
    evidence: Evidence,
    t: u64,
}

fn limit(name: &str, of_kind: bool, built: u32, set: Option<u32>) -> Limit {
    Limit { name: name.to_owned(), of_kind, built, set }
}

#[derive(Clone, Copy)]
struct Worker(&'static str, WorkerId);

impl Story {
    fn new() -> Self {
        let promises = Promises {
            undone_by: UndoneBy::Nothing,
            inserts: true,
            one_writer: false,
            transactional: true,
            busy: true,
            lease: 3 * SECOND,
            recovery: 5 * SECOND,
            call: SECOND,
        };
        let mut evidence = Evidence::new(Vec::new(), Vec::new(), promises);
        evidence.limits = vec![
            limit("default", false, 12, None),
            limit("limited", false, 4, Some(2)),
            limit("narrow", true, 1, None),
        ];
        Self { evidence, t: SECOND }
    }

    /// Something happens a millisecond later.
    fn then(&mut self, process: &str, what: What) -> &mut Self {
        self.t += 1_000;
        self.evidence.entries.push(Entry { t: self.t, process: process.to_owned(), what });
        self
    }

    fn wait(&mut self, micros: u64) -> &mut Self {
        self.t += micros;
        self
    }

    fn worker(&mut self, name: &'static str) -> Worker {
        let worker = WorkerId::new();
        self.then("conductor", What::Born { name: name.to_owned(), second: false });
        let sent = self.t;
        self.then(name, What::Registered { worker, sent });
        Worker(name, worker)
    }

    fn beat(&mut self, worker: Worker) {
        let sent = self.t;
        let beat = What::Beat { worker: worker.1, sent, expired: false, lost: Vec::new() };
        self.then(worker.0, beat);
    }

    fn sent(&mut self, kind: &str, unique: Option<Held>) -> JobId {
        let (job, kind, queue) = (JobId::new(), kind.to_owned(), "default".to_owned());
        self.then("producer", What::Sent { job, kind, queue, unique, delay: 0, with_row: false });
        job
    }

    fn enqueue(&mut self, kind: &str) -> JobId {
        let job = self.sent(kind, None);
        self.then("producer", What::Acked { job, answer: Answer::New });
        job
    }

    fn claim(&mut self, worker: Worker, job: JobId, epoch: u32, attempt: u32) -> LeaseKey {
        let claim = ClaimId::new();
        let key = LeaseKey { job, epoch: Epoch(epoch), claim_id: claim };
        let (queue, most) = ("default".to_owned(), 1);
        let slots = vec![Slots { name: queue.clone(), of_kind: false, most }];
        self.then(worker.0, What::Claiming { worker: worker.1, claim, resend: false, slots });
        let leases = vec![Taken { key, attempt, kind: "plain".to_owned(), queue, timeout: None }];
        self.then(worker.0, What::Claimed { worker: worker.1, claim, leases });
        key
    }

    /// Which attempt the claim of a key gave.
    fn attempt(&self, key: LeaseKey) -> u32 {
        let mut leases = self.evidence.entries.iter().filter_map(|entry| match &entry.what {
            What::Claimed { leases, .. } => Some(leases),
            _ => None,
        });
        let taken = leases.find_map(|leases| leases.iter().find(|taken| taken.key == key));
        taken.unwrap().attempt
    }

    fn begin(&mut self, worker: Worker, key: LeaseKey, kind: &str) {
        let (kind, queue, attempt) = (kind.to_owned(), "default".to_owned(), self.attempt(key));
        self.then(worker.0, What::Begun { key, kind, queue, attempt });
    }

    fn end(&mut self, worker: Worker, key: LeaseKey) {
        self.then(worker.0, What::Ended { key, dropped: false });
    }

    fn settle(&mut self, worker: Worker, key: LeaseKey, ending: Ending, verdict: Verdict) {
        self.then(worker.0, What::Settling { key, ending, in_host: false });
        self.then(worker.0, What::Settled { key, ending, verdict, in_host: false });
    }

    /// A job that was claimed, run and completed.
    fn complete(&mut self, worker: Worker, job: JobId, kind: &str) -> LeaseKey {
        let key = self.claim(worker, job, 1, 1);
        self.begin(worker, key, kind);
        self.end(worker, key);
        self.settle(worker, key, Ending::Completed, Verdict::Applied(State::Completed));
        self.store(key, kind, completed(worker));
        key
    }

    fn store(&mut self, key: LeaseKey, kind: &str, changes: Vec<Change>) {
        let last = changes.last().unwrap();
        self.evidence.jobs.push(FinalJob {
            id: key.job,
            kind: kind.to_owned(),
            state: last.to,
            attempt: last.attempt,
            snoozes: 0,
            epoch: key.epoch.0,
            claim: Some(key.claim_id),
            unique: None,
            changes,
        });
    }

    fn effect(&mut self, key: LeaseKey) {
        let effect = Committed { job: key.job, epoch: key.epoch.0, claim: key.claim_id };
        self.evidence.effects.push(effect);
    }

    fn fault(&mut self, kind: &str, victim: Worker) {
        let (kind, name) = (kind.to_owned(), victim.0.to_owned());
        self.then("conductor", What::Fault { number: 1, kind, victim: Some(name) });
        self.then("conductor", What::Died { name: victim.0.to_owned() });
        self.then("conductor", What::Healed { number: 1, count: 1 });
    }

    fn check(&mut self) -> Findings {
        self.wait(SECOND).then("conductor", What::Memory { name: "one".to_owned(), bytes: 1 });
        check(&self.evidence)
    }

    /// These rules are broken, and no others.
    fn breaks(&mut self, rules: &[Rule]) -> Findings {
        let findings = self.check();
        let broken: Vec<_> = findings.broken.keys().copied().collect();
        assert_eq!(broken, rules, "{:#?}", findings.violations);
        findings
    }
}

fn step(from: Option<State>, to: State, attempt: u32, cause: Cause, worker: Worker) -> Change {
    Change { from, to, attempt, cause, worker: Some(worker.1), failure: None }
}

fn inserted(worker: Worker) -> Change {
    step(None, State::Available, 0, Cause::Inserted, worker)
}

fn claimed(attempt: u32, worker: Worker) -> Change {
    step(Some(State::Available), State::Running, attempt, Cause::Claimed, worker)
}

fn finished(attempt: u32, worker: Worker) -> Change {
    step(Some(State::Running), State::Completed, attempt, Cause::Settled, worker)
}

fn rescued(attempt: u32, worker: Worker) -> Change {
    let failure = Some(FailureKind::Crash);
    let step = step(Some(State::Running), State::Available, attempt, Cause::Rescued, worker);
    Change { failure, ..step }
}

fn completed(worker: Worker) -> Vec<Change> {
    vec![inserted(worker), claimed(1, worker), finished(1, worker)]
}

/// A worker is lost with a job, which another takes up; the first is refused when it comes back.
fn rescue(story: &mut Story) -> (Worker, LeaseKey, Worker, LeaseKey) {
    let (one, two) = (story.worker("one"), story.worker("two"));
    let job = story.enqueue("plain");
    let first = story.claim(one, job, 1, 1);
    story.begin(one, first, "plain");
    story.wait(3 * SECOND);
    story.beat(two);
    story.then("two", What::Rescued { jobs: vec![job] });
    let second = story.claim(two, job, 3, 2);
    story.begin(two, second, "plain");
    (one, first, two, second)
}

fn rescue_changes(one: Worker, two: Worker) -> Vec<Change> {
    vec![inserted(one), claimed(1, one), rescued(1, one), claimed(2, two), finished(2, two)]
}

#[test]
fn a_good_history_breaks_nothing() {
    let mut story = Story::new();
    let worker = story.worker("zero");
    let job = story.enqueue("plain");
    story.complete(worker, job, "plain");
    let job = story.enqueue("effect");
    let key = story.complete(worker, job, "effect");
    story.effect(key);
    let (one, first, two, second) = rescue(&mut story);
    story.end(two, second);
    story.settle(two, second, Ending::Completed, Verdict::Applied(State::Completed));
    story.end(one, first);
    story.settle(one, first, Ending::Completed, Verdict::Lost);
    story.store(second, "plain", rescue_changes(one, two));
    let figures = story.breaks(&[]).figures;
    let all = figures.all();
    assert_eq!((figures.jobs, figures.acknowledged, figures.runs, figures.overlaps), (3, 3, 4, 1));
    assert_eq!((all.stale_refused, all.stale_accepted, all.repeated), (1, 0, 1));
}

#[test]
fn a_lost_job_is_red() {
    let mut story = Story::new();
    story.enqueue("plain");
    story.breaks(&[Rule::NothingLost]);
    story.evidence.promises.inserts = false;
    assert_eq!(story.breaks(&[Rule::NothingLost]).lost_as_allowed, 0);
}

#[test]
fn a_job_that_never_ends_is_red() {
    let mut story = Story::new();
    let worker = story.worker("one");
    let job = story.enqueue("plain");
    let key = story.claim(worker, job, 1, 1);
    story.begin(worker, key, "plain");
    story.store(key, "plain", vec![inserted(worker), claimed(1, worker)]);
    story.breaks(&[Rule::NothingLost]);
}

#[test]
fn a_job_that_nobody_sent_is_red() {
    let mut story = Story::new();
    let worker = story.worker("one");
    let job = JobId::new();
    story.complete(worker, job, "plain");
    story.breaks(&[Rule::NothingUnexpected]);
}

#[test]
fn a_stale_finish_that_is_accepted_is_red() {
    let mut story = Story::new();
    let (one, first, two, second) = rescue(&mut story);
    story.end(one, first);
    story.settle(one, first, Ending::Completed, Verdict::Applied(State::Completed));
    story.end(two, second);
    story.settle(two, second, Ending::Completed, Verdict::Lost);
    story.store(first, "plain", rescue_changes(one, two));
    // And its row has the epoch of the first again.
    let findings = story.breaks(&[Rule::NoStaleFinish, Rule::AttemptsAreClaims]);
    assert_eq!(findings.figures.all().stale_accepted, 1);
}

#[test]
fn two_ends_are_red() {
    let mut story = Story::new();
    let (one, first, two, second) = rescue(&mut story);
    story.end(one, first);
    story.settle(one, first, Ending::Completed, Verdict::Applied(State::Completed));
    story.end(two, second);
    story.settle(two, second, Ending::Completed, Verdict::Applied(State::Completed));
    let mut changes = rescue_changes(one, two);
    changes.push(finished(2, two));
    story.store(second, "plain", changes);
    story.breaks(&[Rule::OneFinish, Rule::NoStaleFinish, Rule::StatesFollow]);
}

#[test]
fn an_end_that_is_not_on_record_is_red() {
    let mut story = Story::new();
    let worker = story.worker("one");
    let job = story.enqueue("plain");
    story.complete(worker, job, "plain");
    story.evidence.jobs[0].claim = Some(ClaimId::new());
    story.breaks(&[Rule::OneFinish]);
}

/// What is sent again under one fence is answered that it counted before, or that it is too late.
#[test]
fn an_end_that_counts_twice_is_red() {
    let mut story = Story::new();
    let worker = story.worker("one");
    let job = story.enqueue("plain");
    let key = story.complete(worker, job, "plain");
    story.settle(worker, key, Ending::Completed, Verdict::Already(State::Completed));
    story.settle(worker, key, Ending::Snoozed, Verdict::Lost);
    let figures = story.breaks(&[]).figures;
    assert_eq!((figures.repeats_refused, figures.all().stale_refused), (1, 0));
    story.settle(worker, key, Ending::Completed, Verdict::Applied(State::Completed));
    story.breaks(&[Rule::OneFinish]);
}

#[test]
fn records_of_stale_holders_that_are_refused_are_counted() {
    let mut story = Story::new();
    let (one, first, two, second) = rescue(&mut story);
    for key in [first, second] {
        story.then(one.0, What::Noting { key });
        story.then(one.0, What::Noted { key, added: false });
    }
    story.end(one, first);
    story.end(two, second);
    story.settle(two, second, Ending::Completed, Verdict::Applied(State::Completed));
    story.store(second, "plain", rescue_changes(one, two));
    let figures = story.breaks(&[]).figures;
    assert_eq!((figures.records_refused, figures.reissued), (1, 0));
    assert_eq!(figures.recovery_plain.len() as u64, figures.recoveries_plain);
}

fn one_effect(story: &mut Story) -> LeaseKey {
    let worker = story.worker("one");
    let job = story.enqueue("effect");
    story.complete(worker, job, "effect")
}

#[test]
fn effects_that_are_missing_doubled_or_of_another_attempt_are_red() {
    let mut story = Story::new();
    let key = one_effect(&mut story);
    story.breaks(&[Rule::EffectsOnce]);
    story.effect(key);
    story.breaks(&[]);
    story.effect(key);
    assert_eq!(story.breaks(&[Rule::EffectsOnce]).figures.all().doubled_effects, 1);
    story.evidence.effects = vec![Committed { job: key.job, epoch: 2, claim: key.claim_id }];
    story.breaks(&[Rule::EffectsOnce]);
}

#[test]
fn rows_and_jobs_go_together() {
    let mut story = Story::new();
    let worker = story.worker("one");
    let job = JobId::new();
    let (kind, queue) = ("plain".to_owned(), "default".to_owned());
    let sent = What::Sent { job, kind, queue, unique: None, delay: 0, with_row: true };
    story.then("producer", sent);
    story.complete(worker, job, "plain");
    story.breaks(&[Rule::RowsWithJobs]);
    story.evidence.rows = vec![job];
    assert_eq!(story.breaks(&[]).figures.rows, 1);
    story.then("producer", What::RolledBack { job });
    story.breaks(&[Rule::RowsWithJobs]);
    story.evidence.entries.pop();
    story.evidence.rows.push(JobId::new());
    story.evidence.entries.retain(|entry| !matches!(entry.what, What::RolledBack { .. }));
    story.breaks(&[Rule::RowsWithJobs]);
}

#[test]
fn follow_ups_come_with_their_parent_and_only_then() {
    let mut story = Story::new();
    let worker = story.worker("one");
    let job = story.enqueue("parent");
    let key = story.complete(worker, job, "parent");
    let child = JobId::new();
    story.then("one", What::FollowUp { key, child });
    assert_eq!(story.breaks(&[Rule::FollowUps]).figures.follow_ups, 0);
    story.complete(worker, child, "plain");
    assert_eq!(story.breaks(&[]).figures.follow_ups, 1);
    story.evidence.jobs[0].claim = Some(ClaimId::new());
    story.breaks(&[Rule::OneFinish, Rule::FollowUps]);
}

#[test]
fn attempts_that_are_not_the_claims_are_red() {
    let mut story = Story::new();
    let worker = story.worker("one");
    let job = story.enqueue("plain");
    story.complete(worker, job, "plain");
    story.evidence.jobs[0].attempt = 2;
    story.breaks(&[Rule::AttemptsAreClaims]);
}

#[test]
fn a_snooze_that_keeps_the_attempt_is_red() {
    let mut story = Story::new();
    let worker = story.worker("one");
    let job = story.enqueue("plain");
    let key = story.claim(worker, job, 1, 1);
    story.settle(worker, key, Ending::Snoozed, Verdict::Applied(State::Scheduled));
    let key = story.claim(worker, job, 2, 2);
    story.settle(worker, key, Ending::Completed, Verdict::Applied(State::Completed));
    let snooze = step(Some(State::Running), State::Scheduled, 1, Cause::Settled, worker);
    let promoted = step(Some(State::Scheduled), State::Available, 1, Cause::Promoted, worker);
    let changes = vec![
        inserted(worker),
        claimed(1, worker),
        snooze,
        promoted,
        claimed(2, worker),
        finished(2, worker),
    ];
    story.store(key, "plain", changes);
    story.evidence.jobs[0].snoozes = 1;
    assert_eq!(story.breaks(&[Rule::AttemptsAreClaims]).violations.len(), 1);
}

#[test]
fn a_claim_that_is_not_in_the_history_is_red() {
    let mut story = Story::new();
    let (one, first, two, second) = rescue(&mut story);
    story.end(one, first);
    story.end(two, second);
    story.settle(two, second, Ending::Completed, Verdict::Applied(State::Completed));
    story.store(second, "plain", completed(two));
    story.breaks(&[Rule::AttemptsAreClaims]);
}

#[test]
fn a_final_state_that_changes_is_red() {
    let mut story = Story::new();
    let worker = story.worker("one");
    let job = story.enqueue("plain");
    story.complete(worker, job, "plain");
    let second = story.claim(worker, job, 2, 2);
    story.settle(worker, second, Ending::Completed, Verdict::Applied(State::Completed));
    story.evidence.jobs.clear();
    let again = step(Some(State::Completed), State::Available, 1, Cause::Changed, worker);
    let changes = [completed(worker), vec![again, claimed(2, worker), finished(2, worker)]];
    story.store(second, "plain", changes.concat());
    // Two were told that they ended it.
    story.breaks(&[Rule::OneFinish, Rule::StatesFollow]);
    story.then("producer", What::Retrying { job });
    story.breaks(&[]);
    // Time brings back no final job.
    story.evidence.jobs[0].changes[3].cause = Cause::Promoted;
    story.breaks(&[Rule::StatesFollow]);
}

#[test]
fn a_finish_that_its_holder_has_not_sent_is_red() {
    let mut story = Story::new();
    let (one, first, two, second) = rescue(&mut story);
    story.end(one, first);
    story.end(two, second);
    story.settle(one, first, Ending::Completed, Verdict::Unknown("lost".to_owned()));
    story.store(second, "plain", rescue_changes(one, two));
    story.breaks(&[Rule::NoStaleFinish]);
    story.settle(two, second, Ending::Completed, Verdict::Unknown("lost".to_owned()));
    story.breaks(&[]);
}

#[test]
fn a_feed_that_leaves_something_out_or_says_it_twice_is_red() {
    let mut story = Story::new();
    let worker = story.worker("one");
    let job = story.enqueue("plain");
    story.complete(worker, job, "plain");
    let told: Vec<_> =
        completed(worker).into_iter().map(|change| Told { t: 0, job, change }).collect();
    story.evidence.told = Some(told.clone());
    story.breaks(&[]);
    story.evidence.told = Some(told[..2].to_vec());
    story.breaks(&[Rule::FeedComplete]);
    story.evidence.told = Some([told.clone(), told[2..].to_vec()].concat());
    story.breaks(&[Rule::FeedComplete]);
    story.evidence.told = Some(vec![told[1].clone(), told[0].clone(), told[2].clone()]);
    story.breaks(&[Rule::FeedComplete]);
}

#[test]
fn damage_is_red() {
    let mut story = Story::new();
    story.evidence.damage.push("row 7 missing from index".to_owned());
    story.breaks(&[Rule::DatabaseWhole]);
}

#[test]
fn a_feed_that_says_nothing_is_red() {
    let mut story = Story::new();
    let worker = story.worker("one");
    let job = story.enqueue("plain");
    story.complete(worker, job, "plain");
    story.evidence.told = Some(Vec::new());
    story.breaks(&[Rule::FeedComplete]);
}

#[test]
fn a_job_that_is_claimed_after_its_cancellation_was_answered_is_red() {
    for (changed, broken) in [(false, vec![]), (true, vec![Rule::StatesFollow])] {
        let mut story = Story::new();
        let worker = story.worker("one");
        let job = story.enqueue("plain");
        story.then("producer", What::Cancelling { job });
        story.then("producer", What::Changed { job, changed });
        story.complete(worker, job, "plain");
        story.breaks(&broken);
    }
}
