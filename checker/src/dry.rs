//! How long a process tried to commit transactions of the host's without one that was committed: nothing is found wrong with what never happens.

use std::collections::{HashMap, HashSet};

use windlass_core::JobId;

use super::effects::KIND;
use crate::history::{Entry, What};

/// So many tries are more than bad luck.
const TRIES: u32 = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Of {
    Effects,
    Rows,
}

#[derive(Debug, Default)]
struct Spell {
    tries: u32,
    since: u64,
}

/// The longest such time, in microseconds: from the first try after the last success to the last try.
pub(super) fn longest(entries: &[Entry]) -> u64 {
    let mut spells: HashMap<(&str, Of), Spell> = HashMap::new();
    let mut with_row: HashSet<JobId> = HashSet::new();
    let mut longest = 0;
    for Entry { t, process, what } in entries {
        let (of, done) = match what {
            What::Begun { kind, .. } if kind == KIND => (Of::Effects, false),
            What::Committed { .. } => (Of::Effects, true),
            What::Sent { job, with_row: true, .. } => {
                with_row.insert(*job);
                (Of::Rows, false)
            }
            What::Acked { job, .. } | What::RolledBack { job } if with_row.contains(job) => {
                (Of::Rows, true)
            }
            _ => continue,
        };
        let spell = spells.entry((process, of)).or_default();
        if done {
            *spell = Spell::default();
            continue;
        }
        if spell.tries == 0 {
            spell.since = *t;
        }
        spell.tries += 1;
        if spell.tries >= TRIES {
            longest = longest.max(t - spell.since);
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use windlass_core::{ClaimId, Epoch, LeaseKey};

    use super::*;

    fn at(t: u64, process: &str, what: What) -> Entry {
        Entry { t, process: process.to_owned(), what }
    }

    fn key() -> LeaseKey {
        LeaseKey { job: JobId::new(), epoch: Epoch(1), claim_id: ClaimId::new() }
    }

    fn begun(t: u64, process: &str) -> Entry {
        let (kind, queue) = (KIND.to_owned(), "default".to_owned());
        at(t, process, What::Begun { key: key(), kind, queue, attempt: 1 })
    }

    #[test]
    fn only_a_process_that_has_tried_often_and_in_vain_counts() {
        let in_vain: Vec<Entry> = (0..30).map(|n| begun(100 + n, "one")).collect();
        assert_eq!(longest(&in_vain), 29);
        assert_eq!(longest(&in_vain[..19]), 0);
        // A success of its own ends it; one of another process does not.
        for (process, expected) in [("one", 0), ("two", 29)] {
            let mut entries = in_vain.clone();
            entries.insert(15, at(114, process, What::Committed { key: key() }));
            assert_eq!(longest(&entries), expected, "{process}");
        }
    }

    #[test]
    fn inserts_beside_a_row_are_another_matter_than_effects() {
        let mut entries = Vec::new();
        let mut last = JobId::new();
        for n in 0..30 {
            last = JobId::new();
            let (kind, queue) = ("plain".to_owned(), "default".to_owned());
            let sent =
                What::Sent { job: last, kind, queue, unique: None, delay: 0, with_row: true };
            entries.push(at(n, "one", sent));
            entries.push(at(n, "one", What::Committed { key: key() }));
        }
        assert_eq!(longest(&entries), 29);
        entries.insert(30, at(15, "one", What::RolledBack { job: last }));
        assert_eq!(longest(&entries), 29, "it was not sent by then");
        let first = match &entries[0].what {
            What::Sent { job, .. } => *job,
            other => panic!("{other:?}"),
        };
        entries.insert(30, at(15, "one", What::RolledBack { job: first }));
        assert_eq!(longest(&entries), 0);
    }
}
