//! Inserts that another job stood in the way of, and the args that a replacement brings.

use super::*;

fn unique(story: &mut Story, key: &str, until: Until, answer: Answer) -> JobId {
    let job = story.sent("unique", Some(Held { key: key.to_owned(), until }));
    story.then("producer", What::Acked { job, answer });
    job
}

const ANSWERS: [fn(JobId) -> Answer; 3] = [Answer::Duplicate, Answer::Replaced, Answer::Rejected];

/// Adds the step of a replacement before the first claim.
fn replaced(story: &mut Story, worker: Worker) {
    let state = State::Available;
    let step = step(Some(state), state, 0, Cause::Replaced, worker);
    story.evidence.jobs[0].changes.insert(1, step);
}

#[test]
fn a_job_that_stood_in_the_way_and_is_not_there_is_red() {
    for answer in ANSWERS {
        let mut story = Story::new();
        unique(&mut story, "k", Until::Finished, answer(JobId::new()));
        story.breaks(&[Rule::OneHolder]);
    }
    // Unless the host removed it, or it may be undone.
    let mut story = Story::new();
    let job = unique(&mut story, "k", Until::Finished, Answer::New);
    unique(&mut story, "k", Until::Finished, Answer::Duplicate(job));
    story.then("producer", What::Removed { job });
    story.breaks(&[]);
    let mut story = Story::new();
    story.evidence.promises.undone_by = UndoneBy::KilledServer;
    unique(&mut story, "k", Until::Finished, Answer::Duplicate(JobId::new()));
    let kind = "server killed".to_owned();
    story.then("conductor", What::Fault { number: 1, kind, victim: None });
    story.then("conductor", What::Healed { number: 1, count: 0 });
    story.breaks(&[]);
}

#[test]
fn a_job_that_stood_in_the_way_and_has_another_key_is_red() {
    for (key, broken) in [("k", vec![]), ("other", vec![Rule::OneHolder])] {
        let mut story = Story::new();
        let worker = story.worker("one");
        let holder = unique(&mut story, "k", Until::Finished, Answer::New);
        unique(&mut story, key, Until::Finished, Answer::Rejected(holder));
        story.complete(worker, holder, "unique");
        story.breaks(&broken);
    }
    // And one without a key.
    let mut story = Story::new();
    let worker = story.worker("one");
    let holder = story.enqueue("plain");
    unique(&mut story, "k", Until::Finished, Answer::Duplicate(holder));
    story.complete(worker, holder, "plain");
    story.breaks(&[Rule::OneHolder]);
}

#[test]
fn a_job_that_stood_in_the_way_after_it_let_go_of_its_key_is_red() {
    for until in [Until::Finished, Until::Started, Until::For(1_000)] {
        for (wait, late) in [(500_000, true), (500_000, false), (2 * SECOND, true)] {
            let mut story = Story::new();
            let worker = story.worker("one");
            let holder = unique(&mut story, "k", until, Answer::New);
            if late {
                story.complete(worker, holder, "unique");
            }
            story.wait(wait);
            unique(&mut story, "k", until, Answer::Duplicate(holder));
            if !late {
                story.complete(worker, holder, "unique");
            }
            let by_time = matches!(until, Until::For(_));
            let free = if by_time { wait > SECOND } else { late };
            story.breaks(if free { &[Rule::OneHolder] } else { &[] });
            // One that was run again takes it anew.
            story.then("producer", What::Retrying { job: holder });
            story.breaks(&[]);
        }
    }
}

#[test]
fn an_insert_that_was_sent_before_the_key_was_free_may_hear_of_its_holder_later() {
    let mut story = Story::new();
    let worker = story.worker("one");
    let holder = unique(&mut story, "k", Until::Finished, Answer::New);
    let job = story.sent("unique", Some(Held { key: "k".to_owned(), until: Until::Finished }));
    story.complete(worker, holder, "unique");
    story.then("producer", What::Acked { job, answer: Answer::Duplicate(holder) });
    story.breaks(&[]);
}

#[test]
fn a_replacement_without_its_step_is_red() {
    let mut story = Story::new();
    let worker = story.worker("one");
    let holder = unique(&mut story, "k", Until::Finished, Answer::New);
    for _ in 0..2 {
        unique(&mut story, "k", Until::Finished, Answer::Replaced(holder));
    }
    story.complete(worker, holder, "unique");
    story.breaks(&[Rule::OneHolder]);
    replaced(&mut story, worker);
    story.breaks(&[Rule::OneHolder]);
    replaced(&mut story, worker);
    story.breaks(&[]);
}

/// A job is replaced, or not, and its handler is given the args of either.
fn given(replace: bool, of: impl Fn(JobId, JobId) -> JobId) -> Findings {
    let mut story = Story::new();
    let worker = story.worker("one");
    let holder = unique(&mut story, "k", Until::Finished, Answer::New);
    let answer = if replace { Answer::Replaced } else { Answer::Duplicate };
    let other = unique(&mut story, "k", Until::Finished, answer(holder));
    let key = story.complete(worker, holder, "unique");
    if replace {
        replaced(&mut story, worker);
    }
    let begun = story.evidence.entries.iter().position(|e| matches!(e.what, What::Begun { .. }));
    let at = begun.unwrap();
    let what = What::Args { key, of: of(holder, other) };
    let entry = Entry { what, ..story.evidence.entries[at].clone() };
    story.evidence.entries.insert(at + 1, entry);
    story.check()
}

#[test]
fn a_handler_that_is_given_the_args_of_another_job_is_red() {
    for (replace, good) in [(false, 0), (true, 1)] {
        let of: [fn(JobId, JobId) -> JobId; 3] =
            [|holder, _| holder, |_, other| other, |_, _| JobId::new()];
        for (n, of) in of.into_iter().enumerate() {
            let findings = given(replace, of);
            let broken: Vec<_> = findings.broken.keys().copied().collect();
            let wanted = if n == good { vec![] } else { vec![Rule::NothingUnexpected] };
            assert_eq!(broken, wanted, "{replace}, {n}: {:#?}", findings.violations);
        }
    }
}

#[test]
fn an_insert_whose_answer_was_lost_may_have_replaced_the_args() {
    let mut story = Story::new();
    let worker = story.worker("one");
    let holder = unique(&mut story, "k", Until::Finished, Answer::New);
    let rule = Held { key: "k".to_owned(), until: Until::Finished };
    let other = story.sent("unique", Some(rule));
    story.then("producer", What::Failed { job: other, error: "lost".to_owned() });
    let key = story.claim(worker, holder, 1, 1);
    story.begin(worker, key, "unique");
    story.then("one", What::Args { key, of: other });
    story.end(worker, key);
    story.settle(worker, key, Ending::Completed, Verdict::Applied(State::Completed));
    story.store(key, "unique", completed(worker));
    story.breaks(&[]);
}
