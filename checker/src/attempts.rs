//! Histories follow the state machine; attempts are claims, less snoozes and releases; final states stay.

use windlass_core::{Cause, State, machine};

use super::trace::{Claim, Settlement};
use super::{Change, Evidence, FinalJob, Findings, Rule, Traces};
use crate::history::Verdict;

pub(super) fn check(evidence: &Evidence, traces: &Traces<'_>, findings: &mut Findings) {
    for job in &evidence.jobs {
        let retries = traces.jobs.get(&job.id).map_or(0, |trace| trace.retries.len());
        steps(job, retries, findings);
        if !traces.touched(job.id) {
            heard(job, traces, findings);
            cancelled(job, traces, findings);
        }
    }
}

fn steps(job: &FinalJob, retries: usize, findings: &mut Findings) {
    let (mut state, mut attempt, mut revived, mut epochs) = (None, 0, 0, 0);
    // Those that are on record as such, and those that may have been releases: without a delay they look the same.
    let (mut snoozes, mut at_once) = (0, 0);
    for change in &job.changes {
        if let Some(text) = misstep(state, change) {
            findings.add(Rule::StatesFollow, Some(job.id), text);
        }
        if state.is_some_and(State::is_final) {
            revived += 1;
            (snoozes, at_once) = (0, 0);
        }
        attempt = attempts_after(attempt, change);
        snoozes += u32::from(gives_back(change) && change.to == State::Scheduled);
        at_once += u32::from(gives_back(change) && change.to == State::Available);
        epochs += u32::from(matches!(change.cause, Cause::Claimed | Cause::Rescued));
        if change.attempt != attempt {
            let text = format!(
                "{attempt} claims count, less snoozes and releases, and the history has {} at {:?}",
                change.attempt, change.cause
            );
            findings.add(Rule::AttemptsAreClaims, Some(job.id), text);
            attempt = change.attempt;
        }
        state = Some(change.to);
    }
    if state != Some(job.state) {
        let text = format!("its history ends with {state:?}, and its record says {}", job.state);
        findings.add(Rule::StatesFollow, Some(job.id), text);
    }
    if revived > retries {
        findings.add(Rule::StatesFollow, Some(job.id), "it left a final state, and nobody asked");
    }
    let snoozed = (snoozes..=snoozes + at_once).contains(&job.snoozes);
    if attempt != job.attempt || !snoozed {
        let text = format!(
            "attempts and snoozes by its history: {attempt}, {snoozes}; by its record: {}, {}",
            job.attempt, job.snoozes
        );
        findings.add(Rule::AttemptsAreClaims, Some(job.id), text);
    }
    if epochs != job.epoch {
        let text = format!(
            "{epochs} claims and rescues, each with an epoch, and the last is {}",
            job.epoch
        );
        findings.add(Rule::AttemptsAreClaims, Some(job.id), text);
    }
}

/// Why this step can't follow the state before.
fn misstep(state: Option<State>, change: &Change) -> Option<String> {
    if change.from != state {
        return Some(format!("it was {state:?}, and the next step begins with {:?}", change.from));
    }
    let Some(from) = state else {
        return (change.cause != Cause::Inserted).then(|| "its history has no insert".to_owned());
    };
    let owner = match change.cause {
        Cause::Claimed => from == State::Available && change.to == State::Running,
        Cause::Settled | Cause::Rescued => from == State::Running,
        Cause::Inserted => false,
        Cause::Promoted | Cause::Replaced => from != State::Running && !from.is_final(),
        _ => from != State::Running || change.to == State::Running,
    };
    let allowed = from == change.to || machine::can_become(from, change.to);
    (!owner || !allowed).then(|| format!("{from} became {} by {:?}", change.to, change.cause))
}

fn attempts_after(attempt: u32, change: &Change) -> u32 {
    match change.cause {
        Cause::Claimed => attempt + 1,
        _ if gives_back(change) => attempt.saturating_sub(1),
        _ => attempt,
    }
}

/// A snooze or a release: only these lead on without a failure, or to a cancellation without one.
fn gives_back(change: &Change) -> bool {
    change.cause == Cause::Settled && change.failure.is_none() && change.to != State::Completed
}

/// Nobody claims what was cancelled, unless an operator has it run again.
fn cancelled(job: &FinalJob, traces: &Traces<'_>, findings: &mut Findings) {
    let Some(trace) = traces.jobs.get(&job.id).filter(|trace| trace.retries.is_empty()) else {
        return;
    };
    let answered = trace.cancelled.iter().copied().min();
    if answered.is_some_and(|t| trace.claims.iter().any(|claim| claim.sent > t)) {
        let text = "it was claimed after its cancellation was answered";
        findings.add(Rule::StatesFollow, Some(job.id), text);
    }
}

