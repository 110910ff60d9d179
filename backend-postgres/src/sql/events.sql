-- $1 number from which to look, $2 up to which the feed is settled, $3 how many entries, and $4 bytes of bodies after which no other begins: with
-- each, and alone when there is none, the highest number of a pruned one
SELECT h.seq, e.seq, e.at, e.job, e.body
FROM windlass.horizon AS h LEFT JOIN LATERAL (
    SELECT s.seq, s.at, s.job, s.body FROM (
        SELECT e.seq, e.at, e.job, e.body,
            coalesce(sum(octet_length(e.body)) OVER (ORDER BY e.seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
        FROM windlass.events AS e WHERE e.seq >= $1 AND e.seq <= $2 ORDER BY e.seq LIMIT $3) AS s
    WHERE s.before < $4) AS e ON true
