-- $1 keys, $2 jobs, $3 now: frees keys whose holder was found stale, unless it no longer is
DELETE FROM windlass.unique_keys AS u USING unnest($1::text[], $2::uuid[]) AS d (key, job)
WHERE u.key = ANY ($1::text[]) AND u.key = d.key AND u.job = d.job
    AND (coalesce(u.until <= $3, false)
        OR (u.mode <> 2 OR u.until IS NULL) AND NOT EXISTS (SELECT FROM windlass.jobs AS j WHERE j.id = u.job))
