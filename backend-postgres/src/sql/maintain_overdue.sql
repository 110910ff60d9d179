-- $1 the job after which to look, $2 limit, $3 grace, $4 from when on to look: running jobs past their deadline
WITH late AS MATERIALIZED (
    SELECT j.id FROM windlass.jobs AS j
    WHERE j.state = 3 AND j.deadline_at >= $4::bigint - $3::bigint AND j.deadline_at < windlass.now() - $3 ORDER BY j.deadline_at)
SELECT l.id FROM late AS l WHERE l.id > $1 ORDER BY l.id LIMIT $2
