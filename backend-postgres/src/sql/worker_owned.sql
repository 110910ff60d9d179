-- The jobs that run under a worker. $1 worker
SELECT j.id, j.epoch, j.claim_id, j.cancelling FROM windlass.jobs AS j WHERE j.state = 3 AND j.worker = $1
