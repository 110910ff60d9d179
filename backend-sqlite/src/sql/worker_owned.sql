-- ?1 worker
SELECT id, epoch, claim_id, cancelling FROM windlass_jobs WHERE state = 3 AND worker = ?1
