//! Progress, log lines and host events: gathered per attempt and recorded a few times a second for all of them.

use std::sync::Arc;

use tokio::time::sleep;

use super::attempt::Attempt;
use super::backoff::Pause;
use super::error_text;
use super::shared::Shared;
use crate::{Record, Recorded, Result};

/// Records in one call.
const RECORDS: usize = 500;

/// Records what gathers, until the worker ends.
pub(crate) async fn run(shared: Arc<Shared>) {
    let flushes = async {
        let mut pause = Pause::after_error();
        loop {
            shared.notes_wake.notified().await;
            sleep(shared.options.notes).await;
            match flush_all(&shared).await {
                Ok(()) => pause.reset(),
                Err(error) => {
                    tracing::warn!(error = %error_text(&error), "can't record progress and log lines yet");
                    shared.notes_wake.notify_one();
                    sleep(pause.next()).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = flushes => {}
        () = shared.halt.cancelled() => {}
    }
}

async fn flush_all(shared: &Shared) -> Result<()> {
    let attempts = shared.registry.attempts();
    for some in attempts.chunks(RECORDS) {
        flush(shared, some).await?;
    }
    Ok(())
}

async fn flush(shared: &Shared, attempts: &[Arc<Attempt>]) -> Result<()> {
    let mut all = Vec::new();
    let mut records = Vec::new();
    for attempt in attempts {
        if let Some((sending, notes)) = attempt.course.send() {
            records.push(Record::new(attempt.key(), notes));
            all.push((attempt, sending));
        }
    }
    if records.is_empty() {
        return Ok(());
    }
    let answers = shared.call("record", shared.backend().record(&records)).await?;
    for ((attempt, sending), answer) in all.into_iter().zip(answers) {
        sending.arrived();
        answered(shared, attempt, &answer);
    }
    Ok(())
}

fn answered(shared: &Shared, attempt: &Attempt, answer: &Recorded) {
    match answer {
        Recorded::Applied => {}
        Recorded::Lost => shared.registry.lost(&[attempt.key()]),
        Recorded::Refused { reason } => {
            tracing::warn!(job = %attempt.key().job, reason, "progress or log lines were refused");
        }
    }
}
