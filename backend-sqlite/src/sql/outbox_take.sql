-- ?1 now, ?2 until when they are held, ?3 limit, ?4 bytes. The first in line, until the bytes are used up.
UPDATE windlass_outbox SET free_at = ?2 WHERE id IN (
    SELECT id FROM (
        SELECT id, sum(length(body)) OVER (ORDER BY free_at, id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
        FROM (SELECT id, free_at, body FROM windlass_outbox WHERE free_at <= ?1 ORDER BY free_at, id LIMIT ?3)
    ) WHERE coalesce(before, 0) < ?4
)
RETURNING id, posted_at, refusals, body
