-- What an earlier sending of a claim took, as claim.sql gives it, and its queue; nothing when the worker's lease has run out. $1 worker, $2 claim id
SELECT true, j.id, j.epoch, j.kind, j.encoding, j.args, j.meta, j.tags, j.priority, j.attempt, j.max_attempts, j.snoozes, j.crashes,
    j.timeout, j.progress, j.created_at, j.due_at, j.rank, j.changes, j.queue
FROM windlass.jobs AS j
WHERE j.state = 3 AND j.worker = $1 AND j.claim_id = $2
    AND EXISTS (SELECT FROM windlass.workers AS w WHERE w.id = $1 AND w.expires_at > windlass.now())
