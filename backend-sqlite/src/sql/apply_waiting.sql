-- ?1 rows [id, state, lane, rank, due_at or null, epochs to add, attempt, max_attempts, snoozes, crashes, cancelling,
--          errors or null, trail entry]
UPDATE windlass_jobs AS j SET
    state = e.value ->> 1,
    lane = e.value ->> 2,
    rank = e.value ->> 3,
    due_at = coalesce(e.value ->> 4, j.due_at),
    epoch = j.epoch + (e.value ->> 5),
    attempt = e.value ->> 6,
    max_attempts = e.value ->> 7,
    snoozes = e.value ->> 8,
    crashes = e.value ->> 9,
    cancelling = e.value ->> 10,
    errors = coalesce(e.value ->> 11, j.errors),
    trail = j.trail || ',' || (e.value ->> 12),
    changes = j.changes + 1,
    worker = NULL,
    claim_id = NULL,
    deadline_at = NULL
FROM json_each(?1) AS e
WHERE j.id = unhex(e.value ->> 0)
