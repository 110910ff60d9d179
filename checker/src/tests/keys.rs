//! Unique keys.

use super::*;

fn held(story: &mut Story, until: Until) -> JobId {
    let job = story.sent("unique", Some(Held { key: "k".to_owned(), until }));
    story.then("producer", What::Acked { job, answer: Answer::New });
    job
}

#[test]
fn a_key_with_two_holders_is_red() {
    for until in [Until::Finished, Until::Started, Until::For(60_000)] {
        let mut story = Story::new();
        let worker = story.worker("one");
        let first = held(&mut story, until);
        let second = held(&mut story, until);
        story.complete(worker, first, "unique");
        story.complete(worker, second, "unique");
        story.breaks(&[Rule::OneHolder]);
    }
}

#[test]
fn a_key_that_is_taken_when_it_is_free_breaks_nothing() {
    for until in [Until::Finished, Until::Started, Until::For(1)] {
        let mut story = Story::new();
        let worker = story.worker("one");
        let first = held(&mut story, until);
        story.complete(worker, first, "unique");
        let second = held(&mut story, until);
        story.complete(worker, second, "unique");
        story.breaks(&[]);
    }
}

#[test]
fn an_insert_that_was_refused_and_is_there_is_red() {
    let mut story = Story::new();
    let worker = story.worker("one");
    let first = held(&mut story, Until::Finished);
    let rule = Held { key: "k".to_owned(), until: Until::Finished };
    let job = story.sent("unique", Some(rule));
    story.then("producer", What::Acked { job, answer: Answer::Rejected(first) });
    story.complete(worker, first, "unique");
    story.complete(worker, job, "unique");
    story.breaks(&[Rule::NothingUnexpected]);
    // A sending before it failed, and may have been applied after this answer.
    let answered = |e: &Entry| matches!(e.what, What::Acked { answer: Answer::Rejected(_), .. });
    let at = story.evidence.entries.iter().position(answered);
    let entry = &story.evidence.entries[at.unwrap()];
    let what = What::Failed { job, error: "lost".to_owned() };
    let failed = Entry { what, ..entry.clone() };
    story.evidence.entries.insert(at.unwrap(), failed);
    story.breaks(&[]);
}

#[test]
fn a_rule_that_was_replaced_is_not_known_though_nobody_heard_of_it() {
    for (replaced, broken) in [(false, vec![Rule::OneHolder]), (true, vec![])] {
        let mut story = Story::new();
        let worker = story.worker("one");
        let first = held(&mut story, Until::For(60_000));
        let second = held(&mut story, Until::Finished);
        story.complete(worker, first, "unique");
        story.complete(worker, second, "unique");
        if replaced {
            let state = Some(State::Available);
            let step = step(state, State::Available, 0, Cause::Replaced, worker);
            story.evidence.jobs[0].changes.insert(1, step);
        }
        story.breaks(&broken);
    }
}
