//! Faults, and what they may undo.

use super::UndoneBy;
use crate::history::Moment;

/// How long before the end of a server an answer may come whose log is not written yet, in microseconds: a second between two syncs, and
/// one of delay.
const DELAYED: u64 = 2_000_000;
/// How far a replica may be behind before its link is cut.
const BEHIND: u64 = 200_000;

/// A fault.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Its number.
    pub number: u32,
    /// Which.
    pub kind: String,
    /// Whom it hit.
    pub victim: Option<String>,
    /// When it began.
    pub from: u64,
    /// When it was over.
    pub to: u64,
    /// What was counted.
    pub count: u64,
    /// Moments of it, in order.
    pub moments: Vec<(u64, Moment)>,
}

impl Fault {
    fn first(&self, which: Moment) -> Option<u64> {
        self.moments.iter().find(|(_, moment)| *moment == which).map(|(t, _)| *t)
    }

    /// When answers came that it may have undone.
    pub(super) fn undoes(&self, by: UndoneBy) -> Option<(u64, u64)> {
        match (by, self.kind.as_str()) {
            (UndoneBy::FullDisk | UndoneBy::KilledServer, "disk full") => {
                Some((self.from, self.to))
            }
            (UndoneBy::KilledServer, "server killed") => {
                Some((self.from.saturating_sub(DELAYED), self.to))
            }
            // What is heard before the promotion is of the old primary; what is heard later is of the new one, and stays.
            (UndoneBy::Failover, "failover") => {
                let cut = self.first(Moment::LinkCut).unwrap_or(self.from);
                let to = self.first(Moment::Promoted).unwrap_or(self.to);
                Some((cut.saturating_sub(BEHIND), to))
            }
            // It answers again until it is told that it is the primary no more.
            (UndoneBy::Failover, "primary stopped") => {
                let to = self.first(Moment::Demoted).unwrap_or(self.to);
                Some((self.from.saturating_sub(BEHIND), to))
            }
            _ => None,
        }
    }
}
