-- apply_final.sql for plain completions. ?1 epochs, ?2 job and claim id of each, 16 bytes each; ?3 now, ?4 and ?5 the trail entry
-- around the attempt; ?6 where the result of each is, unless none has one: encoding of one digit (0 for none), offset and length
-- of 10 digits each; ?7 results. Whoever remembers the job has not read it: one that can't be read is not written either.
INSERT INTO windlass_finished (id, state, queue, kind, priority, due_at, epoch, attempt, max_attempts, snoozes, crashes,
    worker, claim_id, started_at, finished_at, timeout, created_at, unique_key, unique_mode, unique_until, notes, changes,
    meta, tags, progress, errors, encoding, args, result_encoding, result, trail)
SELECT j.id, 5, j.queue, j.kind, j.priority, j.due_at, j.epoch, j.attempt, j.max_attempts, j.snoozes, j.crashes,
    j.worker, j.claim_id, j.started_at, ?3, j.timeout, j.created_at, j.unique_key, j.unique_mode, j.unique_until, j.notes,
    j.changes + 1, j.meta, j.tags, j.progress, j.errors, j.encoding, j.args,
    nullif(CAST(substr(?6, e.key * 21 + 1, 1) AS INTEGER), 0),
    iif(coalesce(CAST(substr(?6, e.key * 21 + 1, 1) AS INTEGER), 0) = 0, NULL,
        substr(?7, CAST(substr(?6, e.key * 21 + 2, 10) AS INTEGER), CAST(substr(?6, e.key * 21 + 12, 10) AS INTEGER))),
    j.trail || ?4 || j.attempt || ?5
FROM json_each(?1) AS e CROSS JOIN windlass_jobs AS j
ON j.id = substr(?2, e.key * 32 + 1, 16) AND j.claim_id = substr(?2, e.key * 32 + 17, 16)
    AND j.epoch = e.value AND j.state = 3
    AND j.attempt < '' AND j.max_attempts < '' AND j.snoozes < '' AND j.crashes < '' AND j.changes < '' AND j.notes < ''
    AND j.kind BETWEEN '' AND x'' AND j.queue BETWEEN '' AND x''
