-- $1 number from which to look, $2 up to which the feed is settled, $3 how many entries: with each, and alone when there is none, the
-- highest number of a pruned one
SELECT h.seq, e.seq, e.at, e.job, e.body
FROM windlass.horizon AS h LEFT JOIN LATERAL (
    SELECT e.seq, e.at, e.job, e.body FROM windlass.events AS e
    WHERE e.seq >= $1 AND e.seq <= $2 ORDER BY e.seq LIMIT $3) AS e ON true
