-- ?1 queues; all when empty
SELECT queue, kind, state, jobs FROM windlass_counts
WHERE jobs > 0 AND (?1 = '[]' OR queue IN (SELECT value FROM json_each(?1)))
