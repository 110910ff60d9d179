-- $1 the job after which to look, $2 limit, $3 whether to look for owners that are no workers: jobs whose worker has no lease
WITH RECURSIVE owner (id) AS (
    (SELECT j.worker FROM windlass.jobs AS j WHERE $3 AND j.state = 3 ORDER BY j.worker LIMIT 1)
    UNION ALL
    SELECT (SELECT j.worker FROM windlass.jobs AS j WHERE j.state = 3 AND j.worker > o.id ORDER BY j.worker LIMIT 1)
    FROM owner AS o WHERE o.id IS NOT NULL),
lost (id) AS MATERIALIZED (
    SELECT w.id FROM windlass.workers AS w WHERE w.expires_at <= windlass.now()
    UNION ALL
    SELECT o.id FROM owner AS o WHERE o.id IS NOT NULL AND NOT EXISTS (SELECT FROM windlass.workers AS w WHERE w.id = o.id))
SELECT j.id FROM lost AS l CROSS JOIN LATERAL (
    SELECT j.id FROM windlass.jobs AS j WHERE j.state = 3 AND j.worker = l.id AND j.id > $1) AS j
ORDER BY j.id LIMIT $2
