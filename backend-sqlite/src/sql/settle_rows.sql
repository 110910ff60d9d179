-- settle.sql as rows, for columns that hold what JSON can't: those of stored.sql, then the number of the key
SELECT j.id, j.state, j.attempt, j.max_attempts, j.snoozes, j.crashes, j.cancelling, j.kind, j.queue, j.priority, j.worker,
    j.unique_key, j.unique_mode, j.unique_until, j.errors, j.changes, j.notes, j.epoch, e.key
FROM json_each(?1) AS e CROSS JOIN windlass_jobs AS j
ON j.id = unhex(substr(e.value, 1, 32)) AND j.claim_id = unhex(substr(e.value, 33, 32))
    AND j.epoch = CAST(substr(e.value, 65) AS INTEGER) AND j.state = 3
