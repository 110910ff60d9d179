-- ?1 rows [id, state, epoch and claim id (or null) as they were read, state, epochs to add, attempt, max_attempts, snoozes,
--          crashes, errors or null, trail entry, result encoding or null, offset, length], ?2 results, ?3 now.
-- The owner, who is known by a claim id, stays on the row.
INSERT INTO windlass_finished (id, state, queue, kind, priority, due_at, epoch, attempt, max_attempts, snoozes, crashes,
    worker, claim_id, started_at, finished_at, timeout, created_at, unique_key, unique_mode, unique_until, notes, changes,
    meta, tags, progress, errors, encoding, args, result_encoding, result, trail)
SELECT j.id, e.value ->> 4, j.queue, j.kind, j.priority, j.due_at, j.epoch + (e.value ->> 5), e.value ->> 6, e.value ->> 7,
    e.value ->> 8, e.value ->> 9, iif((e.value ->> 3) IS NULL, NULL, j.worker), unhex(e.value ->> 3), j.started_at, ?3,
    j.timeout, j.created_at, j.unique_key, j.unique_mode, j.unique_until, j.notes, j.changes + 1, j.meta, j.tags,
    j.progress, coalesce(e.value ->> 10, j.errors), j.encoding, j.args, e.value ->> 12,
    iif((e.value ->> 12) IS NULL, NULL, substr(?2, e.value ->> 13, e.value ->> 14)), j.trail || ',' || (e.value ->> 11)
FROM json_each(?1) AS e CROSS JOIN windlass_jobs AS j
ON j.id = unhex(e.value ->> 0) AND j.state = (e.value ->> 1)
    AND j.epoch = (e.value ->> 2) AND ((e.value ->> 3) IS NULL OR j.claim_id = unhex(e.value ->> 3))
