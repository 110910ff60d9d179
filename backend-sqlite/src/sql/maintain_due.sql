-- ?1 now, ?2 and ?3 the due time and id after which to look, ?4 limit
SELECT j.id, j.state, j.attempt, j.max_attempts, j.snoozes, j.crashes, j.cancelling, j.kind, j.queue, j.priority, j.worker,
    j.unique_key, j.unique_mode, j.unique_until, j.errors, j.changes, j.notes, j.epoch, j.due_at
FROM windlass_jobs AS j
WHERE j.state IN (1, 4) AND j.due_at <= ?1 AND (j.due_at, j.id) > (?2, ?3)
ORDER BY j.due_at, j.id LIMIT ?4
