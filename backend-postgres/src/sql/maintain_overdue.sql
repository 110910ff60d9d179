-- $1 the job after which to look, $2 limit, $3 grace: running jobs past their deadline
SELECT j.id FROM windlass.workers AS w CROSS JOIN LATERAL (
    SELECT j.id FROM windlass.jobs AS j
    WHERE j.state = 3 AND j.worker = w.id AND j.deadline_at < windlass.now() - $3 AND j.id > $1) AS j
ORDER BY j.id LIMIT $2
