-- ?1 now, ?2 deadlines before this are past their grace: is there anything to do, when is the next job due, and how many
-- workers have a lease
SELECT
    EXISTS (SELECT 1 FROM windlass_jobs WHERE state IN (1, 4) AND due_at <= ?1)
    OR EXISTS (SELECT 1 FROM windlass_workers WHERE expires_at <= ?1)
    OR EXISTS (SELECT 1 FROM windlass_unique WHERE until <= ?1)
    OR EXISTS (
        SELECT 1 FROM windlass_workers AS w CROSS JOIN windlass_jobs AS j
        ON j.state = 3 AND j.worker = w.id AND j.deadline_at < ?2)
    OR EXISTS (
        WITH RECURSIVE owner (id) AS (
            SELECT min(worker) FROM windlass_jobs WHERE state = 3
            UNION ALL
            SELECT (SELECT min(j.worker) FROM windlass_jobs AS j WHERE j.state = 3 AND j.worker > o.id)
            FROM owner AS o WHERE o.id IS NOT NULL)
        SELECT 1 FROM owner AS o
        WHERE o.id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM windlass_workers AS w WHERE w.id = o.id)),
    (SELECT min(due_at) FROM windlass_jobs WHERE state IN (1, 4) AND due_at > ?1),
    (SELECT count(*) FROM windlass_workers WHERE expires_at > ?1)
