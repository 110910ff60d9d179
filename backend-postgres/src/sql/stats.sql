-- $1 queues; all when empty: counts by queue, kind and state, then per queue for how long the oldest available job has been due and the
-- oldest running job has run. Of the available jobs of one lane, kind and priority only the one at the head is looked at. One
-- statement, so that all figures are of one moment.
WITH RECURSIVE head AS (
    (SELECT j.queue, j.lane, j.kind, j.rank, j.due_at FROM windlass.jobs AS j
    WHERE j.state = 2 ORDER BY j.queue, j.lane, j.kind, j.rank LIMIT 1)
    UNION ALL
    -- The lower 47 bits of a rank are the turn: with all of them set it is the last of its priority.
    SELECT n.* FROM head AS h CROSS JOIN LATERAL (
        SELECT j.queue, j.lane, j.kind, j.rank, j.due_at FROM windlass.jobs AS j
        WHERE j.state = 2 AND (j.queue, j.lane, j.kind, j.rank) > (h.queue, h.lane, h.kind, h.rank | 140737488355327)
        ORDER BY j.queue, j.lane, j.kind, j.rank LIMIT 1) AS n)
SELECT c.queue, c.kind, c.state, sum(c.jobs)::bigint AS jobs, NULL::bigint AS available, NULL::bigint AS running
FROM windlass.counts AS c WHERE ($1::text[] = '{}' OR c.queue = ANY ($1))
GROUP BY c.queue, c.kind, c.state HAVING sum(c.jobs) > 0
UNION ALL
SELECT a.queue, NULL, NULL, NULL, windlass.now() - min(a.due_at), windlass.now() - min(a.started_at) FROM (
    SELECT h.queue, h.due_at, NULL::bigint AS started_at FROM head AS h
    UNION ALL
    SELECT j.queue, NULL, j.started_at FROM windlass.jobs AS j WHERE j.state = 3) AS a
WHERE ($1::text[] = '{}' OR a.queue = ANY ($1))
GROUP BY a.queue
