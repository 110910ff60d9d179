-- ?1 rows [id, state, queue, kind, priority, rank, due_at, max_attempts, timeout, unique key, mode, until, meta, tags,
--          encoding, offset, length], ?2 args, ?3 now, ?4 start of the trail entry
INSERT INTO windlass_jobs (id, state, lane, queue, kind, priority, rank, due_at, epoch, attempt, max_attempts, snoozes,
    crashes, cancelling, timeout, created_at, unique_key, unique_mode, unique_until, notes, changes, meta, tags, encoding,
    args, trail)
SELECT unhex(e.value ->> 0), e.value ->> 1, 0, e.value ->> 2, e.value ->> 3, e.value ->> 4, e.value ->> 5, e.value ->> 6,
    0, 0, e.value ->> 7, 0, 0, 0, e.value ->> 8, ?3, e.value ->> 9, e.value ->> 10, e.value ->> 11, 0, 1, e.value ->> 12,
    e.value ->> 13, e.value ->> 14, substr(?2, e.value ->> 15, e.value ->> 16), ?4 || (e.value ->> 1) || ',0,0]'
FROM json_each(?1) AS e
