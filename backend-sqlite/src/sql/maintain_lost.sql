-- ?1 now, ?2 the job after which to look, ?3 limit: jobs whose worker has no lease
WITH RECURSIVE owner (id) AS (
    SELECT min(worker) FROM windlass_jobs WHERE state = 3
    UNION ALL
    SELECT (SELECT min(j.worker) FROM windlass_jobs AS j WHERE j.state = 3 AND j.worker > o.id)
    FROM owner AS o WHERE o.id IS NOT NULL)
SELECT j.id, j.state, j.attempt, j.max_attempts, j.snoozes, j.crashes, j.cancelling, j.kind, j.queue, j.priority, j.worker,
    j.unique_key, j.unique_mode, j.unique_until, j.errors, j.changes, j.notes, j.epoch
FROM owner AS o CROSS JOIN windlass_jobs AS j ON j.state = 3 AND j.worker = o.id
WHERE o.id IS NOT NULL AND j.id > ?2
    AND NOT EXISTS (SELECT 1 FROM windlass_workers AS w WHERE w.id = o.id AND w.expires_at > ?1)
ORDER BY j.id LIMIT ?3
