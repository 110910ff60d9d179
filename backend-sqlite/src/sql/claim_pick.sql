-- What to claim from a queue: ?1 queue, ?2 lane, ?3 kinds [kind, lowest rank, limit], ?4 limit. The recursion merges the kinds by
-- rank: its queue holds one job of each. One row of JSON, since the driver hands over rows one by one; large args are
-- left out, see claim_args.sql.
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
SELECT json_group_array(json_array(hex(id), epoch, kind, queue, encoding, iif(length(args) <= 4096, hex(args), NULL), meta, tags, priority,
    attempt, max_attempts, snoozes, crashes, timeout, progress, created_at, due_at, rank, changes,
    iif(unique_mode = 0, unique_key, NULL), unique_key IS NOT NULL))
FROM windlass_jobs WHERE id IN (SELECT id FROM merged)
