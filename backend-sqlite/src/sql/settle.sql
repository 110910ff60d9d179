-- ?1 keys as text: job and claim id of 32 digits each, then the epoch. This is the fence: only jobs that run under their
-- key come back. What writes them compares again, see docs/design/0005.
-- One row of JSON, since the driver hands over rows one by one.
SELECT json_group_array(json_array(e.key, j.state, j.attempt, j.max_attempts, j.snoozes, j.crashes, j.cancelling, j.kind, j.queue,
    j.priority, hex(j.worker), j.unique_key, j.unique_mode, j.unique_until, j.errors, j.changes, j.notes))
FROM json_each(?1) AS e CROSS JOIN windlass_jobs AS j
ON j.id = unhex(substr(e.value, 1, 32)) AND j.claim_id = unhex(substr(e.value, 33, 32))
    AND j.epoch = CAST(substr(e.value, 65) AS INTEGER) AND j.state = 3
