-- ?1 names; all when empty
SELECT name, paused, concurrency, max_depth FROM windlass_queues
WHERE ?1 = '[]' OR name IN (SELECT value FROM json_each(?1)) ORDER BY name
