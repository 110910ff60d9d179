-- ?1 ids
SELECT j.id, j.state, j.attempt, j.max_attempts, j.snoozes, j.crashes, j.cancelling, j.kind, j.queue, j.priority, j.worker,
    j.unique_key, j.unique_mode, j.unique_until, j.errors, j.changes, j.notes, j.epoch
FROM json_each(?1) AS e CROSS JOIN windlass_jobs AS j ON j.id = unhex(e.value)
