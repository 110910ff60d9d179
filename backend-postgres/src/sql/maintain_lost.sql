-- $1 the job after which to look, $2 limit: jobs whose worker has no lease
WITH RECURSIVE owner (id) AS (
    (SELECT j.worker FROM windlass.jobs AS j WHERE j.state = 3 ORDER BY j.worker LIMIT 1)
    UNION ALL
    SELECT (SELECT j.worker FROM windlass.jobs AS j WHERE j.state = 3 AND j.worker > o.id ORDER BY j.worker LIMIT 1)
    FROM owner AS o WHERE o.id IS NOT NULL)
SELECT j.id FROM owner AS o CROSS JOIN LATERAL (
    SELECT j.id FROM windlass.jobs AS j WHERE j.state = 3 AND j.worker = o.id AND j.id > $1) AS j
WHERE NOT EXISTS (SELECT FROM windlass.workers AS w WHERE w.id = o.id AND w.expires_at > windlass.now())
ORDER BY j.id LIMIT $2
