SELECT id, state, queue, kind, priority, due_at, epoch, attempt, max_attempts, snoozes, crashes, worker, claim_id,
    started_at, finished_at, cancelling, timeout, created_at, unique_key, meta, tags, progress, errors, encoding, args,
    result_encoding, result
FROM windlass_records WHERE id = ?1
