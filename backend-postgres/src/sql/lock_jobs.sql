-- Locks jobs that wait or run. $1 ids
SELECT j.id, j.state, j.attempt, j.max_attempts, j.snoozes, j.crashes, j.cancelling, j.kind, j.queue, j.priority, j.worker, j.unique_key,
    j.unique_mode, j.unique_until, j.errors, j.changes, j.notes, j.epoch, j.claim_id
FROM windlass.jobs AS j WHERE j.id = ANY ($1::uuid[]) ORDER BY j.id FOR NO KEY UPDATE
