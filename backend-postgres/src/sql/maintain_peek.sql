-- $1 grace after deadlines, $2 rows of the counts that are left alone, $3 from when on to look, $4 whether to look for what goes by no time (owners
-- that are no workers, counts to fold): is there anything to do, in how long is the next job due, what time it is, and how
-- many workers have a lease
WITH RECURSIVE clock AS MATERIALIZED (SELECT windlass.now() AS now),
owner (id) AS (
    (SELECT j.worker FROM windlass.jobs AS j WHERE $4 AND j.state = 3 ORDER BY j.worker LIMIT 1)
    UNION ALL
    SELECT (SELECT j.worker FROM windlass.jobs AS j WHERE j.state = 3 AND j.worker > o.id ORDER BY j.worker LIMIT 1)
    FROM owner AS o WHERE o.id IS NOT NULL)
SELECT
    EXISTS (SELECT FROM windlass.jobs AS j WHERE j.state IN (1, 4) AND j.due_at > $3 AND j.due_at <= c.now ORDER BY j.due_at LIMIT 1),
    EXISTS (SELECT FROM windlass.workers AS w WHERE w.expires_at <= c.now)
        OR EXISTS (SELECT FROM owner AS o WHERE o.id IS NOT NULL
            AND NOT EXISTS (SELECT FROM windlass.workers AS w WHERE w.id = o.id)),
    EXISTS (SELECT FROM windlass.jobs AS j
        WHERE j.state = 3 AND j.deadline_at >= $3::bigint - $1::bigint AND j.deadline_at < c.now - $1 ORDER BY j.deadline_at LIMIT 1),
    EXISTS (SELECT FROM windlass.workers AS w WHERE w.expires_at <= c.now),
    EXISTS (SELECT FROM windlass.unique_keys AS u WHERE u.until > $3 AND u.until <= c.now ORDER BY u.until LIMIT 1),
    $4 AND EXISTS (SELECT FROM windlass.counts OFFSET $2),
    (SELECT j.due_at - c.now FROM windlass.jobs AS j WHERE j.state IN (1, 4) AND j.due_at > c.now ORDER BY j.due_at LIMIT 1),
    c.now,
    (SELECT count(*) FROM windlass.workers AS w WHERE w.expires_at > c.now)
FROM clock AS c
