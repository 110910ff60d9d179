-- $1 entries up to this time go, $2 at most so many, $3 from when on to look; whether there are more, and up to which time none are left. The entries of single jobs stay as long as their jobs, and the
-- newest batch stays in any case: a feed has a last position. Only lower numbers go, so that this position is beyond the horizon.
WITH newest AS MATERIALIZED (
    SELECT e.seq, e.at FROM windlass.events AS e WHERE e.job IS NULL ORDER BY e.at DESC LIMIT 1),
old AS MATERIALIZED (
    SELECT e.seq, e.at FROM windlass.events AS e
    WHERE e.job IS NULL AND e.at >= $3 AND e.at <= $1 AND e.seq + 0 < (SELECT seq FROM newest)
    ORDER BY e.at LIMIT $2 + 1 FOR UPDATE SKIP LOCKED),
gone AS (
    DELETE FROM windlass.events AS e WHERE e.seq = ANY (ARRAY(SELECT o.seq FROM old AS o ORDER BY o.at, o.seq LIMIT $2)) RETURNING e.seq),
moved AS (
    UPDATE windlass.horizon AS h SET seq = m.seq FROM (SELECT max(seq) AS seq FROM gone) AS m WHERE h.seq < m.seq)
SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM old) > $2,
    CASE WHEN (SELECT count(*) FROM old) > $2 THEN (SELECT max(o.at) FROM (SELECT at FROM old ORDER BY at, seq LIMIT $2) AS o)
        ELSE least($1, (SELECT at FROM newest)) END
