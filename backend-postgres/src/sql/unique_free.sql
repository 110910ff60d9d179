-- $1 keys, $2 jobs, $3 modes: frees keys held so
DELETE FROM windlass.unique_keys AS u USING unnest($1::text[], $2::uuid[], $3::smallint[]) AS f (key, job, mode)
WHERE u.key = ANY ($1::text[]) AND u.key = f.key AND u.job = f.job AND u.mode = f.mode
