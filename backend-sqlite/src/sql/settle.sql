-- ?1 keys [job, epoch, claim id]: the fence. Only jobs that run under their key come back; the transaction holds the
-- write lock, so what is written next is written under the same fence.
SELECT j.id, j.state, j.attempt, j.max_attempts, j.snoozes, j.crashes, j.cancelling, j.kind, j.queue, j.priority, j.worker,
    j.unique_key, j.unique_mode, j.unique_until, j.errors, j.changes, j.notes, e.key
FROM json_each(?1) AS e CROSS JOIN windlass_jobs AS j
ON j.id = unhex(e.value ->> 0) AND j.epoch = (e.value ->> 1) AND j.claim_id = unhex(e.value ->> 2) AND j.state = 3
