-- ?1 queue, ?2 lane, ?3 kinds [kind, lowest rank, limit], ?4 limit, ?5 worker, ?6 claim id, ?7 now, ?8 and ?9 the
-- trail entry around the attempt. The recursion merges the kinds by rank: its queue holds one job of each.
WITH RECURSIVE merged (rank, kind, room, id) AS (
    SELECT j.rank, j.kind, e.value ->> 2, j.id
    FROM json_each(?3) AS e CROSS JOIN windlass_jobs AS j
    ON j.state = 2 AND j.queue = ?1 AND j.lane = ?2 AND j.kind = e.value ->> 0 AND j.rank = e.value ->> 1
    UNION ALL
    SELECT j.rank, j.kind, m.room - 1, j.id
    FROM merged AS m CROSS JOIN windlass_jobs AS j
    ON j.state = 2 AND j.queue = ?1 AND j.lane = ?2 AND j.kind = m.kind AND j.rank = (
        SELECT min(n.rank) FROM windlass_jobs AS n
        WHERE n.state = 2 AND n.queue = ?1 AND n.lane = ?2 AND n.kind = m.kind AND n.rank > m.rank)
    WHERE m.room > 1
    ORDER BY 1
    LIMIT ?4
)
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
WHERE id IN (SELECT id FROM merged) AND state = 2
RETURNING id, epoch, kind, queue, encoding, args, meta, tags, priority, attempt, max_attempts, snoozes, crashes, timeout,
    progress, created_at, due_at, rank, changes, unique_key, unique_mode
