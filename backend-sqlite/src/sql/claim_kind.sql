-- claim.sql for a queue in which one kind is ready: ?3 is the kind
UPDATE windlass_jobs SET
    state = 3,
    epoch = epoch + 1,
    attempt = attempt + 1,
    worker = ?5,
    claim_id = ?6,
    started_at = ?7,
    deadline_at = ?7 + timeout,
    trail = trail || ?8 || (attempt + 1) || ?9,
    changes = changes + 1
WHERE id IN (
    SELECT id FROM windlass_jobs WHERE state = 2 AND queue = ?1 AND lane = ?2 AND kind = ?3 ORDER BY rank LIMIT ?4)
RETURNING id, epoch, kind, queue, encoding, args, meta, tags, priority, attempt, max_attempts, snoozes, crashes, timeout,
    progress, created_at, due_at, rank, changes, unique_key, unique_mode
