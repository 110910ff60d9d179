-- ?1 worker, ?2 now, ?3 queues, ?4 kinds, ?5 lane: the first row tells whether the worker has a lease, the others
-- which kinds are ready in which queue, with the lowest rank of each
SELECT NULL, NULL, coalesce((SELECT expires_at > ?2 FROM windlass_workers WHERE id = ?1), 0)
UNION ALL
SELECT * FROM (
    SELECT q.key, k.key, (
        SELECT min(j.rank) FROM windlass_jobs AS j
        WHERE j.state = 2 AND j.queue = q.value AND j.lane = ?5 AND j.kind = k.value) AS head
    FROM json_each(?3) AS q CROSS JOIN json_each(?4) AS k
    WHERE NOT EXISTS (SELECT 1 FROM windlass_queues AS s WHERE s.name = q.value AND s.paused)
) WHERE head IS NOT NULL
