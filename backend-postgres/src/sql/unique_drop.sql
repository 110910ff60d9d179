-- $1 keys, $2 jobs: frees keys whose holder was found stale, unless it no longer is
SELECT windlass.drop_stale($1::text[], $2::uuid[])
