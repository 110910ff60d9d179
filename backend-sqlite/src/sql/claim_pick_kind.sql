-- claim_pick.sql for a queue in which one kind is ready: ?3 is the kind
SELECT json_group_array(json_array(hex(id), epoch, kind, queue, encoding, iif(length(args) <= 4096, hex(args), NULL), meta, tags, priority,
    attempt, max_attempts, snoozes, crashes, timeout, progress, created_at, due_at, rank, changes,
    iif(unique_mode = 0, unique_key, NULL), unique_key IS NOT NULL))
FROM (
    SELECT * FROM windlass_jobs WHERE state = 2 AND queue = ?1 AND lane = ?2 AND kind = ?3 ORDER BY rank LIMIT ?4)
