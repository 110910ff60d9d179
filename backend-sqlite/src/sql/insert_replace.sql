-- ?1 one row as in insert.sql but for its id: [holder, state, …], ?2 args, ?3 unused, ?4 trail entry, ?5 state and ?6 epoch as they were
-- read
UPDATE windlass_jobs AS j SET
    state = e.value ->> 1, queue = e.value ->> 2, kind = e.value ->> 3, priority = e.value ->> 4, rank = e.value ->> 5,
    due_at = e.value ->> 6, max_attempts = e.value ->> 7, timeout = e.value ->> 8, meta = e.value ->> 12,
    tags = e.value ->> 13, encoding = e.value ->> 14, args = substr(?2, e.value ->> 15, e.value ->> 16),
    trail = j.trail || ',' || ?4, changes = j.changes + 1
FROM json_each(?1) AS e
WHERE j.id = unhex(e.value ->> 0) AND j.state = ?5 AND j.epoch = ?6
