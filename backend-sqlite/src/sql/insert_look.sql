-- ?1 ids: those that are stored already, and the queues that have a maximum depth with the jobs that wait in each
SELECT unhex(e.value), NULL, NULL, NULL FROM json_each(?1) AS e
WHERE EXISTS (SELECT 1 FROM windlass_jobs WHERE id = unhex(e.value))
   OR EXISTS (SELECT 1 FROM windlass_finished WHERE id = unhex(e.value))
UNION ALL
SELECT NULL, q.name, q.max_depth,
    (SELECT coalesce(sum(c.jobs), 0) FROM windlass_counts AS c WHERE c.queue = q.name AND c.state IN (0, 1, 2, 4))
FROM windlass_queues AS q WHERE q.max_depth IS NOT NULL
