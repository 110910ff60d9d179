-- ?1 ids: stored.sql for jobs in any state
SELECT j.id, j.state, j.attempt, j.max_attempts, j.snoozes, j.crashes, j.cancelling, j.kind, j.queue, j.priority, j.worker,
    j.unique_key, j.unique_mode, j.unique_until, j.errors, j.changes, j.notes, j.epoch
FROM json_each(?1) AS e CROSS JOIN windlass_jobs AS j ON j.id = unhex(e.value)
UNION ALL
SELECT f.id, f.state, f.attempt, f.max_attempts, f.snoozes, f.crashes, 0, f.kind, f.queue, f.priority, f.worker,
    f.unique_key, f.unique_mode, f.unique_until, f.errors, f.changes, f.notes, f.epoch
FROM json_each(?1) AS e CROSS JOIN windlass_finished AS f ON f.id = unhex(e.value)
