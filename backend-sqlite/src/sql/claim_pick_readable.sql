-- claim_pick.sql once jobs that can't be read stood in the way: ?5 ids to pass over, ?6 the encodings that are known here.
-- As rows: JSON can hold neither BLOBs nor text that is no UTF-8.
WITH RECURSIVE passed (id) AS MATERIALIZED (SELECT unhex(value) FROM json_each(?5)),
known (code) AS MATERIALIZED (SELECT value FROM json_each(?6)),
merged (rank, kind, room, id) AS (
    SELECT j.rank, j.kind, e.value ->> 2, j.id
    FROM json_each(?3) AS e CROSS JOIN windlass_jobs AS j
    ON j.state = 2 AND j.queue = ?1 AND j.lane = ?2 AND j.kind = e.value ->> 0 AND j.rank = (
        SELECT min(n.rank) FROM windlass_jobs AS n
        WHERE n.state = 2 AND n.queue = ?1 AND n.lane = ?2 AND n.kind = e.value ->> 0
            AND n.encoding IN known AND n.id NOT IN passed)
    UNION ALL
    SELECT j.rank, j.kind, m.room - 1, j.id
    FROM merged AS m CROSS JOIN windlass_jobs AS j
    ON j.state = 2 AND j.queue = ?1 AND j.lane = ?2 AND j.kind = m.kind AND j.rank = (
        SELECT min(n.rank) FROM windlass_jobs AS n
        WHERE n.state = 2 AND n.queue = ?1 AND n.lane = ?2 AND n.kind = m.kind AND n.rank > m.rank
            AND n.encoding IN known AND n.id NOT IN passed)
    WHERE m.room > 1
    ORDER BY 1
    LIMIT ?4
)
SELECT hex(id), epoch, kind, queue, encoding, iif(length(args) <= 4096, hex(args), NULL), meta, tags, priority,
    attempt, max_attempts, snoozes, crashes, timeout, progress, created_at, due_at, rank, changes,
    iif(unique_mode = 0, unique_key, NULL), unique_key IS NOT NULL
FROM windlass_jobs WHERE id IN (SELECT id FROM merged)
