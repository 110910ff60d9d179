-- Which of several queues have something to claim, and how long the statement had taken when it had looked at each. $1 queues; ranges to look at:
-- $2 queues, $3 kinds, $4 ranks above, $5 and up to; $6 lane. The last turn given out comes with each row. A hint: nothing is locked.
SELECT q.name,
    EXISTS (
        SELECT FROM unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[]) AS r (queue, kind, above, upto) CROSS JOIN LATERAL (
            SELECT FROM windlass.jobs AS j
            WHERE j.state = 2 AND j.queue = r.queue AND j.lane = $6 AND j.kind = r.kind AND j.rank > r.above AND j.rank <= r.upto
            ORDER BY j.queue, j.lane, j.kind, j.rank LIMIT 1) AS head
        WHERE r.queue = q.name),
    (extract(epoch FROM clock_timestamp() - statement_timestamp()) * 1000000)::bigint,
    t.last_value
FROM windlass.turn AS t, unnest($1::text[]) AS q (name)
