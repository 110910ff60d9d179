-- $1 jobs, $2 keys: the blobs are kept as long as the jobs
WITH kept AS (DELETE FROM windlass.blobs_doomed WHERE key = ANY ($2::text[]))
INSERT INTO windlass.job_blobs (job, key) SELECT * FROM unnest($1::uuid[], $2::text[]) ON CONFLICT DO NOTHING
