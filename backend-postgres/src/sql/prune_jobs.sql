-- $1 to $3 jobs finished up to this go, by state; NULL keeps. $4 limit; $5 to $7 from when on to look, by state. Oldest finish first; what others are
-- changing or pruning is passed over. The states stand in a table, since a literal would let the planner choose the index of the failed ones,
-- which knows no times.
SELECT p.id, p.queue, p.kind, p.state, p.finished_at
FROM (VALUES (5::smallint, $1::bigint, $5::bigint), (6, $2, $6), (7, $3, $7)) AS k (state, upto, since) CROSS JOIN LATERAL (
    SELECT f.id, f.queue, f.kind, f.state, f.finished_at FROM windlass.finished AS f
    WHERE f.state = k.state AND f.finished_at >= k.since AND f.finished_at <= k.upto
    ORDER BY f.state, f.finished_at LIMIT $4 FOR UPDATE SKIP LOCKED) AS p
ORDER BY p.finished_at LIMIT $4
