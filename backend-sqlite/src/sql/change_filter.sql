-- ?1 the job after which to look, ?2 how many jobs to look at, ?3 states, ?4 queues, ?5 kinds, ?6 tags, ?7 unique key:
-- of the next jobs by id, those that pass; the last one looked at comes back in any case, with NULL as its state
WITH looked AS MATERIALIZED (
    SELECT id, state, attempt, max_attempts, snoozes, crashes, cancelling, kind, queue, priority, worker, unique_key,
        unique_mode, unique_until, errors, changes, notes, tags
    FROM windlass_records WHERE id > ?1 ORDER BY id LIMIT ?2)
SELECT id, state, attempt, max_attempts, snoozes, crashes, cancelling, kind, queue, priority, worker, unique_key, unique_mode,
    unique_until, errors, changes, notes
FROM looked
WHERE (?3 = '[]' OR state IN (SELECT value FROM json_each(?3)))
    AND (?4 = '[]' OR queue IN (SELECT value FROM json_each(?4)))
    AND (?5 = '[]' OR kind IN (SELECT value FROM json_each(?5)))
    AND NOT EXISTS (
        SELECT 1 FROM json_each(?6) AS t WHERE t.value NOT IN (SELECT value FROM json_each(coalesce(looked.tags, '[]'))))
    AND (?7 IS NULL OR unique_key = ?7)
UNION ALL
SELECT * FROM (
    SELECT max(id), NULL, count(*), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM looked)
