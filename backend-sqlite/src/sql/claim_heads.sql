-- ?1 worker, ?2 queues, ?3 kinds, ?4 lane: the first row tells when the worker's lease ends, the others
-- which kinds are ready in which queue, with the lowest rank of each
SELECT NULL, NULL, (SELECT expires_at FROM windlass_workers WHERE id = ?1)
UNION ALL
SELECT * FROM (
    SELECT q.key, k.key, (
        SELECT min(j.rank) FROM windlass_jobs AS j
        WHERE j.state = 2 AND j.queue = q.value AND j.lane = ?4 AND j.kind = k.value) AS head
    FROM json_each(?2) AS q CROSS JOIN json_each(?3) AS k
    WHERE NOT EXISTS (SELECT 1 FROM windlass_queues AS s WHERE s.name = q.value AND s.paused)
) WHERE head IS NOT NULL
