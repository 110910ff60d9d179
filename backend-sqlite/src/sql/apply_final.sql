-- ?1 rows [id, state, epochs to add, attempt, max_attempts, snoozes, crashes, errors or null, trail entry,
--          owner stays, result encoding or null, offset, length], ?2 results, ?3 now
INSERT INTO windlass_finished (id, state, queue, kind, priority, due_at, epoch, attempt, max_attempts, snoozes, crashes,
    worker, claim_id, started_at, finished_at, timeout, created_at, unique_key, unique_mode, unique_until, notes, changes,
    meta, tags, progress, errors, encoding, args, result_encoding, result, trail)
SELECT j.id, e.value ->> 1, j.queue, j.kind, j.priority, j.due_at, j.epoch + (e.value ->> 2), e.value ->> 3, e.value ->> 4,
    e.value ->> 5, e.value ->> 6, iif(e.value ->> 9, j.worker, NULL), iif(e.value ->> 9, j.claim_id, NULL), j.started_at, ?3,
    j.timeout, j.created_at, j.unique_key, j.unique_mode, j.unique_until, j.notes, j.changes + 1, j.meta, j.tags,
    j.progress, coalesce(e.value ->> 7, j.errors), j.encoding, j.args, e.value ->> 10,
    iif((e.value ->> 10) IS NULL, NULL, substr(?2, e.value ->> 11, e.value ->> 12)), j.trail || ',' || (e.value ->> 8)
FROM json_each(?1) AS e CROSS JOIN windlass_jobs AS j ON j.id = unhex(e.value ->> 0);
DELETE FROM windlass_jobs WHERE id IN (SELECT unhex(e.value ->> 0) FROM json_each(?1) AS e)
