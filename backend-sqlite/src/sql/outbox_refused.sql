-- ?1 limit
SELECT id, refusals, error, posted_at FROM windlass_outbox WHERE error IS NOT NULL ORDER BY id LIMIT ?1
