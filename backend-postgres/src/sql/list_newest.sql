-- A page of jobs, highest id first; its records come in no certain order. $1 the job after which to look, $2 limit; $3 states, $4 queues,
-- $5 kinds and $6 tags, any when empty. Which ways lead to the jobs: $7 a unique key; else $8 all jobs that wait or run, or $9 those of
-- the states 3 and 4 alone; $10 all final jobs, or $11 those of the states 6 and 7 alone. Each way is an index in the order of the ids, but
-- for state 3, where few jobs are. A way that is not to be gone is not begun, since that doesn't depend on the row.
WITH page (id) AS MATERIALIZED (
    SELECT p.id FROM (
        (SELECT j.id FROM windlass.jobs AS j
        WHERE j.unique_key = $7 AND j.id < $1 AND windlass.passes(j.state, j.queue, j.kind, j.tags, $3, $4, $5, $6)
        ORDER BY j.unique_key DESC, j.id DESC LIMIT $2)
        UNION ALL
        (SELECT f.id FROM windlass.finished AS f
        WHERE f.unique_key = $7 AND f.id < $1 AND windlass.passes(f.state, f.queue, f.kind, f.tags, $3, $4, $5, $6)
        ORDER BY f.unique_key DESC, f.id DESC LIMIT $2)
        UNION ALL
        (SELECT j.id FROM windlass.jobs AS j
        WHERE $8::boolean AND j.id < $1 AND windlass.passes(j.state, j.queue, j.kind, j.tags, $3, $4, $5, $6)
        ORDER BY j.id DESC LIMIT $2)
        UNION ALL
        (SELECT j.id FROM windlass.jobs AS j
        WHERE 4 = ANY ($9::smallint[]) AND j.state = 4 AND j.id < $1 AND windlass.passes(j.state, j.queue, j.kind, j.tags, $3, $4, $5, $6)
        ORDER BY j.id DESC LIMIT $2)
        UNION ALL
        (SELECT j.id FROM (SELECT * FROM windlass.jobs AS j WHERE 3 = ANY ($9) AND j.state = 3 OFFSET 0) AS j
        WHERE j.id < $1 AND windlass.passes(j.state, j.queue, j.kind, j.tags, $3, $4, $5, $6)
        ORDER BY j.id DESC LIMIT $2)
        UNION ALL
        (SELECT f.id FROM windlass.finished AS f
        WHERE $10::boolean AND f.id < $1 AND windlass.passes(f.state, f.queue, f.kind, f.tags, $3, $4, $5, $6)
        ORDER BY f.id DESC LIMIT $2)
        UNION ALL
        (SELECT e.id FROM unnest($11::smallint[]) AS s (state) CROSS JOIN LATERAL (
            SELECT f.id FROM windlass.finished AS f
            WHERE f.state <> 5 AND f.state = s.state AND f.id < $1 AND windlass.passes(f.state, f.queue, f.kind, f.tags, $3, $4, $5, $6)
            ORDER BY f.state DESC, f.id DESC LIMIT $2) AS e)) AS p
    ORDER BY p.id DESC LIMIT $2)
SELECT r.id, r.state, r.queue, r.kind, r.priority, r.due_at, r.epoch, r.attempt, r.max_attempts, r.snoozes, r.crashes, r.worker,
    r.claim_id, r.started_at, r.finished_at, r.cancelling, r.timeout, r.created_at, r.unique_key, r.meta, r.tags, r.progress, r.errors,
    r.encoding, r.args, r.result_encoding, r.result
FROM windlass.records AS r WHERE r.id = ANY (ARRAY(SELECT id FROM page))
