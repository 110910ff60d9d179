//! Tells how to repeat a run that panics or does not end.

use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use super::Plan;

/// Real time after which a run has most likely lost its way: most take some milliseconds.
const LONG: Duration = Duration::from_secs(60);

/// Watches over a run until it is dropped.
pub(super) struct Watch {
    command: String,
    _ends: Sender<()>,
}

impl Watch {
    pub(super) fn new(plan: &Plan) -> Self {
        let (ends, ended) = channel::<()>();
        let command = plan.command();
        let told = command.clone();
        std::thread::spawn(move || {
            if ended.recv_timeout(LONG) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                eprintln!("a run takes longer than {LONG:?}; repeat with: {told}");
            }
        });
        Self { command, _ends: ends }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("a run panicked; repeat with: {}", self.command);
        }
    }
}
