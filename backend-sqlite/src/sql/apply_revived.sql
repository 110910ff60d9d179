-- ?1 rows as in apply_waiting.sql
INSERT INTO windlass_jobs (id, state, lane, queue, kind, priority, rank, due_at, epoch, attempt, max_attempts, snoozes,
    crashes, started_at, cancelling, timeout, created_at, unique_key, unique_mode, unique_until, notes, changes, meta,
    tags, progress, errors, encoding, args, trail)
SELECT f.id, e.value ->> 1, e.value ->> 2, f.queue, f.kind, f.priority, e.value ->> 3, coalesce(e.value ->> 4, f.due_at),
    f.epoch + (e.value ->> 5), e.value ->> 6, e.value ->> 7, e.value ->> 8, e.value ->> 9, f.started_at, e.value ->> 10,
    f.timeout, f.created_at, f.unique_key, f.unique_mode, f.unique_until, f.notes, f.changes + 1, f.meta, f.tags,
    f.progress, coalesce(e.value ->> 11, f.errors), f.encoding, f.args, f.trail || ',' || (e.value ->> 12)
FROM json_each(?1) AS e CROSS JOIN windlass_finished AS f ON f.id = unhex(e.value ->> 0);
DELETE FROM windlass_finished WHERE id IN (SELECT unhex(e.value ->> 0) FROM json_each(?1) AS e)
