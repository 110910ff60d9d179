-- ?1 the job after which to look, ?2 limit, ?3 states, ?4 queues, ?5 kinds, ?6 tags, ?7 unique key; empty lists mean any
SELECT id, state, queue, kind, priority, due_at, epoch, attempt, max_attempts, snoozes, crashes, worker, claim_id,
    started_at, finished_at, cancelling, timeout, created_at, unique_key, meta, tags, progress, errors, encoding, args,
    result_encoding, result
FROM windlass_records
WHERE id > ?1
    AND (?3 = '[]' OR state IN (SELECT value FROM json_each(?3)))
    AND (?4 = '[]' OR queue IN (SELECT value FROM json_each(?4)))
    AND (?5 = '[]' OR kind IN (SELECT value FROM json_each(?5)))
    AND (?6 = '[]' OR NOT EXISTS (
        SELECT 1 FROM json_each(?6) AS t WHERE t.value NOT IN (SELECT value FROM json_each(coalesce(tags, '[]')))))
    AND (?7 IS NULL OR unique_key = ?7)
ORDER BY id LIMIT ?2
