-- Those of some jobs that run under a worker. $1 worker, $2 ids
SELECT j.id, j.epoch, j.claim_id, j.cancelling FROM windlass.jobs AS j WHERE j.id = ANY ($2::uuid[]) AND j.worker = $1 AND j.state + 0 = 3
