-- $1 jobs that no longer refer to their blobs, $2 now
WITH gone AS (DELETE FROM windlass.job_blobs WHERE job = ANY ($1::uuid[]) RETURNING key)
INSERT INTO windlass.blobs_doomed (key, due_at) SELECT DISTINCT key, $2::bigint FROM gone ORDER BY key
ON CONFLICT (key) DO UPDATE SET due_at = excluded.due_at
