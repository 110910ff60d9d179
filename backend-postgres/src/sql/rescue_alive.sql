-- Those of some locked jobs whose worker has a lease. $1 ids
SELECT j.id FROM windlass.jobs AS j
WHERE j.id = ANY ($1::uuid[]) AND EXISTS (SELECT FROM windlass.workers AS w WHERE w.id = j.worker AND w.expires_at > windlass.now())
