-- ?1 the job after which to look, ?2 how many jobs to look at, ?3 states, ?4 queues, ?5 kinds, ?6 tags, ?7 unique key:
-- of the next jobs by id, those that pass; the last one looked at comes back in any case, with NULL as its state
WITH looked (id) AS MATERIALIZED (
    SELECT * FROM (SELECT id FROM windlass_jobs WHERE id > ?1 ORDER BY id LIMIT ?2)
    UNION ALL
    SELECT * FROM (SELECT id FROM windlass_finished WHERE id > ?1 ORDER BY id LIMIT ?2)
    ORDER BY 1 LIMIT ?2)
SELECT r.id, r.state, r.attempt, r.max_attempts, r.snoozes, r.crashes, r.cancelling, r.kind, r.queue, r.priority, r.worker,
    r.unique_key, r.unique_mode, r.unique_until, r.errors, r.changes, r.notes, r.epoch
FROM looked AS l CROSS JOIN windlass_records AS r ON r.id = l.id
WHERE (?3 = '[]' OR r.state IN (SELECT value FROM json_each(?3)))
    AND (?4 = '[]' OR r.queue IN (SELECT value FROM json_each(?4)))
    AND (?5 = '[]' OR r.kind IN (SELECT value FROM json_each(?5)))
    AND (?6 = '[]' OR NOT EXISTS (
        SELECT 1 FROM json_each(?6) AS t WHERE t.value NOT IN (SELECT value FROM json_each(iif(json_valid(r.tags), r.tags, '[]')))))
    AND (?7 IS NULL OR r.unique_key = ?7)
UNION ALL
SELECT max(id), NULL, count(*), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM looked
