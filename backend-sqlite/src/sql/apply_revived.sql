-- ?1 rows as in apply_waiting.sql, of final jobs
INSERT INTO windlass_jobs (id, state, lane, queue, kind, priority, rank, due_at, epoch, attempt, max_attempts, snoozes,
    crashes, started_at, cancelling, timeout, created_at, unique_key, unique_mode, unique_until, notes, changes, meta,
    tags, progress, errors, encoding, args, trail)
SELECT f.id, e.value ->> 4, e.value ->> 5, f.queue, f.kind, f.priority, e.value ->> 6, coalesce(e.value ->> 7, f.due_at),
    f.epoch + (e.value ->> 8), e.value ->> 9, e.value ->> 10, e.value ->> 11, e.value ->> 12, f.started_at, e.value ->> 13,
    f.timeout, f.created_at, f.unique_key, f.unique_mode, f.unique_until, f.notes, f.changes + 1, f.meta, f.tags,
    f.progress, coalesce(e.value ->> 14, f.errors), f.encoding, f.args, f.trail || ',' || (e.value ->> 15)
FROM json_each(?1) AS e CROSS JOIN windlass_finished AS f
ON f.id = unhex(e.value ->> 0) AND f.state = (e.value ->> 1) AND f.epoch = (e.value ->> 2)
