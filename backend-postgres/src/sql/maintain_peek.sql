-- $1 grace after deadlines: is there anything to do, and in how long is the next job due
WITH RECURSIVE clock AS MATERIALIZED (SELECT windlass.now() AS now),
owner (id) AS (
    (SELECT j.worker FROM windlass.jobs AS j WHERE j.state = 3 ORDER BY j.worker LIMIT 1)
    UNION ALL
    SELECT (SELECT j.worker FROM windlass.jobs AS j WHERE j.state = 3 AND j.worker > o.id ORDER BY j.worker LIMIT 1)
    FROM owner AS o WHERE o.id IS NOT NULL)
SELECT
    EXISTS (SELECT FROM windlass.jobs AS j WHERE j.state IN (1, 4) AND j.due_at <= c.now),
    EXISTS (SELECT FROM owner AS o WHERE o.id IS NOT NULL
        AND NOT EXISTS (SELECT FROM windlass.workers AS w WHERE w.id = o.id AND w.expires_at > c.now)),
    EXISTS (SELECT FROM windlass.workers AS w CROSS JOIN LATERAL (
        SELECT FROM windlass.jobs AS j WHERE j.state = 3 AND j.worker = w.id AND j.deadline_at < c.now - $1 LIMIT 1) AS late),
    EXISTS (SELECT FROM windlass.workers AS w WHERE w.expires_at <= c.now),
    EXISTS (SELECT FROM windlass.unique_keys AS u WHERE u.until <= c.now),
    EXISTS (SELECT FROM windlass.counts OFFSET $2),
    (SELECT j.due_at - c.now FROM windlass.jobs AS j WHERE j.state IN (1, 4) AND j.due_at > c.now ORDER BY j.due_at LIMIT 1)
FROM clock AS c
