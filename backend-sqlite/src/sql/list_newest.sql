-- ?1 the job after which to look, ?2 limit, ?3 states, ?4 queues, ?5 kinds, ?6 tags, ?7 unique key; empty lists mean any.
-- Each table is walked by id up to the limit; the records of the page come in no certain order.
WITH page (id) AS MATERIALIZED (
    SELECT * FROM (
        SELECT id FROM windlass_jobs
        WHERE id < ?1
            AND (?3 = '[]' OR state IN (SELECT value FROM json_each(?3)))
            AND (?4 = '[]' OR queue IN (SELECT value FROM json_each(?4)))
            AND (?5 = '[]' OR kind IN (SELECT value FROM json_each(?5)))
            AND (?6 = '[]' OR NOT EXISTS (
                SELECT 1 FROM json_each(?6) AS t WHERE t.value NOT IN (SELECT value FROM json_each(iif(json_valid(tags), tags, '[]')))))
            AND (?7 IS NULL OR unique_key = ?7)
        ORDER BY id DESC LIMIT ?2)
    UNION ALL
    SELECT * FROM (
        SELECT id FROM windlass_finished
        WHERE id < ?1
            AND (?3 = '[]' OR state IN (SELECT value FROM json_each(?3)))
            AND (?4 = '[]' OR queue IN (SELECT value FROM json_each(?4)))
            AND (?5 = '[]' OR kind IN (SELECT value FROM json_each(?5)))
            AND (?6 = '[]' OR NOT EXISTS (
                SELECT 1 FROM json_each(?6) AS t WHERE t.value NOT IN (SELECT value FROM json_each(iif(json_valid(tags), tags, '[]')))))
            AND (?7 IS NULL OR unique_key = ?7)
        ORDER BY id DESC LIMIT ?2)
    ORDER BY 1 DESC LIMIT ?2)
SELECT r.id, r.state, r.queue, r.kind, r.priority, r.due_at, r.epoch, r.attempt, r.max_attempts, r.snoozes, r.crashes, r.worker,
    r.claim_id, r.started_at, r.finished_at, r.cancelling, r.timeout, r.created_at, r.unique_key, r.meta, r.tags, r.progress,
    r.errors, r.encoding, r.args, r.result_encoding, r.result
FROM page AS p CROSS JOIN windlass_records AS r ON r.id = p.id
