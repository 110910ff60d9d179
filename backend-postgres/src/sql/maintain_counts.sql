-- Folds counts together. $1 at most so many rows
WITH gone AS (
    DELETE FROM windlass.counts WHERE ctid = ANY (ARRAY(SELECT ctid FROM windlass.counts LIMIT $1 FOR UPDATE SKIP LOCKED))
    RETURNING queue, kind, state, jobs)
INSERT INTO windlass.counts (queue, kind, state, jobs)
SELECT queue, kind, state, sum(jobs) FROM gone GROUP BY queue, kind, state HAVING sum(jobs) <> 0
