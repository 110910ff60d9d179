-- $1 keys, $2 jobs, $3 modes, $4 ends of windows: takes keys that nobody holds, and tells which. Waits for transactions that are taking one.
INSERT INTO windlass.unique_keys (key, job, mode, until)
SELECT * FROM unnest($1::text[], $2::uuid[], $3::smallint[], $4::bigint[]) AS t (key, job, mode, until) ORDER BY t.key
ON CONFLICT (key) DO NOTHING
RETURNING key
