//! Names and values for what an operation is about.

use windlass_core::{
    BlobKey, ClaimRequest, JobFilter, Kind, KindSlots, Lane, LogLevel, Note, Payload, QueueName,
    QueueSlots, State, Tag, UniqueKey, WorkerId,
};

use super::op::Filter;

pub(super) fn queue(n: u8) -> QueueName {
    named(["q0", "q1"][usize::from(n)])
}

pub(super) fn kind(n: u8) -> Kind {
    named(["k0", "k1", "k2"][usize::from(n)])
}

pub(super) fn tag(n: u8) -> Tag {
    named(["t0", "t1"][usize::from(n)])
}

pub(super) fn blob(n: u8) -> BlobKey {
    BlobKey::new(format!("b{n}")).unwrap_or_else(|_| unreachable!("a good key"))
}

pub(super) fn key(n: u8) -> UniqueKey {
    UniqueKey::new(format!("u{n}")).unwrap_or_else(|_| unreachable!("a good key"))
}

pub(super) fn filter(some: &Filter) -> JobFilter {
    let states = (0..8u8)
        .filter(|n| some.states & (1 << n) != 0)
        .filter_map(|n| State::ALL.get(usize::from(n)).copied());
    let mut filter = JobFilter::default().states(states);
    filter.queues.extend(some.queue.map(queue));
    filter.kinds.extend(some.kind.map(kind));
    filter.tags.extend(some.tag.map(tag));
    filter.unique_key = some.key.map(key);
    filter
}

fn named<T: std::str::FromStr>(name: &str) -> T {
    name.parse().unwrap_or_else(|_| unreachable!("a good name"))
}

pub(super) fn payload(value: &impl serde::Serialize) -> Payload {
    Payload::json(value).unwrap_or_else(|_| unreachable!("numbers are JSON"))
}

pub(super) fn note(text: &str) -> Note {
    Note::Log { level: LogLevel::Info, message: text.to_owned() }
}

pub(super) fn claim_request(
    worker: WorkerId,
    queues: &[(u8, u32)],
    kinds: &[(u8, Option<u32>)],
    quarantine: bool,
) -> ClaimRequest {
    // Each queue and kind is named once.
    let mut slots: Vec<QueueSlots> = Vec::new();
    for (of, limit) in queues {
        if slots.iter().all(|known| known.queue != queue(*of)) {
            slots.push(QueueSlots { queue: queue(*of), limit: *limit });
        }
    }
    let mut known: Vec<KindSlots> = Vec::new();
    for (of, limit) in kinds {
        if known.iter().all(|slots| slots.kind != kind(*of)) {
            known.push(KindSlots { kind: kind(*of), limit: *limit });
        }
    }
    let mut request = ClaimRequest::new(worker, slots, known);
    if quarantine {
        request.lane = Lane::Quarantine;
    }
    request
}
