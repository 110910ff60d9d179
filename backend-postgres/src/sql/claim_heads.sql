-- Which of several queues have something to claim. $1 queues, $2 kinds, $3 lane. A hint: nothing is locked.
SELECT q.name FROM unnest($1::text[]) AS q (name)
WHERE EXISTS (
    SELECT FROM unnest($2::text[]) AS k (name) CROSS JOIN LATERAL (
        SELECT FROM windlass.jobs AS j WHERE j.state = 2 AND j.queue = q.name AND j.lane = $3 AND j.kind = k.name
        ORDER BY j.queue, j.lane, j.kind, j.rank LIMIT 1) AS head)
