//! Sequences in which two backends differed once. Unlike seeds they stay what they are when the generator changes.

use windlass_model::ops::op::{Filter, Meddling, Op, Outcome, Rule, Span, Spec, Twist};

fn spec(queue: u8, unique: Option<(u8, u8, u8)>) -> Spec {
    let rule = |(key, until, on_conflict)| Rule { key, until, on_conflict };
    Spec {
        kind: 0,
        queue,
        priority: 0,
        start: Span::Zero,
        timeout: None,
        max_attempts: 1,
        unique: unique.map(rule),
        same_id: None,
        marks: 0,
    }
}

fn insert(queue: u8, unique: Option<(u8, u8, u8)>) -> Op {
    Op::Insert(vec![spec(queue, unique)])
}

/// A job under the id of an earlier one.
fn again(job: u8, unique: (u8, u8, u8)) -> Spec {
    Spec { same_id: Some(job), ..spec(0, Some(unique)) }
}

fn claim(queue: u8) -> Op {
    claim_by(0, queue)
}

fn claim_by(worker: u8, queue: u8) -> Op {
    Op::Claim { worker, queues: vec![(queue, 1)], kinds: vec![(0, None)], quarantine: false }
}

fn depth(queue: u8, depth: u64) -> Op {
    Op::Configure { queue, paused: None, concurrency: None, max_depth: Some(Some(depth)) }
}

/// A final job, and the running one that holds its key by now under a worker that has left.
fn with_lost_holder(holder: (u8, u8, u8), mut then: Vec<Op>) -> Vec<Op> {
    let mut ops = vec![
        Op::Register(Span::Far),
        Op::Register(Span::Far),
        insert(0, Some((0, 1, 0))),
        claim(0),
        Op::Settle(vec![(0, Twist::None, Outcome::Completed(Vec::new()), false)]),
        insert(0, Some(holder)),
        claim_by(1, 0),
        Op::Deregister(1),
    ];
    ops.append(&mut then);
    ops
}

fn retry(states: u8) -> Op {
    Op::ChangeSome(
        Filter { states, queue: None, kind: None, tag: None, key: None },
        Meddling::Retry,
    )
}

