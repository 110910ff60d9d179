-- $1 ids, locked before, of jobs that don't run: they go with their notes. Their blobs are released apart.
WITH notes AS (DELETE FROM windlass.events WHERE job = ANY ($1::uuid[])),
waiting AS (DELETE FROM windlass.jobs WHERE id = ANY ($1::uuid[]) AND claim_id IS NULL RETURNING id),
final AS (DELETE FROM windlass.finished WHERE id = ANY ($1::uuid[]) RETURNING id)
SELECT (SELECT count(*) FROM waiting) + (SELECT count(*) FROM final)
