-- apply_final.sql for plain completions. ?1 rows as text: job and claim id of 32 digits each, epoch of 10, result encoding of 1
-- (0 for none), offset and length of 10 digits each; ?2 results, ?3 now, ?4 and ?5 the trail entry around the attempt
INSERT INTO windlass_finished (id, state, queue, kind, priority, due_at, epoch, attempt, max_attempts, snoozes, crashes,
    worker, claim_id, started_at, finished_at, timeout, created_at, unique_key, unique_mode, unique_until, notes, changes,
    meta, tags, progress, errors, encoding, args, result_encoding, result, trail)
SELECT j.id, 5, j.queue, j.kind, j.priority, j.due_at, j.epoch, j.attempt, j.max_attempts, j.snoozes, j.crashes,
    j.worker, j.claim_id, j.started_at, ?3, j.timeout, j.created_at, j.unique_key, j.unique_mode, j.unique_until, j.notes,
    j.changes + 1, j.meta, j.tags, j.progress, j.errors, j.encoding, j.args,
    nullif(CAST(substr(e.value, 75, 1) AS INTEGER), 0),
    iif(substr(e.value, 75, 1) = '0', NULL,
        substr(?2, CAST(substr(e.value, 76, 10) AS INTEGER), CAST(substr(e.value, 86, 10) AS INTEGER))),
    j.trail || ?4 || j.attempt || ?5
FROM json_each(?1) AS e CROSS JOIN windlass_jobs AS j
ON j.id = unhex(substr(e.value, 1, 32)) AND j.claim_id = unhex(substr(e.value, 33, 32))
    AND j.epoch = CAST(substr(e.value, 65, 10) AS INTEGER) AND j.state = 3
