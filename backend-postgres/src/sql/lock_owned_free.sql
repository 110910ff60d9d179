-- lock_owned.sql, passing over what others have locked. $1 ids, $2 epochs, $3 claim ids
SELECT j.id, j.state, j.attempt, j.max_attempts, j.snoozes, j.crashes, j.cancelling, j.kind, j.queue, j.priority, j.worker, j.unique_key,
    j.unique_mode, j.unique_until, j.errors, j.changes, j.notes, j.epoch, j.claim_id
FROM windlass.jobs AS j
WHERE j.id = ANY ($1::uuid[]) AND j.claim_id = ANY ($3::uuid[])
    AND EXISTS (
        SELECT FROM unnest($1::uuid[], $2::bigint[], $3::uuid[]) AS w (id, epoch, claim_id)
        WHERE w.id = j.id AND w.epoch = j.epoch AND w.claim_id = j.claim_id AND j.state + 0 = 3)
ORDER BY j.id FOR NO KEY UPDATE OF j SKIP LOCKED
