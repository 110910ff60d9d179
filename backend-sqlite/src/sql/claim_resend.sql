-- ?1 worker, ?2 claim id: what an earlier sending of the same claim took
SELECT id, epoch, kind, queue, encoding, args, meta, tags, priority, attempt, max_attempts, snoozes, crashes, timeout,
    progress, created_at, due_at, rank, changes, unique_key, unique_mode
FROM windlass_jobs WHERE state = 3 AND worker = ?1 AND claim_id = ?2
