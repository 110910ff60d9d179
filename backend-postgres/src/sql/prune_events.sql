-- $1 entries up to this time go, $2 at most so many; whether there are more. The entries of single jobs stay as long as their jobs, and the
-- newest batch stays in any case: a feed has a last position. Only lower numbers go, so that this position is beyond the horizon.
WITH newest AS MATERIALIZED (
    SELECT e.seq FROM windlass.events AS e WHERE e.job IS NULL ORDER BY e.at DESC LIMIT 1),
old AS MATERIALIZED (
    SELECT e.seq, e.at FROM windlass.events AS e
    WHERE e.job IS NULL AND e.at <= $1 AND e.seq + 0 < (SELECT seq FROM newest)
    ORDER BY e.at LIMIT $2 + 1 FOR UPDATE SKIP LOCKED),
gone AS (
    DELETE FROM windlass.events AS e WHERE e.seq = ANY (ARRAY(SELECT o.seq FROM old AS o ORDER BY o.at, o.seq LIMIT $2)) RETURNING e.seq),
moved AS (
    UPDATE windlass.horizon AS h SET seq = m.seq FROM (SELECT max(seq) AS seq FROM gone) AS m WHERE h.seq < m.seq)
SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM old) > $2
