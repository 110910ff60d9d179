-- The jobs that run under workers, under each since some time. $1 workers, $2 claimed after these times
SELECT j.id, j.epoch, j.claim_id, j.cancelling, j.worker
FROM unnest($1::uuid[], $2::bigint[]) AS w (id, since)
CROSS JOIN LATERAL (
    SELECT j.id, j.epoch, j.claim_id, j.cancelling, j.worker FROM windlass.jobs AS j
    WHERE j.state = 3 AND j.worker = w.id AND j.started_at > w.since OFFSET 0) AS j
