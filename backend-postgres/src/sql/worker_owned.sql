-- The jobs that run under a worker since some time. $1 worker, $2 claimed after this time
SELECT j.id, j.epoch, j.claim_id, j.cancelling FROM windlass.jobs AS j WHERE j.state = 3 AND j.worker = $1 AND j.started_at > $2
