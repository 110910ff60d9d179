//! Jobs on their way to another backend.

use std::time::Duration;

use windlass_core::kit::micros;
use windlass_core::outbox::{OUTBOX_QUEUE, OutboxEntry, PutBack, TAKE_BYTES, TakenEntry};
use windlass_core::{JobId, Result};

use crate::batch::{Rows, ids, size};
use crate::script::statement;
use crate::txn::Txn;

/// Writes entries.
pub(crate) fn post(txn: &mut Txn<'_>, entries: &[OutboxEntry]) {
    let mut rows = Rows::new();
    for entry in entries {
        rows.row().id(entry.id.as_bytes()).bytes(&entry.body);
    }
    let now = txn.now;
    txn.write(rows.query_with_bytes(include_str!("../sql/outbox_post.sql")).bind(now));
    txn.configured(OUTBOX_QUEUE);
}

/// Takes entries for a time.
pub(crate) async fn take(txn: &mut Txn<'_>, limit: u32, hold: Duration) -> Result<Vec<TakenEntry>> {
    let query = sqlx::query(include_str!("../sql/outbox_take.sql"));
    let query = query.bind(txn.now).bind(txn.now.saturating_add(micros(hold)));
    let rows = txn.execute_fetch(query.bind(limit).bind(size(TAKE_BYTES))).await?;
    let mut taken = Vec::with_capacity(rows.len());
    for row in &rows {
        let id = JobId::from_slice(&txn.get::<Vec<u8>>(row, 0)?)?;
        let waited = txn.now.saturating_sub(txn.get(row, 1)?);
        let body: Vec<u8> = txn.get(row, 3)?;
        taken.push(TakenEntry::new(
            OutboxEntry::new(id, body.into()),
            Duration::from_micros(u64::try_from(waited).unwrap_or(0)),
            txn.get(row, 2)?,
        ));
    }
    taken.sort_by_key(|taken| taken.entry.id);
    Ok(taken)
}

/// Removes entries.
pub(crate) fn delivered(txn: &mut Txn<'_>, gone: &[JobId]) {
    let list = ids(gone.iter().map(JobId::as_bytes));
    txn.write(statement(include_str!("../sql/outbox_delivered.sql")).bind(list));
}

/// Gives entries back.
pub(crate) fn put_back(txn: &mut Txn<'_>, entries: &[PutBack]) {
    let mut rows = Rows::new();
    for back in entries {
        let free_at = txn.now.saturating_add(micros(back.delay));
        rows.row().id(back.id.as_bytes()).int(free_at).maybe_text(back.refusal.as_deref());
    }
    txn.write(rows.query(include_str!("../sql/outbox_put_back.sql")));
}
