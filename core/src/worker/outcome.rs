//! From what a handler returned to the outcome that is settled.

use std::any::Any;

use super::attempt::{Attempt, CancelCause};
use crate::definition::StopKind;
use crate::{AttemptOutcome, Failure, FailureKind, Limits, Stop};

/// An error and its causes, one line each.
pub(crate) fn error_text(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let line = error.to_string();
        // Some errors repeat their cause in their own text.
        if !text.ends_with(&line) {
            text.push('\n');
            text.push_str(&line);
        }
        cause = error.source();
    }
    text
}

/// A failure whose message is within the limits.
pub(crate) fn failure(limits: &Limits, kind: FailureKind, message: &str) -> Failure {
    Failure { kind, message: limits.cut_error(message) }
}

/// What a panic was called with.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> Option<&str> {
    let text = panic.downcast_ref::<&'static str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
}

/// The text of a handler's panic.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic_message(panic).map_or_else(
        || "the handler panicked with something that is no text".to_owned(),
        |text| format!("the handler panicked: {text}"),
    )
}

/// A failed attempt, seen in the light of what was asked of the handler before.
pub(crate) fn failed(attempt: &Attempt, kind: FailureKind, message: &str) -> AttemptOutcome {
    let limits = attempt.client.limits();
    if attempt.cancel_requested() {
        return AttemptOutcome::Cancelled {
            failure: failure(limits, FailureKind::Cancelled, message),
        };
    }
    let kind = match attempt.cause() {
        Some(CancelCause::Deadline) => FailureKind::Timeout,
        _ => kind,
    };
    attempt.failed(failure(limits, kind, message), None)
}

/// An attempt that ended without a result of its own making: aborted, or never begun.
pub(crate) fn ended(attempt: &Attempt) -> AttemptOutcome {
    match attempt.cause() {
        Some(CancelCause::Deadline) => {
            let text = format!(
                "the attempt did not end within {:?}",
                attempt.lease.timeout.unwrap_or_default()
            );
            failed(attempt, FailureKind::Timeout, &text)
        }
        _ if attempt.cancel_requested() => {
            failed(attempt, FailureKind::Cancelled, "cancelled on request")
        }
        _ => AttemptOutcome::Released,
    }
}

/// A handler's [`Stop`].
pub(crate) fn stopped(attempt: &Attempt, stop: Stop) -> AttemptOutcome {
    let limits = attempt.client.limits();
    match stop.0 {
        StopKind::Retry { error, after } => {
            let text = error_text(&*error);
            match (after, attempt.cause()) {
                (Some(delay), None) => {
                    attempt.failed(failure(limits, FailureKind::Error, &text), Some(delay))
                }
                // Ended because the worker ends, not because the work can't be done.
                (_, Some(CancelCause::Shutdown)) if !attempt.cancel_requested() => {
                    AttemptOutcome::Released
                }
                _ => failed(attempt, FailureKind::Error, &text),
            }
        }
        StopKind::Snooze(_) if attempt.lease.snoozes >= limits.snoozes => {
            let text = format!(
                "snoozed more than {} times: use a retry, or raise `Limits::snoozes`",
                limits.snoozes
            );
            failed(attempt, FailureKind::Error, &text)
        }
        StopKind::Snooze(delay) => AttemptOutcome::Snoozed { delay },
        StopKind::Cancel(reason) => {
            AttemptOutcome::Cancelled { failure: failure(limits, FailureKind::Cancelled, &reason) }
        }
        StopKind::Discard(error) => AttemptOutcome::Discarded {
            failure: failure(limits, FailureKind::Error, &error_text(&*error)),
        },
    }
}
