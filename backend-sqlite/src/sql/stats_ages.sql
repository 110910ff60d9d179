-- ?1 now, ?2 queues; all when empty: per queue for how long the oldest available job has been due and the oldest
-- running job has run. Of the available jobs of one lane, kind and priority only the one at the head is looked at.
WITH RECURSIVE head (id) AS (
    SELECT (SELECT id FROM windlass_jobs WHERE state = 2 ORDER BY queue, lane, kind, rank LIMIT 1)
    UNION ALL
    SELECT (
        SELECT n.id FROM windlass_jobs AS n
        WHERE n.state = 2 AND (n.queue, n.lane, n.kind, n.rank) > (j.queue, j.lane, j.kind, j.rank | 0x7fffffffffff)
        ORDER BY n.queue, n.lane, n.kind, n.rank LIMIT 1)
    FROM head AS h CROSS JOIN windlass_jobs AS j ON j.id = h.id)
SELECT queue, ?1 - min(due_at), ?1 - min(started_at) FROM (
    SELECT j.queue, j.due_at, NULL AS started_at FROM head AS h CROSS JOIN windlass_jobs AS j ON j.id = h.id
    UNION ALL
    SELECT queue, NULL, started_at FROM windlass_jobs WHERE state = 3)
WHERE ?2 = '[]' OR queue IN (SELECT value FROM json_each(?2))
GROUP BY queue
