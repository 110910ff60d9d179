//! The short way in for jobs that are available at once and hold no unique key: those that differ in id and args alone
//! share a statement, whose rows SQLite reads several times faster than the general ones.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use windlass_core::{Cause, Kind, NewJob, Priority, QueueName, Start, State, Tag};

use crate::batch::Lines;
use crate::script::statement;
use crate::txn::Txn;
use windlass_core::kit::micros;
use windlass_core::kit::trail;

/// More shapes than this in one insert go the general way: a statement each would cost more than it saves.
const SHAPES: usize = 8;

/// What jobs of one statement have in common.
#[derive(PartialEq, Eq, Hash)]
struct Shape<'a> {
    queue: &'a QueueName,
    kind: &'a Kind,
    priority: Priority,
    max_attempts: u32,
    timeout: Option<Duration>,
    encoding: u8,
    meta: &'a BTreeMap<String, String>,
    tags: &'a [Tag],
}

/// Jobs by shape.
#[derive(Default)]
pub(crate) struct Shapes<'a>(HashMap<Shape<'a>, Same>);

/// The jobs of one shape.
struct Same {
    /// The rank of the first one, from which the others count.
    rank: i64,
    lines: Lines,
}

impl<'a> Shapes<'a> {
    /// Takes a job in, if it can go this way.
    pub(crate) fn take(&mut self, txn: &mut Txn<'_>, job: &'a NewJob) -> bool {
        if job.start != Start::Now || job.unique.is_some() {
            return false;
        }
        let shape = Shape {
            queue: &job.queue,
            kind: &job.kind,
            priority: job.priority,
            max_attempts: job.max_attempts,
            timeout: job.timeout,
            encoding: job.args.encoding.code(),
            meta: &job.meta,
            tags: &job.tags,
        };
        if self.0.len() >= SHAPES && !self.0.contains_key(&shape) {
            return false;
        }
        let rank = txn.rank(job.priority);
        txn.wake(job.queue.as_str());
        let same = self.0.entry(shape);
        let same = same.or_insert_with(|| Same { rank, lines: Lines::default() });
        let place = usize::try_from(rank - same.rank).unwrap_or(0);
        same.lines.row(job.id.as_bytes()).bytes(&job.args.bytes).place(place);
        true
    }

    /// Inserts what was taken in.
    pub(crate) fn write(self, txn: &mut Txn<'_>, seq: i64) {
        for (shape, Same { rank, lines }) in self.0 {
            let (json, blob) = lines.done();
            let to = (None, State::Available);
            let meta = (!shape.meta.is_empty()).then(|| serde_json::to_string(shape.meta).ok());
            let tags = (!shape.tags.is_empty()).then(|| serde_json::to_string(shape.tags).ok());
            let query = statement(include_str!("../sql/insert_plain.sql"))
                .bind(json)
                .bind(blob)
                .bind(txn.now)
                .bind(trail::entry(seq, txn.now, to, 0, Cause::Inserted, None))
                .bind(shape.queue.as_str())
                .bind(shape.kind.as_str())
                .bind(i64::from(shape.priority.0))
                .bind(rank)
                .bind(shape.max_attempts)
                .bind(shape.timeout.map(micros))
                .bind(i64::from(shape.encoding))
                .bind(meta.flatten())
                .bind(tags.flatten());
            txn.write(query);
        }
    }
}
