//! Jobs that a claim can't read are discarded, so that they don't stand in the way of others.

use windlass_core::machine;
use windlass_core::{AttemptError, AttemptOutcome, Cause, Error, Failure, FailureKind, Result};

use crate::batch::texts;
use crate::ops::apply::Step;
use crate::ops::maintain::guarded;
use crate::ops::stored::Stored;
use crate::txn::Txn;
use windlass_core::kit::timestamp;

/// Discards available jobs, each as if it had been claimed and had failed for good. Those with which not even that can
/// be done are added to `passed`.
pub(crate) async fn discard(
    txn: &mut Txn<'_>,
    damaged: Vec<(String, Error)>,
    passed: &mut Vec<String>,
) -> Result<()> {
    for (job, error) in damaged {
        tracing::error!(job, %error, "an available job can't be read and is discarded");
        if let Err(error) = one(txn, &job, &error).await? {
            tracing::error!(job, %error, "it can't be discarded either and is passed over");
            passed.push(job);
        }
    }
    Ok(())
}

/// Discards a job. The inner error concerns the job alone.
async fn one(txn: &mut Txn<'_>, job: &str, why: &Error) -> Result<std::result::Result<(), Error>> {
    let query = sqlx::query(include_str!("../sql/stored.sql")).bind(texts([job]));
    let rows = txn.fetch(query).await?;
    let gone = || Error::NotFound { what: format!("job {job}").into() };
    let stored = match rows.first().ok_or_else(gone).and_then(Stored::read) {
        Ok(stored) => stored,
        Err(error) => return Ok(Err(error)),
    };
    let Some(claimed) = machine::claimed(&stored.facts) else { return Ok(Ok(())) };
    let mut running = stored.clone();
    running.facts.state = claimed.to;
    running.facts.attempt = claimed.attempt;
    running.epoch += i64::from(claimed.next_epoch);
    running.changes += 1;
    // Without its sources: they might quote what is stored.
    let message = txn.limits.cut_error(&format!("the stored job can't be read: {why}"));
    let failure = Failure { kind: FailureKind::BadArgs, message: message.clone() };
    let error = AttemptError {
        attempt: claimed.attempt,
        at: timestamp(txn.now),
        kind: failure.kind,
        message,
    };
    let to = machine::settled(&running.facts, &AttemptOutcome::Discarded { failure });
    let ended = Step { error: Some(error), ..Step::new(running, to) };
    let parts: [(Cause, &[Step<'_>]); 2] =
        [(Cause::Claimed, &[Step::new(stored, claimed)]), (Cause::Settled, &[ended])];
    Ok(guarded(txn, &parts).await?.map_or(Ok(()), Err))
}
