-- Removes at most $1 chunks that are nobody's; no row when there were none to look for
SELECT id FROM windlass.sweep_blobs($1::bigint) AS s (id)
