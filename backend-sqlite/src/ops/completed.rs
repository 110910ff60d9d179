//! Completions that change nothing but the state: by far the most frequent settlements, with statements of their own.

use std::collections::HashSet;
use std::fmt::Write as _;

use windlass_core::{Cause, ClaimId, State};

use crate::batch::{ids, list};
use crate::ops::apply::Step;
use crate::script::{Value, statement};
use crate::txn::Txn;
use windlass_core::kit::feed;

/// The rows of the statements. What has one width stands in a blob, from which SQLite takes it for less than from text.
#[derive(Default)]
pub(crate) struct Completed {
    epochs: Vec<i64>,
    /// Job and claim id of each.
    keys: Vec<u8>,
    /// Where the result of each is.
    places: String,
    results: Vec<u8>,
    any_result: bool,
    claims: HashSet<ClaimId>,
}

/// By whose claim the step is a plain completion.
fn owner(step: &Step<'_>) -> Option<ClaimId> {
    let (facts, to) = (&step.job.facts, &step.to);
    let counters = (facts.attempt, facts.max_attempts, facts.snoozes, facts.crashes);
    let is_plain = (facts.state, to.to) == (State::Running, State::Completed)
        && step.error.is_none()
        && counters == (to.attempt, to.max_attempts, to.snoozes, to.crashes)
        && !to.next_epoch;
    step.job.claim.filter(|_| is_plain)
}

impl Completed {
    /// Takes a step in, if it can go this way.
    pub(crate) fn take(&mut self, step: &Step<'_>) -> bool {
        let Some(claim) = owner(step) else { return false };
        self.epochs.push(step.job.epoch);
        self.keys.extend_from_slice(step.job.id.as_bytes());
        self.keys.extend_from_slice(claim.as_bytes());
        self.claims.insert(claim);
        let (encoding, offset, length) = match step.result {
            Some(result) => {
                let offset = self.results.len() + 1;
                self.results.extend_from_slice(&result.bytes);
                self.any_result = true;
                (result.encoding.code(), offset, result.bytes.len())
            }
            None => (0, 0, 0),
        };
        // Writing to a String never fails.
        let _ = write!(self.places, "{encoding}{offset:010}{length:010}");
        true
    }

    /// Moves what was taken in to the finished jobs.
    pub(crate) fn write(mut self, txn: &mut Txn<'_>, seq: i64, cause: Cause) {
        let count = self.epochs.len();
        if count == 0 {
            return;
        }
        if self.results.is_empty() {
            self.results.push(0); // of an empty blob, `substr` gives NULL
        }
        let epochs = Value::from(list(&self.epochs));
        let (from, to) = (State::Running.code(), State::Completed.code());
        let query = statement(include_str!("../sql/settle_complete.sql"))
            .writes(count)
            .bind(epochs.clone())
            .bind(self.keys.clone())
            .bind(txn.now)
            .bind(format!(",[{seq},{},{from},{to},", txn.now))
            .bind(format!(",{}]", feed::cause_code(cause)))
            .bind(self.any_result.then(|| self.places.into_bytes()))
            .bind(self.results);
        txn.write(query);
        self.epochs.sort_unstable();
        self.epochs.dedup();
        let query = statement(include_str!("../sql/settle_complete_delete.sql"))
            .writes(count)
            .bind(epochs)
            .bind(self.keys)
            .bind(ids(self.claims.iter().map(ClaimId::as_bytes)))
            .bind(list(&self.epochs));
        txn.write(query);
    }
}
