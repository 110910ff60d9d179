-- claim_resend.sql as rows, for columns that hold what JSON can't
SELECT hex(id), epoch, kind, queue, encoding, iif(length(args) <= 4096, hex(args), NULL), meta, tags, priority,
    attempt, max_attempts, snoozes, crashes, timeout, progress, created_at, due_at, rank, changes,
    iif(unique_mode = 0, unique_key, NULL), unique_key IS NOT NULL
FROM windlass_jobs WHERE state = 3 AND worker = ?1 AND claim_id = ?2
