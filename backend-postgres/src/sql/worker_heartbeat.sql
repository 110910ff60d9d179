-- Extends leases and tells what runs under workers. $1 workers; $2 jobs of which to tell those that run under them; $3 workers under which to look for
-- any, $4 claimed after these times. All is as it was when the statement began, though it may wait for the row of a lease: a job that is taken away
-- meanwhile is told by the next. A row without a job is of a lease that was extended, with the time it was; one that has run out has none.
WITH extended AS (
    UPDATE windlass.workers AS w SET expires_at = windlass.now() + w.lease
    WHERE w.id = ANY ($1::uuid[]) AND w.expires_at > windlass.now()
    RETURNING w.id, w.expires_at - w.lease AS now)
SELECT NULL::uuid AS id, NULL::bigint AS epoch, NULL::uuid AS claim_id, NULL::boolean AS cancelling, e.id AS worker, e.now FROM extended AS e
UNION ALL
SELECT j.id, j.epoch, j.claim_id, j.cancelling, j.worker, NULL FROM windlass.jobs AS j
WHERE j.id = ANY ($2::uuid[]) AND j.worker = ANY ($1::uuid[]) AND j.state + 0 = 3
UNION ALL
SELECT j.id, j.epoch, j.claim_id, j.cancelling, j.worker, NULL
FROM unnest($3::uuid[], $4::bigint[]) AS w (id, since)
CROSS JOIN LATERAL (
    SELECT j.id, j.epoch, j.claim_id, j.cancelling, j.worker FROM windlass.jobs AS j
    WHERE j.state = 3 AND j.worker = w.id AND j.started_at > w.since OFFSET 0) AS j
