-- Locks those of some jobs that are still to be rescued, passing over what others are changing. $1 ids, $2 whether for their worker, else for their
-- deadline, $3 grace
SELECT j.id, j.state, j.attempt, j.max_attempts, j.snoozes, j.crashes, j.cancelling, j.kind, j.queue, j.priority, j.worker, j.unique_key,     j.unique_mode, j.unique_until, j.errors, j.changes, j.notes, j.epoch, j.claim_id 
FROM windlass.jobs AS j WHERE j.id = ANY ($1::uuid[]) AND j.state + 0 = 3 AND CASE WHEN $2 THEN
        NOT EXISTS (SELECT FROM windlass.workers AS w WHERE w.id = j.worker AND w.expires_at > windlass.now())
    ELSE j.deadline_at < windlass.now() - $3 END
ORDER BY j.id FOR NO KEY UPDATE OF j SKIP LOCKED
