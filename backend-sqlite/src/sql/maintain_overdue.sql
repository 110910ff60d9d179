-- ?1 deadlines before this are past their grace, ?2 the job after which to look, ?3 limit
SELECT j.id, j.state, j.attempt, j.max_attempts, j.snoozes, j.crashes, j.cancelling, j.kind, j.queue, j.priority, j.worker,
    j.unique_key, j.unique_mode, j.unique_until, j.errors, j.changes, j.notes, j.epoch
FROM windlass_workers AS w CROSS JOIN windlass_jobs AS j ON j.state = 3 AND j.worker = w.id AND j.deadline_at < ?1
WHERE j.id > ?2
ORDER BY j.id LIMIT ?3