/// What is on record of an epoch that began with a claim: that, and the settlement, if there is one.
struct Attempt<'a> {
    epoch: u32,
    claimed: &'a Change,
    settled: Option<&'a Change>,
}

/// The attempts on record. `None` if they can't be told, since the epochs of the history are not those of the record.
fn attempts(job: &FinalJob) -> Option<Vec<Attempt<'_>>> {
    let (mut epoch, mut attempts): (_, Vec<Attempt<'_>>) = (0, Vec::new());
    for change in &job.changes {
        match change.cause {
            Cause::Claimed => {
                epoch += 1;
                attempts.push(Attempt { epoch, claimed: change, settled: None });
            }
            Cause::Rescued => epoch += 1,
            Cause::Settled => {
                // What is settled without a claim, or twice, follows no state machine.
                let last = attempts.last_mut().filter(|last| last.epoch == epoch);
                last?.settled.get_or_insert(change);
            }
            _ => {}
        }
    }
    (epoch == job.epoch).then_some(attempts)
}

/// What workers heard of is in the history, each in its epoch, and what is settled there its holder has sent.
fn heard(job: &FinalJob, traces: &Traces<'_>, findings: &mut Findings) {
    let Some(trace) = traces.jobs.get(&job.id) else { return };
    for (n, claim) in trace.claims.iter().enumerate() {
        if trace.claims[..n].iter().any(|other| other.key.epoch == claim.key.epoch) {
            let text = format!("two claims were given epoch {}", claim.key.epoch.0);
            findings.add(Rule::AttemptsAreClaims, Some(job.id), text);
        }
    }
    // If they can't be told, that is found already.
    let Some(attempts) = attempts(job) else { return };
    let of_epoch = |epoch: u32| attempts.iter().find(|attempt| attempt.epoch == epoch);
    for claim in &trace.claims {
        let on_record = of_epoch(claim.key.epoch.0).map(|attempt| attempt.claimed);
        if let Some(text) = other_claim(claim, on_record) {
            findings.add(Rule::AttemptsAreClaims, Some(job.id), text);
        }
    }
    for one in trace.settlements.iter() {
        let Some(Verdict::Applied(state)) = one.verdict else { continue };
        let on_record = of_epoch(one.key.epoch.0).and_then(|attempt| attempt.settled);
        if let Some((rule, text)) = other_settlement(one, state, on_record) {
            findings.add(rule, Some(job.id), text);
        }
    }
    for Attempt { epoch, .. } in attempts.iter().filter(|attempt| attempt.settled.is_some()) {
        if !trace.settlements.iter().any(|one| one.key.epoch.0 == *epoch) {
            let text = format!("epoch {epoch} was settled, and its holder has sent nothing");
            findings.add(Rule::NoStaleFinish, Some(job.id), text);
        }
    }
}

/// Why a claim is not the one on record in its epoch.
fn other_claim(heard: &Claim, on_record: Option<&Change>) -> Option<String> {
    let epoch = heard.key.epoch.0;
    let Some(step) = on_record else {
        return Some(format!("a worker heard of a claim in epoch {epoch}, its history has none"));
    };
    if step.worker != Some(heard.worker) {
        let (of, has) = (heard.worker, step.worker);
        return Some(format!("{of} heard of the claim in epoch {epoch}, its history has {has:?}"));
    }
    (step.attempt != heard.attempt).then(|| {
        let (told, has) = (heard.attempt, step.attempt);
        format!("the worker of epoch {epoch} was told attempt {told}, and the history has {has}")
    })
}

/// Why a settlement that was accepted is not the one on record in its epoch.
fn other_settlement(
    heard: &Settlement,
    state: State,
    on_record: Option<&Change>,
) -> Option<(Rule, String)> {
    let (epoch, ending) = (heard.key.epoch.0, heard.ending);
    let Some(step) = on_record else {
        let text = format!("the {ending:?} of epoch {epoch} was accepted, its history has none");
        return Some((Rule::OneFinish, text));
    };
    if step.to != state {
        let text = format!("epoch {epoch} was told {state}, and its history has {}", step.to);
        return Some((Rule::OneFinish, text));
    }
    (ending.gives_back() != gives_back(step)).then(|| {
        let text = format!("the {ending:?} of epoch {epoch} stands in its history as another end");
        (Rule::AttemptsAreClaims, text)
    })
}
