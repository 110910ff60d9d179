-- $1 limit
SELECT id, refusals, error, windlass.now() - posted_at FROM windlass.outbox WHERE error IS NOT NULL ORDER BY id LIMIT $1
