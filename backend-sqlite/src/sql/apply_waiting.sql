-- ?1 rows [id, state, epoch and claim id (or null) as they were read, state, lane, rank, due_at or null, epochs to add,
--          attempt, max_attempts, snoozes, crashes, cancelling, errors or null, trail entry]
UPDATE windlass_jobs AS j SET
    state = e.value ->> 4,
    lane = e.value ->> 5,
    rank = e.value ->> 6,
    due_at = coalesce(e.value ->> 7, j.due_at),
    epoch = j.epoch + (e.value ->> 8),
    attempt = e.value ->> 9,
    max_attempts = e.value ->> 10,
    snoozes = e.value ->> 11,
    crashes = e.value ->> 12,
    cancelling = e.value ->> 13,
    errors = coalesce(e.value ->> 14, j.errors),
    trail = j.trail || ',' || (e.value ->> 15),
    changes = j.changes + 1,
    worker = NULL,
    claim_id = NULL,
    deadline_at = NULL
FROM json_each(?1) AS e
WHERE j.id = unhex(e.value ->> 0) AND j.state = (e.value ->> 1)
    AND j.epoch = (e.value ->> 2) AND ((e.value ->> 3) IS NULL OR j.claim_id = unhex(e.value ->> 3))
