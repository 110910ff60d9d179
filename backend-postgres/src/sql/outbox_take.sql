-- The first in line, until the bytes are used up; what others take is passed over. $1 for how long they are held, $2 limit, $3 bytes, $4 and $5 the place
-- in the line behind which to look
WITH line AS MATERIALIZED (
    SELECT o.id, o.free_at, octet_length(o.body) AS bytes FROM windlass.outbox AS o
    WHERE (o.free_at, o.id) > ($4, $5) AND o.free_at <= windlass.now()
    ORDER BY o.free_at, o.id LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED),
taken AS MATERIALIZED (
    SELECT id, free_at FROM (
        SELECT id, free_at, sum(bytes) OVER (ORDER BY free_at, id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM line) AS l
    WHERE coalesce(before, 0) < $3)
UPDATE windlass.outbox AS o SET free_at = windlass.now() + $1 FROM taken AS t
WHERE o.id = t.id AND o.id = ANY (ARRAY(SELECT id FROM taken))
RETURNING o.id, windlass.now() - o.posted_at, o.refusals, o.body, t.free_at