/// Each with what it is about.
pub(super) fn sequences() -> Vec<(&'static str, Vec<Op>)> {
    let done = |follow_ups| vec![(0, Twist::None, Outcome::Completed(follow_ups), false)];
    vec![
        (
            "notes of a pruned job in the feed",
            vec![
                insert(0, None),
                Op::Append(0),
                Op::ChangeQueue(0, Meddling::Cancel),
                Op::Prune(Span::Zero),
            ],
        ),
        (
            "a replacement beside a new job in a queue above its depth",
            vec![
                Op::Register(Span::Far),
                depth(1, 2),
                insert(0, None),
                insert(1, Some((1, 0, 0))),
                claim(0),
                Op::Settle(done(vec![spec(1, None), spec(1, None)])),
                Op::Insert(vec![spec(0, Some((1, 0, 1))), spec(1, None)]),
            ],
        ),
        (
            "a job that comes before the one which makes room for it",
            vec![
                insert(1, Some((1, 1, 0))),
                depth(1, 1),
                Op::Insert(vec![spec(1, None), spec(0, Some((1, 1, 1)))]),
            ],
        ),
        (
            "a key that another worker claimed, in a heartbeat",
            vec![
                Op::Register(Span::Far),
                Op::Register(Span::Far),
                insert(0, None),
                claim(0),
                Op::Heartbeat(1, vec![0], false),
                Op::Heartbeat(0, vec![0], false),
            ],
        ),
        (
            "a history after a replacement in another queue",
            vec![insert(0, Some((0, 1, 0))), insert(1, Some((0, 1, 1))), Op::History(0, 1)],
        ),
        (
            "a key whose holder's worker has left",
            vec![
                Op::Register(Span::Far),
                insert(0, Some((0, 2, 0))),
                claim(0),
                Op::Deregister(0),
                insert(0, Some((0, 2, 1))),
            ],
        ),
        (
            "a claim sent again after its worker has left",
            vec![
                Op::Register(Span::Far),
                insert(0, None),
                claim(0),
                Op::Deregister(0),
                Op::ClaimAgain(0),
            ],
        ),
        (
            "a job inserted anew under the id of one that was removed",
            vec![
                Op::Register(Span::Far),
                insert(0, None),
                claim(0),
                Op::Settle(vec![(0, Twist::None, Outcome::Completed(Vec::new()), true)]),
                Op::ChangeQueue(0, Meddling::Delete),
                Op::Insert(vec![Spec { same_id: Some(0), ..spec(0, None) }]),
            ],
        ),
        (
            "a job inserted anew under the id of one that was pruned with its notes",
            vec![
                insert(0, None),
                Op::Append(0),
                Op::ChangeQueue(0, Meddling::Cancel),
                Op::Prune(Span::Zero),
                Op::Insert(vec![Spec { same_id: Some(0), ..spec(0, None) }]),
            ],
        ),
        (
            "a lease that runs out under a claimed job",
            vec![
                Op::Register(Span::Far),
                Op::RegisterBriefly,
                insert(0, Some((0, 1, 0))),
                claim_by(1, 0),
                Op::Heartbeat(1, vec![], true),
                Op::Outlast,
                // Nobody has taken the job yet: it is still its own, and its worker has no lease.
                Op::Record(0, Twist::None),
                claim_by(1, 0),
                Op::Heartbeat(1, vec![], true),
                Op::RegisterAgain(1),
                Op::Maintain,
                Op::Settle(done(vec![])),
                Op::Record(0, Twist::None),
                claim(0),
                Op::Settle(done(vec![])),
                Op::Settle(vec![(1, Twist::None, Outcome::Released, false)]),
            ],
        ),
        (
            "a unique key whose holder's lease has run out",
            vec![
                Op::Register(Span::Far),
                Op::RegisterBriefly,
                insert(0, Some((0, 1, 0))),
                claim_by(1, 0),
                Op::Outlast,
                insert(0, Some((0, 1, 1))),
                Op::Maintain,
                claim(0),
            ],
        ),
        (
            "a blob that is told gone before anybody named it",
            vec![Op::Stage(1, Span::Zero), Op::BlobDeleted(1), Op::Prune(Span::Zero)],
        ),
        (
            "a blob staged twice, for longer at first",
            vec![Op::Stage(1, Span::Far), Op::Stage(1, Span::Zero), Op::Prune(Span::Zero)],
        ),
        (
            "a job whose window has passed, retried while another holds its key",
            vec![
                Op::Register(Span::Far),
                insert(0, Some((0, 2, 0))),
                Op::Pass,
                claim(0),
                insert(1, Some((0, 0, 0))),
                Op::Settle(done(Vec::new())),
                Op::ChangeSome(
                    Filter { states: 0, queue: None, kind: None, tag: None, key: None },
                    Meddling::Retry,
                ),
            ],
        ),
        (
            "an id that stands twice in a call, the second time with a key",
            vec![Op::Insert(vec![spec(0, None), again(0, (1, 0, 0))]), insert(0, Some((1, 0, 0)))],
        ),
        (
            "an id that stands twice in a call, the first time with a key that is held",
            vec![
                insert(0, Some((1, 0, 0))),
                Op::Insert(vec![spec(0, Some((1, 0, 0))), again(1, (2, 0, 0))]),
                insert(0, Some((2, 0, 0))),
            ],
        ),
        (
            "a key whose holder is given up when its worker is found lost",
            vec![
                Op::Register(Span::Far),
                insert(0, Some((0, 1, 0))),
                claim(0),
                Op::Deregister(0),
                Op::Insert(vec![spec(0, Some((0, 1, 0))), spec(0, Some((0, 1, 0)))]),
            ],
        ),
        (
            "a blob of a job that is replaced in the same call",
            vec![
                Op::Stage(0, Span::Far),
                Op::Insert(vec![
                    Spec { marks: 8, ..spec(0, Some((0, 0, 0))) },
                    spec(0, Some((0, 0, 1))),
                ]),
                Op::Prune(Span::Zero),
            ],
        ),
        (
            "a retry of a final job and of the lost holder of its key",
            with_lost_holder((0, 3, 0), vec![retry(0)]),
        ),
        (
            "a retry of all that is final, which finds a job lost",
            with_lost_holder((0, 3, 0), vec![retry(0b1110_0000)]),
        ),
        (
            "a lost holder whose key nobody wants",
            with_lost_holder(
                (0, 1, 0),
                vec![
                    Op::Change(0, Meddling::RetryUnlessCompleted),
                    Op::Insert(vec![again(0, (0, 1, 0))]),
                    Op::Insert(vec![spec(0, None), again(2, (0, 1, 0))]),
                ],
            ),
        ),
        (
            "a lost holder that is put back into a queue with room for one",
            vec![
                Op::Register(Span::Far),
                depth(0, 1),
                Op::Insert(vec![Spec { max_attempts: 2, ..spec(0, Some((0, 1, 0))) }]),
                claim(0),
                Op::Deregister(0),
                Op::Insert(vec![spec(0, Some((0, 1, 0))), spec(0, None)]),
                Op::Insert(vec![spec(1, Some((0, 1, 1))), spec(0, None), spec(0, None)]),
                Op::Insert(vec![spec(1, Some((0, 1, 1))), spec(0, None)]),
            ],
        ),
        (
            "follow-ups of two settlements of a batch",
            vec![
                Op::Register(Span::Far),
                Op::Insert(vec![spec(0, None), spec(0, None)]),
                claim(0),
                claim(0),
                Op::Settle(vec![
                    (0, Twist::None, Outcome::Completed(vec![spec(1, None)]), false),
                    (1, Twist::None, Outcome::Completed(vec![spec(1, None)]), true),
                ]),
                claim(1),
            ],
        ),
        (
            "a cancelled key in a heartbeat",
            vec![
                Op::Register(Span::Far),
                insert(0, None),
                claim(0),
                Op::ChangeQueue(0, Meddling::Cancel),
                Op::Heartbeat(0, vec![0], false),
            ],
        ),
    ]
}
