-- Those of some jobs that run under some workers. $1 workers, $2 ids
SELECT j.id, j.epoch, j.claim_id, j.cancelling, j.worker FROM windlass.jobs AS j
WHERE j.id = ANY ($2::uuid[]) AND j.worker = ANY ($1::uuid[]) AND j.state + 0 = 3
