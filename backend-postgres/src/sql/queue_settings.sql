-- $1 names; all when empty
SELECT q.name, q.paused, q.concurrency, q.max_depth FROM windlass.queues AS q
WHERE $1::text[] = '{}' OR q.name = ANY ($1) ORDER BY q.name
