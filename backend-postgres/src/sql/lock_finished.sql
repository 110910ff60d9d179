-- Locks final jobs. $1 ids
SELECT f.id, f.state, f.attempt, f.max_attempts, f.snoozes, f.crashes, false, f.kind, f.queue, f.priority, f.worker, f.unique_key,
    f.unique_mode, f.unique_until, f.errors, f.changes, f.notes, f.epoch, f.claim_id
FROM windlass.finished AS f WHERE f.id = ANY ($1::uuid[]) ORDER BY f.id FOR NO KEY UPDATE
