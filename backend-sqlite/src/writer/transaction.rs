//! One transaction for all the calls that wait.

use std::sync::Arc;
use std::time::Instant;

use sqlx::SqliteConnection;
use windlass_core::NewJob;

use super::{Call, Insert, Operation as _, Shared};
use crate::error::{self, BUSY};
use crate::open;
use crate::ops::memory::Memory;
use crate::ops::{insert, settle};
use crate::script::Script;
use crate::txn::Txn;

pub(super) enum Outcome {
    /// Committed; or the only call failed and nothing was written.
    Done,
    /// An operation failed among others: nothing was written, run each in a savepoint.
    RunGuarded,
}

/// What was as guessed the last time, so that it may be guessed again.
#[derive(Debug, Default)]
pub(super) struct Guess {
    /// The tick: nobody else had written.
    pub(super) tick: bool,
    /// What inserts look at.
    inserts: bool,
}

/// Runs the calls in one transaction. An error means that nothing was written as far as is known; it is the answer of the calls that
/// have no error of their own.
pub(super) async fn transaction(
    conn: &mut SqliteConnection,
    shared: &Shared,
    guess: &mut Guess,
    batch: &mut [Box<dyn Call>],
    guarded: bool,
) -> Result<Outcome, Arc<sqlx::Error>> {
    let deadline = Instant::now() + shared.options.busy_timeout;
    let alone = batch.len() == 1;
    let inserts = batch.iter().all(|call| call.shareable().is_some());
    let knows = alone && batch.iter().all(|call| call.knows(&shared.memory));
    if !guarded && ((inserts && guess.inserts) || (knows && guess.tick)) {
        match guessed(conn, shared, batch, inserts).await {
            Ok(true) => return Ok(Outcome::Done),
            Ok(false) => {}
            Err(error) if error::is_wrong_guess(&error) => *guess = Guess::default(),
            Err(error) if error::code(&error) == Some(BUSY) => {
                *guess = Guess::default();
                // It has waited for the lock as long as it may.
                if Instant::now() >= deadline {
                    return Err(error);
                }
            }
            // Perhaps only a job that is not as remembered, and forgotten by now: it is read.
            Err(error) if knows && !error::breaks_connection(&error) => {}
            Err(_) if !alone => return Ok(Outcome::RunGuarded),
            Err(error) => return Err(error),
        }
    }
    // What an earlier run answered is nobody's answer, also when this one can't begin.
    batch.iter_mut().for_each(|call| call.reset());
    let known = shared.hub.tick();
    let look = if guarded { None } else { first_look(batch, &shared.memory) };
    let mut txn = begin(conn, shared, look, deadline).await?.with_memory(&shared.memory);
    guess.tick = txn.found() == known;
    if inserts {
        guess.inserts = guess.tick && txn.looked_at_nothing();
    }
    if guarded {
        txn = txn.reading();
    }
    shared.hub.found(txn.found());
    let mut clean = true;
    if !guarded && !alone {
        clean = insert_shared(&mut txn, batch).await;
    }
    for call in batch.iter_mut().filter(|call| guarded || alone || call.shareable().is_none()) {
        if guarded {
            run_guarded(&mut txn, call).await?;
        } else {
            clean &= call.run(&mut txn).await;
        }
    }
    let again = !guarded && (!alone || txn.has_recalled());
    if !clean {
        rollback(txn.conn).await;
        // The answer of a call that failed alone stands.
        return Ok(if again { Outcome::RunGuarded } else { Outcome::Done });
    }
    match txn.commit().await {
        Ok((news, tick)) => shared.hub.committed(news, tick),
        // A write that went with the COMMIT may have failed: run guarded, each call learns its own fate.
        Err(error) if again && !(alone && error::breaks_connection(&error)) => {
            rollback(conn).await;
            return Ok(Outcome::RunGuarded);
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Outcome::Done)
}

/// Runs inserts, or a call that needs no look, in one go with the beginning and the COMMIT: the tick and what inserts would look at
/// are guessed, and the transaction fails when that is wrong. On an error nothing was written, nor when the call failed by itself:
/// false. A call that reads in between, since it cuts a long trail or one job stands twice, begins with that and fails there.
async fn guessed(
    conn: &mut SqliteConnection,
    shared: &Shared,
    batch: &mut [Box<dyn Call>],
    inserts: bool,
) -> Result<bool, Arc<sqlx::Error>> {
    let tick = shared.hub.tick();
    let calls: Vec<&[NewJob]> = batch.iter().filter_map(|call| call.shareable()).collect();
    let check =
        if inserts { insert::check_guess(&calls, &tick) } else { settle::check_guess(&tick) };
    let mut txn = Txn::guess(conn, tick, check, &shared.clock, &shared.options.limits);
    if inserts {
        // Only writes that wait for the COMMIT: nothing can fail before.
        insert_shared(&mut txn, batch).await;
    } else {
        txn = txn.with_memory(&shared.memory);
        txn.forget_looked();
        for call in batch.iter_mut() {
            if !call.run(&mut txn).await {
                rollback(txn.conn).await;
                let cause = call.error().and_then(error::cause).cloned();
                return cause.map_or(Ok(false), Err);
            }
        }
    }
    match txn.commit().await {
        Ok((news, tick)) => shared.hub.committed(news, tick),
        Err(error) => {
            rollback(conn).await;
            return Err(error.into());
        }
    }
    Ok(true)
}

/// What the first of the calls looks at first.
fn first_look(batch: &[Box<dyn Call>], memory: &Memory) -> Option<Script> {
    if let [alone] = batch {
        return if alone.knows(memory) { None } else { alone.look(memory) };
    }
    let sharing: Vec<&[NewJob]> = batch.iter().filter_map(|call| call.shareable()).collect();
    (!sharing.is_empty()).then(|| insert::look(&sharing).into())
}

/// Runs a call in a savepoint of its own.
async fn run_guarded(txn: &mut Txn<'_>, call: &mut Box<dyn Call>) -> sqlx::Result<()> {
    let mark = txn.mark();
    sqlx::query("SAVEPOINT windlass_call").execute(&mut *txn.conn).await?;
    let mut ok = call.run(txn).await;
    if ok && let Err(error) = txn.settle().await {
        call.fail(error);
        ok = false;
    }
    if !ok {
        sqlx::query("ROLLBACK TO windlass_call").execute(&mut *txn.conn).await?;
        txn.reset(mark);
    }
    sqlx::query("RELEASE windlass_call").execute(&mut *txn.conn).await?;
    Ok(())
}

/// Inserts the jobs of all calls that may share statements. False when the statements failed; an error that concerns
/// one call alone is its answer.
async fn insert_shared(txn: &mut Txn<'_>, batch: &mut [Box<dyn Call>]) -> bool {
    txn.during = Insert::NAME;
    let calls: Vec<&[NewJob]> = batch.iter().filter_map(|call| call.shareable()).collect();
    if calls.is_empty() {
        return true;
    }
    let answers = insert::insert_calls(txn, &calls).await;
    txn.forget_looked();
    let Ok(answers) = answers else { return false };
    let sharing = batch.iter_mut().filter(|call| call.shareable().is_some());
    sharing.zip(answers).for_each(|(call, answer)| call.shared(answer));
    true
}

/// Begins, trying again until the deadline for as long as another process holds the lock.
async fn begin<'c>(
    conn: &'c mut SqliteConnection,
    shared: &'c Shared,
    look: Option<Script>,
    deadline: Instant,
) -> sqlx::Result<Txn<'c>> {
    let (mut tries, mut look) = (0, look);
    let (tick, looked) = loop {
        match Txn::begin(conn, look.clone()).await {
            Ok(begun) => break begun,
            Err(error) if error::code(&error) == Some(BUSY) && Instant::now() < deadline => {
                tries += 1;
                tokio::time::sleep(open::pause(tries)).await;
            }
            // The operation looks by itself, and gets round what is in the way.
            Err(error) if look.is_some() && error::is_no_json(&error) => {
                rollback(conn).await;
                look = None;
            }
            Err(error) => return Err(error),
        }
    };
    Ok(Txn::new(conn, tick, &shared.clock, &shared.options.limits).with_looked(looked))
}

pub(super) async fn rollback(conn: &mut SqliteConnection) {
    // SQLite has rolled back by itself after some errors; then this one fails, and that is fine.
    let _ = sqlx::query("ROLLBACK").execute(conn).await;
}
