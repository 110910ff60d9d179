-- $1 id
SELECT r.id, r.state, r.queue, r.kind, r.priority, r.due_at, r.epoch, r.attempt, r.max_attempts, r.snoozes, r.crashes, r.worker,
    r.claim_id, r.started_at, r.finished_at, r.cancelling, r.timeout, r.created_at, r.unique_key, r.meta, r.tags, r.progress, r.errors,
    r.encoding, r.args, r.result_encoding, r.result
FROM windlass.records AS r WHERE r.id = $1
